"""What is too large, and what is no protocol at all, on each port: a clear end, and the next call works."""

import socket

import grpc
import pytest

from pushsidecar.xg.v1 import AndroidNotification, PushRequest
from tests.soak.resources import open_files
from tests.soak.scale import scaled, seeded
from tests.support.failures import Failure, failure_of
from tests.support.running import METHOD

from .conftest import TIMEOUT_S, Stage

PUSH = PushRequest(token="sim-1", android_notification=AndroidNotification(title="t", content="c")).SerializeToString()
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture(autouse=True)
def next_push_works(stage: Stage) -> object:
    yield
    assert isinstance(stage.push_bytes(PUSH), bytes)


def test_message_over_the_limit_is_refused_before_it_is_read(stage: Stage) -> None:
    """By gRPC itself, which says the limit; the sidecar never sees it, so there is no ErrorInfo."""
    received = stage.received
    said = stage.push_bytes(bytes(4 * 1024 * 1024 + 1))
    assert isinstance(said, Failure)
    assert said.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "4194304" in said.message
    assert stage.received == received


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param([("x-large", "a" * 100_000)], id="one-large"),
        pytest.param([(f"x-{number}", "a" * 100) for number in range(1000)], id="many"),
    ],
)
def test_metadata_over_the_limit_is_refused(stage: Stage, metadata: list[tuple[str, str]]) -> None:
    """By gRPC itself, in its own words."""
    received = stage.received
    call = stage.channel.unary_unary(f"/{METHOD}", request_serializer=None, response_deserializer=None)
    with pytest.raises(grpc.RpcError) as error:
        call(PUSH, timeout=TIMEOUT_S, metadata=metadata)
    failure = failure_of(error.value)
    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "metadata size" in failure.message
    assert stage.received == received


def test_metadata_within_the_limit_is_no_matter(stage: Stage) -> None:
    call = stage.channel.unary_unary(f"/{METHOD}", request_serializer=None, response_deserializer=None)
    assert call(PUSH, timeout=TIMEOUT_S, metadata=[("x-own", "a" * 1000)])


@pytest.mark.parametrize("port", ["grpc", "health", "admin"])
@pytest.mark.parametrize("prefix", [b"", HTTP2_PREFACE, b"GET / HTTP/1.1\r\n"], ids=["nothing", "http2", "http1"])
def test_bytes_that_are_no_protocol_harm_nobody(stage: Stage, port: str, prefix: bytes) -> None:
    sidecar = stage.running.sidecar
    address = {"grpc": sidecar.grpc_address, "health": sidecar.health_address, "admin": sidecar.admin_address}[port]
    host, _, number = address.rpartition(":")
    random = seeded(f"ports-{port}-{prefix!r}")
    for _ in range(scaled(200)):
        with socket.create_connection((host, int(number)), timeout=5) as peer:
            peer.settimeout(0.01)
            try:
                peer.sendall(prefix + random.randbytes(random.randrange(1, 2000)))
                peer.recv(100)
            except OSError:
                pass  # cut off, or nothing to say: both are well


def test_no_file_is_left_open(stage: Stage) -> None:
    """As many as before are open after many peers that come and go."""
    host, _, number = stage.running.sidecar.grpc_address.rpartition(":")
    before = open_files()
    for _ in range(scaled(1000)):
        socket.create_connection((host, int(number)), timeout=5).close()
    assert isinstance(stage.push_bytes(PUSH), bytes)
    assert open_files() < before + 50
