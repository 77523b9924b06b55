"""A sidecar's process and a collector that is dead, refuses, or never answers: what callers, log and exit see."""

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Simulator
from sidecar.telemetry.export import FLUSH_TIMEOUT_S
from tests.support.process import serve_process
from tests.support.running import android, write_config
from tests.transport.test_connect import unused_port

PUSHES = 100
ENDS = 3
MARGIN_S = 20.0  # of an exit that has nothing to wait for, on a busy machine


@contextmanager
def dead() -> Iterator[int]:
    yield unused_port()


@contextmanager
def silent() -> Iterator[int]:
    """Take connections, read what comes, and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:

        def read_all(connection: socket.socket) -> None:
            while connection.recv(65536):
                pass

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                stack.enter_context(connection)
                threading.Thread(target=read_all, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


class Refusing(pb_grpc.TraceServiceServicer):
    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  # of the service
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "planted")


@contextmanager
def refusing() -> Iterator[int]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        server = grpc.server(pool, options=(("grpc.so_reuseport", 0),))
        pb_grpc.add_TraceServiceServicer_to_server(Refusing(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield port
        finally:
            server.stop(0).wait()


CASES = {
    "dead-grpc": (dead, "grpc", "1000"),
    "dead-http": (dead, "http/protobuf", "1000"),
    "refusing": (refusing, "grpc", "60000"),
    "silent-grpc": (silent, "grpc", "60000"),
    "silent-http": (silent, "http/protobuf", "60000"),
}


@pytest.mark.parametrize(("collector", "protocol", "timeout_ms"), CASES.values(), ids=CASES.keys())
async def test_no_push_is_lost_one_line_a_minute_is_logged_and_the_exit_waits_for_the_limit_at_most(
    collector: Callable[..., Any], protocol: str, timeout_ms: str, vendor: Simulator, tmp_path: Path
) -> None:
    with collector() as port:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_TIMEOUT": timeout_ms,
            "OTEL_BSP_SCHEDULE_DELAY": "10",
            "OTEL_BSP_MAX_QUEUE_SIZE": "64",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16",
        }
        async with serve_process(write_config(tmp_path, vendor), environment) as process:
            address = (await process.wait_for("serving"))["grpc"]
            async with grpc.aio.insecure_channel(address, (("grpc.enable_retries", 0),)) as channel:
                push = PushServiceStub(channel).Push
                # A push that waited for the collector would miss its deadline: that has a limit of 60 s.
                answers = await asyncio.gather(*(push(android(), timeout=40) for _ in range(PUSHES)))
            process.send_signal(signal.SIGTERM)
            assert await process.wait(FLUSH_TIMEOUT_S + MARGIN_S) == 0
    assert {answer.attempts for answer in answers} == {1}
    assert vendor.received == PUSHES
    assert process.text == ""
    lines = [line for line in process.lines if line["level"] != "info"]
    # One in the run, if an export ended in it, and one at the exit.
    assert 1 <= len(lines) <= 2
    assert {line["event"] for line in lines} == {"traces lost"}
    lost = sum(line["lost_spans"] for line in lines)
    assert 16 <= lost <= 3 * PUSHES  # the call, its attempt, and a wait for a place
    assert "planted" not in str(lines)


STOPS = {
    "dead-grpc": (dead, "grpc", "connection refused"),
    "dead-http": (dead, "http/protobuf", "connection refused"),
    "silent-grpc": (silent, "grpc", "no time left"),
    "silent-http": (silent, "http/protobuf", "no time left"),
}


@pytest.mark.parametrize(("collector", "protocol", "cause"), STOPS.values(), ids=STOPS.keys())
async def test_process_ends_within_the_limit_when_a_collector_with_tls_is_away(
    collector: Callable[..., Any], protocol: str, cause: str, vendor: Simulator, tmp_path: Path
) -> None:
    # A busy machine may hold one end up; what the process itself waits for holds up each.
    took_s: list[float] = []
    # A TLS handshake that is open holds the exit handler of gRPC's C core for 2 s more.
    while len(took_s) < ENDS and min(took_s, default=inf) >= FLUSH_TIMEOUT_S + 1.6:
        took_s.append(await seconds_of_an_end(collector, protocol, cause, vendor, tmp_path))
    assert min(took_s) < FLUSH_TIMEOUT_S + 1.6, took_s


async def seconds_of_an_end(
    collector: Callable[..., Any], protocol: str, cause: str, vendor: Simulator, directory: Path
) -> float:
    """Push once, then return how long the process needs to end."""
    with collector() as port:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "60000",
        }
        async with serve_process(write_config(directory, vendor), environment) as process:
            address = (await process.wait_for("serving"))["grpc"]
            async with grpc.aio.insecure_channel(address) as channel:
                await PushServiceStub(channel).Push(android(), timeout=40)
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert await process.wait(FLUSH_TIMEOUT_S + MARGIN_S) == 0
            took_s = time.monotonic() - started
    assert process.text == ""
    (line,) = [line for line in process.lines if line["level"] != "info"]
    assert (line["event"], line["lost_spans"], line["cause"]) == ("traces lost", 2, cause)
    return took_s
