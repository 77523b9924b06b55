"""Health: its names, what they say while serving and draining, and that nothing else is on its port."""

from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.config import HealthConfig
from sidecar.server.health import HealthServer
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
            await server.set_ready(is_ready=is_ready)
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
    await server.set_ready(is_ready=True)
    seen.append((await watch.read()).status)
    await server.set_ready(is_ready=False)
    seen.append((await watch.read()).status)
    assert seen == [NOT_SERVING, SERVING, NOT_SERVING]
    watch.cancel()


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
