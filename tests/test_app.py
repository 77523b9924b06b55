"""The sidecar as a process: it starts or says why not, and on SIGTERM it drains without losing a push."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.app import Sidecar
from sidecar.config import Config, ConfigError
from sidecar.simulator import Simulator
from tests.support.collector import Collector, grpc_collector
from tests.support.failures import failure_of
from tests.support.process import ServeProcess, serve_process
from tests.support.raw_http2 import HEADERS, PUSH, REFLECT, WATCH, raw_peer
from tests.support.running import METHOD, android, write_config
from tests.support.waiting import until, until_metric

SERVICE = "pushsidecar.xg.v1.PushService"
SIGNALS = [signal.SIGTERM, signal.SIGINT]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Served:
    """A process, and channels to it that are already open."""

    def __init__(self, process: ServeProcess, channel: grpc.aio.Channel, health: grpc.aio.Channel, admin: str) -> None:
        self.process = process
        self.push = PushServiceStub(channel).Push
        self._health = health_pb2_grpc.HealthStub(health)
        self.admin = admin

    async def health(self, name: str) -> int:
        answer = await self._health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
        return int(answer.status)

    async def http_status(self, path: str) -> int:
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.admin}{path}") as answer:
            return answer.status


@asynccontextmanager
async def served(config: Path, environment: dict[str, str] | None = None) -> AsyncIterator[Served]:
    async with serve_process(config, environment) as process:
        line = await process.wait_for("serving")
        options = (("grpc.enable_retries", 0),)
        async with (
            grpc.aio.insecure_channel(line["grpc"], options) as channel,
            grpc.aio.insecure_channel(line["health"], options) as health,
        ):
            await channel.channel_ready()
            await health.channel_ready()
            yield Served(process, channel, health, line["admin"])


@pytest.fixture
def collector() -> Iterator[Collector]:
    with grpc_collector() as receiving:
        yield receiving


@pytest.mark.parametrize("number", SIGNALS)
async def test_stop_drains_what_was_started_and_refuses_what_waits(
    vendor: Simulator, tmp_path: Path, number: signal.Signals
) -> None:
    async with served(write_config(tmp_path, vendor, app={"max_in_flight": 1})) as on:
        assert await on.health("") == SERVING
        assert await on.http_status("/readyz") == 200
        in_flight = on.push(android("fault-latency-2"), timeout=10)
        await until(lambda: vendor.received == 1)
        waiting = on.push(android(), timeout=10)
        await until_metric(on.admin, 'push_sidecar_queued{app="shop"} 1.0')

        on.process.send_signal(number)
        await on.process.wait_for("stopping")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await waiting
        failure = failure_of(caught.value)
        assert (failure.code, failure.reason, failure.sent) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", "no")

        assert not in_flight.done()
        assert await on.health("") == NOT_SERVING
        assert await on.health("pushsidecar.xg.v1.PushService") == NOT_SERVING
        assert await on.health("liveness") == SERVING
        assert await on.http_status("/readyz") == 503
        assert await on.http_status("/healthz") == 200
        host, _, port = (await on.process.wait_for("serving"))["grpc"].rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))

        assert (await in_flight).attempts == 1
        assert await on.process.wait() == 0
        assert on.process.lines[-1]["event"] == "stopped"
        assert on.process.text == ""
    assert vendor.delivered == 1


async def test_stop_waits_for_the_answer_of_a_call_whose_caller_has_gone(
    vendor: Simulator, tmp_path: Path, collector: Collector
) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    async with served(write_config(tmp_path, vendor), environment) as on:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await on.push(android("fault-latency-2"), timeout=1.5)
        assert failure_of(caught.value).reason == "DEADLINE"
        on.process.send_signal(signal.SIGTERM)
        assert await on.process.wait() == 0
        events = [line["event"] for line in on.process.lines]
        assert events.index("stopping") < events.index("late vendor answer") < events.index("stopped")
        late = await on.process.wait_for("late vendor answer")
        assert (late["app"], late["reason"]) == ("shop", "OK")
    server, client = collector.spans
    assert (server.name, client.name, client.parent_id) == (METHOD, "POST /v3/push/app", server.span_id)
    assert late["trace_id"] == server.trace_id
    assert client.end_ns > server.end_ns


async def test_idle_sidecar_stops_at_once(vendor: Simulator, tmp_path: Path) -> None:
    async with served(write_config(tmp_path, vendor)) as on:
        await on.push(android(), timeout=10)
        on.process.send_signal(signal.SIGTERM)
        assert await on.process.wait(timeout=10) == 0, "half of its grace"


async def test_collector_that_never_answers_costs_no_push_and_no_clean_exit(vendor: Simulator, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        async with served(write_config(tmp_path, vendor), environment) as on:
            for _ in range(20):
                assert (await on.push(android(), timeout=10)).attempts == 1
            on.process.send_signal(signal.SIGTERM)
            assert await on.process.wait() == 0
            assert on.process.lines[-1]["event"] == "stopped"


async def test_unix_socket_is_removed_at_the_exit(vendor: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "push.sock"
    environment = {"PUSH_SIDECAR_SERVER__LISTEN": f"unix:{path}"}
    async with served(write_config(tmp_path, vendor), environment) as on:
        assert (await on.push(android(), timeout=10)).attempts == 1
        assert path.is_socket()
        on.process.send_signal(signal.SIGTERM)
        assert await on.process.wait() == 0
    assert not path.exists()


async def test_process_that_was_killed_can_be_started_again_on_its_socket(vendor: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "push.sock"
    environment = {"PUSH_SIDECAR_SERVER__LISTEN": f"unix:{path}"}
    config = write_config(tmp_path, vendor)
    async with served(config, environment) as on:
        on.process.send_signal(signal.SIGKILL)
        assert await on.process.wait() == -signal.SIGKILL
    assert path.is_socket()
    async with served(config, environment) as on:
        assert (await on.push(android(), timeout=10)).attempts == 1


# What refuses to start.


async def refusal(config: Path, environment: dict[str, str] | None = None) -> str:
    """Start what must end with status 2 and without a traceback; returns the first line."""
    async with serve_process(config, environment, is_ready=False) as process:
        assert await process.wait() == 2
        assert "Traceback" not in process.text
        assert "serving" not in {line["event"] for line in process.lines}
        # gRPC's core writes lines of its own.
        (said,) = [line for line in process.text.splitlines() if line.startswith("push-sidecar: ")]
    return said


async def test_busy_port_is_named(vendor: Simulator, tmp_path: Path) -> None:
    config = write_config(tmp_path, vendor)
    async with served(config) as on:
        address = (await on.process.wait_for("serving"))["grpc"]
        said = await refusal(config, {"PUSH_SIDECAR_SERVER__LISTEN": address})
    assert said == (
        f"push-sidecar: server.listen: {address} cannot be bound: Address already in use. "
        "Free it, or choose another, for example by PUSH_SIDECAR_SERVER__LISTEN"
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"PUSH_SIDECAR_LOG__LEVEL": "loud"},
            "PUSH_SIDECAR_LOG__LEVEL: log.level: must be one of debug, info, warning, error",
        ),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: only otlp and none are supported, not 'zipkin'"),
        (
            {"PUSH_SIDECAR_APPS__SHOP__CODE_CLASSES": "{10100: FINE}"},
            "PUSH_SIDECAR_APPS__SHOP__CODE_CLASSES: apps.shop.code_classes.10100: must be one of ",
        ),
    ],
)
async def test_wrong_configuration_is_named(
    vendor: Simulator, tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    assert (await refusal(write_config(tmp_path, vendor), environment)).startswith(f"push-sidecar: {said}")


async def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert await refusal(path) == f"push-sidecar: {path}: No such file or directory"


@pytest.mark.parametrize("apps", [{}, {"second": {}}], ids=["alone", "after-another"])
async def test_ca_file_that_is_none_refuses_to_start(
    configure: Callable[..., Config], tmp_path: Path, apps: dict[str, Any]
) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    apps = {name: {**app, "ca_file": str(broken)} for name, app in apps.items()}
    changes: dict[str, Any] = {"apps": apps} if apps else {"app": {"ca_file": str(broken)}}
    name = next(iter(apps), "shop")
    with pytest.raises(ConfigError, match=rf"^apps\.{name}\.ca_file: cannot be used: "):
        async with Sidecar(configure(**changes), {}):
            pytest.fail("it started")


def connect_raw(address: str, sent: bytes = b"") -> socket.socket:
    host, port = address.rsplit(":", 1)
    peer = socket.create_connection((host, int(port)))
    if sent:
        peer.sendall(sent)
    return peer


async def test_peers_that_neither_leave_nor_read_do_not_hold_the_stop(vendor: Simulator, tmp_path: Path) -> None:
    """The grace is 20 s: none of it is needed, since no call is under way."""
    async with served(write_config(tmp_path, vendor)) as on:
        line = await on.process.wait_for("serving")
        pipelined = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 2000
        half = b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n1"
        push, reflect = android().SerializeToString(), ServerReflectionRequest(file_containing_symbol=SERVICE)
        with (
            connect_raw(line["grpc"]),
            connect_raw(line["health"]),
            connect_raw(line["admin"], pipelined),
            connect_raw(line["admin"], half),
            connect_raw(line["admin"], half[:30]),
        ):
            async with raw_peer(line["grpc"], window=0) as caller, raw_peer(line["health"], window=0) as watcher:
                for _ in range(100):
                    await caller.open(PUSH, push)  # its answer cannot be written
                    await caller.open(PUSH, None)  # its request never comes
                    await caller.open(REFLECT, reflect.SerializeToString())
                    await watcher.open(WATCH)
                    await watcher.frame(HEADERS)
                await until(lambda: vendor.delivered == 100)
                on.process.send_signal(signal.SIGTERM)
                assert await on.process.wait(timeout=15) == 0, on.process.text
        assert "stopped" in {entry["event"] for entry in on.process.lines}


async def test_stop_begins_at_once_whatever_a_watcher_does(vendor: Simulator, tmp_path: Path) -> None:
    async with (
        served(write_config(tmp_path, vendor)) as on,
        raw_peer((await on.process.wait_for("serving"))["health"], window=0) as watcher,
    ):
        for name in (b"", SERVICE.encode(), b"liveness"):
            await watcher.open(WATCH, b"\x0a" + bytes([len(name)]) + name)
            await watcher.frame(HEADERS)  # told what was true then, and has not read it
        in_flight = on.push(android("fault-latency-2"), timeout=10)
        await until(lambda: vendor.received == 1)
        on.process.send_signal(signal.SIGTERM)
        await on.process.wait_for("stopping")
        assert await on.health("") == NOT_SERVING
        assert await on.health(SERVICE) == NOT_SERVING
        assert not in_flight.done()
        with pytest.raises(ConnectionRefusedError):
            connect_raw((await on.process.wait_for("serving"))["grpc"]).close()
        with pytest.raises(grpc.aio.AioRpcError):
            await on.push(android(), timeout=10)
        assert (await in_flight).attempts == 1
        assert await on.process.wait(timeout=15) == 0
    assert vendor.received == 1


async def test_stop_during_the_start_is_orderly(vendor: Simulator, tmp_path: Path) -> None:
    config = write_config(tmp_path, vendor)
    fifo = tmp_path / "fifo.yaml"
    os.mkfifo(fifo)
    async with serve_process(fifo, is_ready=False) as process:
        # The configuration is being read: the process waits for the other end of the pipe.
        writer = await asyncio.to_thread(os.open, fifo, os.O_WRONLY)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        os.close(writer)
    assert config.exists()


async def test_deadlines_that_pass_while_the_answer_is_made_are_no_errors_in_the_log(
    vendor: Simulator, tmp_path: Path
) -> None:
    async with served(write_config(tmp_path, vendor)) as on:
        for timeout in (0.0, 0.0005, 0.001, 0.002, 0.005) * 4:
            with suppress(grpc.aio.AioRpcError):
                await on.push(android(), timeout=timeout)
        await on.push(android(), timeout=10)
        on.process.send_signal(signal.SIGTERM)
        assert await on.process.wait() == 0
        # uvloop may complain of a handshake that was given up in its midst; gRPC and we have no reason to.
        errors = [line for line in on.process.lines if line["level"] == "error" and line.get("logger") != "asyncio"]
        assert errors == []
        assert "Traceback" not in on.process.text
