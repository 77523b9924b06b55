"""Several listeners at once: each socket with its own mode and group, all drained together."""

import asyncio
import grp
import os
import stat
from pathlib import Path

import grpc
import pytest

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.app import Sidecar
from sidecar.config import ConfigError
from sidecar.simulator import Simulator
from tests.conftest import Configure, StartSidecar
from tests.support.certificates import Authority
from tests.support.running import FREE_PORT, android
from tests.support.waiting import until


async def test_every_listener_serves_and_is_gone_at_the_end(configure: Configure, tmp_path: Path) -> None:
    sockets = {name: tmp_path / f"{name}.sock" for name in ("orders", "billing")}
    listeners = {name: {"listen": f"unix:{path}"} for name, path in sockets.items()} | {"tcp": {"listen": FREE_PORT}}
    async with Sidecar(configure(listeners=listeners), {}) as sidecar:
        assert sidecar.grpc_addresses.keys() == {"default", "orders", "billing", "tcp"}
        assert sidecar.grpc_address == sidecar.grpc_addresses["default"]
        for address in sidecar.grpc_addresses.values():
            async with grpc.aio.insecure_channel(address) as channel:
                assert (await PushServiceStub(channel).Push(android(), timeout=5)).attempts == 1
    assert not any(path.exists() for path in sockets.values())


async def test_socket_of_a_further_listener_is_for_its_group_alone(start_sidecar: StartSidecar, tmp_path: Path) -> None:
    path = tmp_path / "orders.sock"
    # Root may give it to any group, others to one of their own.
    group = next(found for found in grp.getgrall() if os.getuid() == 0 or found.gr_gid in os.getgroups())
    if os.getuid() == 0:
        group = next(found for found in grp.getgrall() if found.gr_gid != os.getgid())
    umask = os.umask(0o022)
    try:
        await start_sidecar(listeners={"orders": {"listen": f"unix:{path}", "socket_group": group.gr_name}})
        assert os.umask(0o022) == 0o022, "the process's own is as it was"
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert path.stat().st_gid == group.gr_gid


async def test_socket_is_nobodys_before_it_has_its_group(
    start_sidecar: StartSidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, modes = tmp_path / "orders.sock", []
    real = os.chown

    def chown(given: Path, *rest: int, **how: bool) -> None:
        modes.append(stat.S_IMODE(Path(given).stat().st_mode))
        real(given, *rest, **how)

    monkeypatch.setattr(os, "chown", chown)
    await start_sidecar(listeners={"orders": {"listen": f"unix:{path}", "socket_group": str(os.getgid())}})
    assert modes == [0o600]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a socket to any group")
async def test_socket_is_given_to_a_group_by_its_number(start_sidecar: StartSidecar, tmp_path: Path) -> None:
    path = tmp_path / "push.sock"
    await start_sidecar(server={"listen": f"unix:{path}", "socket_group": "54321", "socket_mode": "0620"})
    assert path.stat().st_gid == 54321
    assert stat.S_IMODE(path.stat().st_mode) == 0o620


async def test_unknown_group_refuses_to_start_and_leaves_no_socket(configure: Configure, tmp_path: Path) -> None:
    path = tmp_path / "push.sock"
    config = configure(server={"listen": f"unix:{path}", "socket_group": "no-such-group"})
    with pytest.raises(ConfigError, match=r"^server\.socket_group: .* given to the group no-such-group: no such group"):
        async with Sidecar(config, {}):
            pytest.fail("it started")
    assert not path.exists()


@pytest.mark.parametrize(
    ("listen", "has_tls", "is_told"),
    [("127.0.0.1:0", False, False), ("[::1]:0", False, False), ("localhost:0", False, False),
     ("0.0.0.0:0", False, True), ("0.0.0.0:0", True, False)],
)  # fmt: skip
async def test_listener_that_others_reach_without_tls_is_told_of(
    start_sidecar: StartSidecar, tmp_path: Path, caplog: pytest.LogCaptureFixture, listen: str, *,
    has_tls: bool, is_told: bool,
) -> None:  # fmt: skip
    leaf = Authority(tmp_path).leaf()
    tls = {"cert_file": str(leaf.cert_file), "key_file": str(leaf.key_file)} if has_tls else {}
    await start_sidecar(server={"listen": listen, "tls": tls})
    assert ("callers beyond this machine reach it without TLS" in caplog.messages) is is_told


async def test_busy_address_of_a_further_listener_refuses_to_start(
    start_sidecar: StartSidecar, configure: Configure
) -> None:
    running = await start_sidecar()
    busy = {"orders": {"listen": running.sidecar.grpc_address}}
    with pytest.raises(ConfigError, match=r"^listeners\.orders\.listen: .* cannot be bound: Address already in use"):
        async with Sidecar(configure(listeners=busy), {}):
            pytest.fail("it started")


@pytest.mark.parametrize(
    ("listeners", "said"),
    [
        ({"orders": {"listen": "nowhere"}}, "listeners.orders.listen: must be host:port, not 'nowhere'"),
        ({"orders": {"listen": "unix:"}}, "listeners.orders.listen: must be unix:/path"),
        ({"default": {"listen": "127.0.0.1:1"}}, "listeners.default: is the name of server.listen"),
        (
            {"one": {"listen": "unix:/tmp/a.sock"}, "two": {"listen": "unix:///tmp/./b/../a.sock"}},
            "listeners.two.listen: is the same address as listeners.one.listen",
        ),
        (
            {"one": {"listen": "unix:/tmp/a.sock", "socket_group": "4294967295"}},
            "listeners.one.socket_group: must be a group's name, or a number below 4294967295",
        ),
        (
            {"one": {"listen": "unix:/tmp/a.sock", "socket_group": "\u0663"}},
            "listeners.one.socket_group: must be a group's name, or a number below",
        ),
        (
            {"one": {"listen": "unix:/run/a.sock"}, "two": {"listen": "unix:/run/a.sock"}},
            "listeners.two.listen: is the same address as listeners.one.listen",
        ),
    ],
)
async def test_listener_that_is_none_refuses_to_start(
    configure: Configure, listeners: dict[str, dict[str, str]], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        async with Sidecar(configure(listeners=listeners), {}):
            pytest.fail("it started")
    assert str(refused.value).startswith(said)


async def test_stop_lets_calls_of_all_listeners_end(configure: Configure, tmp_path: Path, vendor: Simulator) -> None:
    path = tmp_path / "orders.sock"
    ending: asyncio.Task[None]
    sidecar = Sidecar(configure(listeners={"orders": {"listen": f"unix:{path}"}}), {})
    await sidecar.__aenter__()
    addresses = list(sidecar.grpc_addresses.values())
    async with grpc.aio.insecure_channel(addresses[0]) as one, grpc.aio.insecure_channel(addresses[1]) as other:
        calls = [PushServiceStub(channel).Push(android("fault-latency-0.3"), timeout=5) for channel in (one, other)]
        await until(lambda: vendor.received == 2)
        ending = asyncio.create_task(sidecar.__aexit__())
        await until(lambda: not path.exists())
        assert [(await call).attempts for call in calls] == [1, 1]
        await ending
