"""What connections do that make no push: they come and go, stay silent, or stop in the middle, and leave nothing.

Load balancers probe so, and gRPC's poller is to bear it at a stop, too: one of its releases crashed there.
"""

import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Simulator
from tests.soak.resources import MIB, open_files, rss_bytes
from tests.soak.scale import scaled
from tests.support.process import ServeProcess, serve_process
from tests.support.running import android, write_config
from tests.support.waiting import until

PROBES, SILENT, CALLERS, STOPS = scaled(2000), scaled(200), scaled(5000), scaled(28)
# gRPC's arenas, and connections that are about to be freed.
RSS_BYTES = 8 * MIB
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# To close a socket resets its connection.
RESET = struct.pack("ii", 1, 0)


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)))


@contextmanager
def connections(address: str, count: int, sent: bytes = b"", *, is_half_closed: bool = False) -> Iterator[None]:
    """Hold connections that have sent only `sent`."""
    with ExitStack() as stack:
        for _ in range(count):
            peer = stack.enter_context(connect(address))
            if sent:
                peer.sendall(sent)
            if is_half_closed:
                peer.shutdown(socket.SHUT_WR)
        yield


async def push_once(address: str) -> None:
    """Push over a connection that is for this push alone."""
    options = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.insecure_channel(address, options) as channel:
        await PushServiceStub(channel).Push(android(), timeout=20)


async def settled(process: ServeProcess, files: int) -> None:
    """Wait until no descriptor is left of what came."""
    try:
        await until(lambda: open_files(process.pid) <= files)
    except TimeoutError:
        pytest.fail(f"{open_files(process.pid)} descriptors, {files} before")


async def test_connections_without_a_push_disturb_none_and_leave_nothing(vendor: Simulator, tmp_path: Path) -> None:
    async with serve_process(write_config(tmp_path, vendor)) as process:
        line = await process.wait_for("serving")
        await push_once(line["grpc"])
        files = open_files(process.pid)
        for number in range(PROBES):
            with connect(line[("grpc", "health")[number % 8 == 0]]) as probe:
                if number % 2:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await push_once(line["grpc"])
        await settled(process, files)
        with (
            connections(line["grpc"], SILENT),
            connections(line["health"], SILENT),
            connections(line["grpc"], SILENT, PREFACE[:9], is_half_closed=True),
            connections(line["grpc"], SILENT, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
        ):
            await push_once(line["grpc"])
        await settled(process, files)
        assert process.text == ""


async def test_callers_that_come_and_go_leave_nothing(vendor: Simulator, tmp_path: Path) -> None:
    async with serve_process(write_config(tmp_path, vendor)) as process:
        address = (await process.wait_for("serving"))["grpc"]
        for _ in range(CALLERS // 5):
            await push_once(address)
        files, before = open_files(process.pid), rss_bytes(process.pid)
        for _ in range(CALLERS):
            await push_once(address)
        await settled(process, files)
        grown = rss_bytes(process.pid) - before
        assert grown < RSS_BYTES, f"{grown / MIB:.1f} MiB more after {CALLERS} callers"


async def test_stop_with_silent_connections_ends_with_0(vendor: Simulator, tmp_path: Path) -> None:
    config = write_config(tmp_path, vendor)
    for number in range(STOPS):
        async with serve_process(config) as process:
            line = await process.wait_for("serving")
            sent = PREFACE if number % 4 == 3 else b""
            with connections(line["grpc"], 1 + number % 3, sent), connections(line["health"], 1):
                if number % 2:
                    await push_once(line["grpc"])
                process.send_signal(signal.SIGTERM)
                assert await process.wait(20) == 0, number
                assert process.text == "", number
