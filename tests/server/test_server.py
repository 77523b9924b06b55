"""The callers' listener: where it listens, what it refuses, and its reflection."""

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.app import Sidecar
from sidecar.config import Config, ConfigError, ServerConfig
from sidecar.server.server import server_options
from sidecar.simulator import Simulator
from tests.support.raw_http2 import PUSH, raw_peer
from tests.support.running import Running, android
from tests.support.waiting import until

Configure = Callable[..., Config]
StartSidecar = Callable[..., Awaitable[Running]]
SERVICE = "pushsidecar.xg.v1.PushService"


async def listed(channel: grpc.aio.Channel) -> set[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async for answer in stub.ServerReflectionInfo(iter([request]), timeout=5):
        return {service.name for service in answer.list_services_response.service}
    raise AssertionError("no answer")


async def test_reflection_lists_the_services_and_nothing_else(running: Running) -> None:
    assert await listed(running.channel) == {SERVICE, "grpc.reflection.v1alpha.ServerReflection"}


async def test_reflection_gives_the_contract_whole(running: Running) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)

    async def ask(**what: str) -> list[FileDescriptorProto]:
        request = reflection_pb2.ServerReflectionRequest(**what)
        (answer,) = [answer async for answer in stub.ServerReflectionInfo(iter([request]), timeout=5)]
        found = answer.file_descriptor_response.file_descriptor_proto
        return [FileDescriptorProto.FromString(file) for file in found]

    files = {file.name: file for file in await ask(file_containing_symbol=SERVICE)}
    (service,) = files["pushsidecar/xg/v1/push_service.proto"].service
    assert [method.name for method in service.method] == ["Push"]
    while missing := {name for file in files.values() for name in file.dependency} - files.keys():
        files |= {file.name: file for name in missing for file in await ask(file_by_filename=name)}
    assert "pushsidecar/xg/v1/android.proto" in files


async def test_reflection_can_be_turned_off(start_sidecar: StartSidecar) -> None:
    running = await start_sidecar(server={"reflection": False, "listen": "127.0.0.1:0"})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await listed(running.channel)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert (await running.push()).attempts == 1


async def test_port_0_takes_a_free_port(running: Running) -> None:
    ports = {
        int(address.rpartition(":")[2])
        for address in (running.sidecar.grpc_address, running.sidecar.health_address, running.sidecar.admin_address)
    }
    assert len(ports) == 3
    assert 0 not in ports


@pytest.mark.parametrize("section", ["server", "health", "admin"])
async def test_busy_port_refuses_to_start_and_leaves_nothing_running(configure: Configure, section: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = f"127.0.0.1:{held.getsockname()[1]}"
        before = asyncio.all_tasks()
        with pytest.raises(ConfigError, match=rf"^{section}\.listen: {address} cannot be bound: "):
            async with Sidecar(configure(**{section: {"listen": address}}), {}):
                pytest.fail("it started")
        assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


async def test_second_sidecar_cannot_take_the_port_of_the_first(running: Running, configure: Configure) -> None:
    with pytest.raises(ConfigError, match=r"^server\.listen: .* cannot be bound: Address already in use\. Free it"):
        async with Sidecar(configure(server={"listen": running.sidecar.grpc_address}), {}):
            pytest.fail("it started")
    assert (await running.push()).attempts == 1


@pytest.mark.parametrize("section", ["server", "health", "admin"])
async def test_address_that_is_none_refuses_to_start(configure: Configure, section: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{section}\.listen: must be host:port, not 'nowhere'$"):
        async with Sidecar(configure(**{section: {"listen": "nowhere"}}), {}):
            pytest.fail("it started")


# Unix sockets.


async def test_unix_socket_serves(start_sidecar: StartSidecar, tmp_path: Path) -> None:
    path = tmp_path / "push.sock"
    running = await start_sidecar(server={"listen": f"unix:{path}"})
    assert running.sidecar.grpc_address == f"unix:{path}"
    assert (await running.push()).attempts == 1
    await running.channel.close()
    assert path.is_socket()


async def test_stale_socket_file_does_not_prevent_the_start(start_sidecar: StartSidecar, tmp_path: Path) -> None:
    path = tmp_path / "push.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    running = await start_sidecar(server={"listen": f"unix:{path}"})
    assert (await running.push()).attempts == 1


async def test_socket_of_a_living_sidecar_is_not_taken_away(
    start_sidecar: StartSidecar, configure: Configure, tmp_path: Path
) -> None:
    path = tmp_path / "push.sock"
    running = await start_sidecar(server={"listen": f"unix:{path}"})
    with pytest.raises(ConfigError, match=r"^server\.listen: unix:.* cannot be bound: it is served by another"):
        async with Sidecar(configure(server={"listen": f"unix:{path}"}), {}):
            pytest.fail("it started")
    await running.channel.close()
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        assert (await PushServiceStub(channel).Push(android(), timeout=5)).attempts == 1


async def test_socket_of_the_next_sidecar_survives_the_end_of_the_last(
    configure: Configure, tmp_path: Path, vendor: Simulator
) -> None:
    path = tmp_path / "push.sock"
    config = configure(server={"listen": f"unix:{path}"})
    async with AsyncExitStack() as last, grpc.aio.insecure_channel(f"unix:{path}") as channel:
        await last.enter_async_context(Sidecar(config, {}))
        call = PushServiceStub(channel).Push(android("fault-latency-0.5"), timeout=5)
        await until(lambda: vendor.received == 1)
        ending = asyncio.create_task(last.aclose())
        await until(lambda: not path.exists())
        async with Sidecar(config, {}):
            await call
            await ending
            assert path.is_socket()
            async with grpc.aio.insecure_channel(f"unix:{path}") as other:
                assert (await PushServiceStub(other).Push(android(), timeout=5)).attempts == 1
    assert not path.exists()


async def test_socket_without_a_directory_says_so(configure: Configure) -> None:
    listen = "unix:/nonexistent/push.sock"
    with pytest.raises(ConfigError, match=rf"^server\.listen: {listen} cannot be bound: its directory is not there"):
        async with Sidecar(configure(server={"listen": listen}), {}):
            pytest.fail("it started")


# Options.


@pytest.mark.parametrize("so_reuseport", [False, True])
def test_callers_may_ping_every_20_seconds_and_the_port_is_ours_alone(*, so_reuseport: bool) -> None:
    config = ServerConfig(so_reuseport=so_reuseport, max_message_bytes=4096)
    assert server_options(config) == {
        "grpc.so_reuseport": int(so_reuseport),
        "grpc.max_concurrent_streams": 1000,
        "grpc.max_receive_message_length": 4096,
        "grpc.max_metadata_size": 16384,
        "grpc.absolute_max_metadata_size": 16384,
        "grpc.http2.min_recv_ping_interval_without_data_ms": 20_000,
        "grpc.http2.min_ping_interval_without_data_ms": 20_000,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.experimental.tcp_max_read_chunk_size": 65_536,
        "grpc.http2.bdp_probe": 0,
    }


async def test_limits_of_message_and_metadata_are_those_that_are_configured(
    start_sidecar: StartSidecar, vendor: Simulator
) -> None:
    running = await start_sidecar(server={"max_metadata_bytes": 2048, "max_message_bytes": 2048})
    assert (await running.push(metadata=(("x-some", "a" * 1000),))).attempts == 1
    for refused in (
        await running.fail(metadata=(("x-some", "a" * 3000),)),
        await running.fail(android(stat_tag="a" * 3000)),
    ):
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "a" * 100 not in refused.message
    assert vendor.received == 1


async def test_connection_holds_1000_calls_without_a_message_and_others_are_served(running: Running) -> None:
    async with raw_peer(running.sidecar.grpc_address) as peer:
        streams = [await peer.open(PUSH, None) for _ in range(2500)]
        assert await peer.refused(1500) == set(streams[1000:])
        assert (await running.push()).attempts == 1


def test_connections_end_when_that_is_configured() -> None:
    options = server_options(ServerConfig(max_connection_age_s=600, max_connection_idle_s=60.5, shutdown_grace_s=25))
    assert options["grpc.max_connection_age_ms"] == 600_000
    assert options["grpc.max_connection_age_grace_ms"] == 25_000
    assert options["grpc.max_connection_idle_ms"] == 60_500


async def test_old_connection_is_replaced_and_calls_go_on(start_sidecar: StartSidecar) -> None:
    running = await start_sidecar(server={"max_connection_age_s": 0.05})
    await running.push()
    # Told to go elsewhere, the channel leaves the connection by itself.
    await running.channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
    assert (await running.push()).attempts == 1


async def test_call_in_flight_outlives_its_old_connection(start_sidecar: StartSidecar) -> None:
    running = await start_sidecar(server={"max_connection_age_s": 0.05})
    assert (await running.push(android("fault-latency-0.3"))).attempts == 1


async def test_several_sidecars_can_share_a_port_when_that_is_configured(
    start_sidecar: StartSidecar, configure: Configure
) -> None:
    running = await start_sidecar(server={"so_reuseport": True, "listen": "127.0.0.1:0"})
    shared = {"so_reuseport": True, "listen": running.sidecar.grpc_address}
    async with Sidecar(configure(server=shared), {}) as second:
        assert second.grpc_address == running.sidecar.grpc_address


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o666), ("660", 0o660)])
async def test_socket_has_the_configured_mode_whatever_the_umask(
    start_sidecar: StartSidecar, tmp_path: Path, mode: str | None, expected: int
) -> None:
    path = tmp_path / "push.sock"
    before = os.umask(0o077)
    try:
        await start_sidecar(server={"listen": f"unix:{path}"} | ({"socket_mode": mode} if mode else {}))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == expected
