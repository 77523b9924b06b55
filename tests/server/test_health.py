"""Health: its names, what they say while serving and draining, and that nothing else is on its port."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.config import HealthConfig
from sidecar.server.health import HealthServer
from tests.support.raw_http2 import HEADERS, WATCH, raw_peer
from tests.support.running import Running, android

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
SERVICE = "pushsidecar.xg.v1.PushService"


@pytest.fixture
async def server() -> AsyncIterator[HealthServer]:
    server = HealthServer(HealthConfig(listen="127.0.0.1:0"), [SERVICE])
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def stub(server: HealthServer) -> AsyncIterator[health_pb2_grpc.HealthStub]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield health_pb2_grpc.HealthStub(channel)


async def ask(stub: health_pb2_grpc.HealthStub, name: str) -> int:
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
    return int(answer.status)


async def test_readiness_follows_and_liveness_stays(server: HealthServer, stub: health_pb2_grpc.HealthStub) -> None:
    for is_ready, expected in ((None, NOT_SERVING), (True, SERVING), (False, NOT_SERVING)):
        if is_ready is not None:
            server.set_ready(is_ready=is_ready)
        assert await ask(stub, "") == expected
        assert await ask(stub, SERVICE) == expected
        assert await ask(stub, "liveness") == SERVING
        assert server.is_ready is bool(is_ready)


async def test_unknown_name_is_not_found(stub: health_pb2_grpc.HealthStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(stub, "pushsidecar.agora.v1.PushService")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_watcher_is_told_of_every_change(server: HealthServer, stub: health_pb2_grpc.HealthStub) -> None:
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=10)
    seen = [(await watch.read()).status]
    server.set_ready(is_ready=True)
    seen.append((await watch.read()).status)
    server.set_ready(is_ready=False)
    seen.append((await watch.read()).status)
    assert seen == [NOT_SERVING, SERVING, NOT_SERVING]
    watch.cancel()


async def test_watcher_of_an_unknown_name_is_told_so_and_stays(
    server: HealthServer, stub: health_pb2_grpc.HealthStub
) -> None:
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=10)
    assert (await watch.read()).status == SERVICE_UNKNOWN
    server.set_ready(is_ready=True)
    assert await ask(stub, "") == SERVING
    assert not watch.done()
    watch.cancel()


# Peers that mean no good.


async def test_watchers_that_do_not_read_hold_up_no_change_of_state(
    server: HealthServer, stub: health_pb2_grpc.HealthStub
) -> None:
    async with raw_peer(server.address, window=0) as peer:
        for _ in range(10):
            await peer.open(WATCH)
            await peer.frame(HEADERS)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=10)
        assert (await watch.read()).status == NOT_SERVING
        for is_ready, expected in ((True, SERVING), (False, NOT_SERVING)):
            server.set_ready(is_ready=is_ready)
            assert await ask(stub, "") == expected
            assert (await watch.read()).status == expected
        watch.cancel()


async def test_watcher_that_reads_late_is_told_the_latest_state_and_none_between(server: HealthServer) -> None:
    async with raw_peer(server.address, window=0) as peer:
        await peer.open(WATCH)
        await peer.frame(HEADERS)  # the first message is written, and waits for the peer
        for is_ready in (True, False, True, False, True):
            server.set_ready(is_ready=is_ready)
            await asyncio.sleep(0)
        await peer.widen(1000)
        assert [state_in(await peer.message()) for _ in range(2)] == [NOT_SERVING, SERVING]
        server.set_ready(is_ready=False)
        assert state_in(await peer.message()) == NOT_SERVING


def state_in(message: bytes) -> int:
    return int(health_pb2.HealthCheckResponse.FromString(message).status)


async def test_connection_holds_100_watchers_and_others_are_served(
    server: HealthServer, stub: health_pb2_grpc.HealthStub
) -> None:
    async with raw_peer(server.address, window=0) as peer:
        streams = [await peer.open(WATCH) for _ in range(1000)]
        assert await peer.refused(900) == set(streams[100:])
        assert await ask(stub, "liveness") == SERVING


async def test_name_that_is_too_long_is_refused(stub: health_pb2_grpc.HealthStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(stub, "n" * 2000)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_watcher_that_leaves_before_it_has_read_is_no_error_in_the_log(
    server: HealthServer, stub: health_pb2_grpc.HealthStub, caplog: pytest.LogCaptureFixture
) -> None:
    async with raw_peer(server.address, window=0) as peer:
        await peer.open(WATCH)
        await peer.frame(HEADERS)
    assert await ask(stub, "") == NOT_SERVING
    await server.stop()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_stop_waits_for_no_watcher(server: HealthServer) -> None:
    async with raw_peer(server.address, window=0) as peer, raw_peer(server.address) as other:
        await peer.open(WATCH)
        await peer.frame(HEADERS)
        await other.open(WATCH, None)  # its request never comes
        await other.ping()
        async with asyncio.timeout(5):
            await server.stop()
            await peer.wait_for_end()
            await other.wait_for_end()


async def test_sidecar_is_ready_whatever_its_vendor_does(running: Running) -> None:
    async with grpc.aio.insecure_channel(running.sidecar.health_address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE, "liveness"):
            assert await ask(stub, name) == SERVING
        await running.fail(android("fault-http-503"))
        assert await ask(stub, "") == SERVING


async def test_nothing_else_is_served_on_the_health_port(running: Running) -> None:
    async with grpc.aio.insecure_channel(running.sidecar.health_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await PushServiceStub(channel).Push(android(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        reflect = channel.unary_unary("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await reflect(b"", timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_health_is_not_on_the_callers_port(running: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(health_pb2_grpc.HealthStub(running.channel), "")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
