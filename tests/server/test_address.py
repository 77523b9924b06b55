"""Addresses as the configuration writes them."""

import asyncio
import os
import socket
import tempfile
from pathlib import Path

import grpc
import msgspec
import pytest

from sidecar.config import Config, ConfigError, load
from sidecar.server.address import (
    BindError,
    check_addresses,
    probe_addresses,
    probe_unix,
    split_host_port,
    with_port,
)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:50051", ("127.0.0.1", 50051)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
    ],
)
def test_host_and_port(address: str, expected: tuple[str, int]) -> None:
    assert split_host_port("admin.listen", address) == expected


@pytest.mark.parametrize(
    "address",
    ["", ":", ":50051", "host", "host:", "host:http", "h:65536", "h:-1", "h:\u0661", "h:000001", f"h:{'9' * 5000}",
     "a\0b:1", "h\n:1", "::1:50051", "[]:1", "unix:/a"],
)  # fmt: skip
def test_anything_else_is_refused_naming_the_key(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^admin\.listen: must be host:port"):
        split_host_port("admin.listen", address)


def test_bound_port_takes_the_place_of_the_wanted() -> None:
    assert with_port("127.0.0.1:0", 1234) == "127.0.0.1:1234"
    assert with_port("[::1]:0", 1234) == "[::1]:1234"
    assert with_port("unix:/run/push.sock", 1) == "unix:/run/push.sock"


def config(tmp_path: Path, **listen: str) -> Config:
    file = tmp_path / "config.yaml"
    file.write_text("apps: {shop: {platform: android, base_url: 'https://v.test', app_id: a, secret_key_env: KEY}}")
    addresses = {"server": "127.0.0.1:0", "health": "127.0.0.1:0", "admin": "127.0.0.1:0"} | listen
    return load(
        file, {f"PUSH_SIDECAR_{key.upper()}__LISTEN": f'"{value}"' for key, value in addresses.items()} | {"KEY": "s"}
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not connect")
def test_socket_that_may_not_be_looked_at_is_no_stale_one(tmp_path: Path) -> None:
    """GRPC would take it away from whoever serves it."""
    path = Path("/tmp") / f"push-sidecar-{os.getpid()}.sock"  # noqa: S108  # pytest's folders are for their owner alone
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(str(path))
        path.chmod(0o600)
        served.listen()
        try:
            os.seteuid(65534)
            with pytest.raises(BindError, match="cannot be bound: Permission denied"):
                probe_unix("server.listen", f"unix:{path}")
        finally:
            os.seteuid(0)
            path.unlink()


def test_unix_address_is_free_unless_somebody_serves_it(tmp_path: Path) -> None:
    path = tmp_path / "push.sock"
    wanted = config(tmp_path, server=f"unix:{path}")
    probe_addresses(wanted)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        probe_addresses(wanted)
        listener.listen(1)
        for _ in range(4):  # more than the queue takes: nobody accepts
            with pytest.raises(BindError, match=r"^server\.listen: unix:.*push\.sock cannot be bound: it is served by"):
                probe_addresses(wanted)
    assert path.exists()
    probe_addresses(wanted)


@pytest.mark.parametrize("key", ["server", "health", "admin"])
def test_a_port_that_is_taken_is_named_with_its_key_and_what_to_do(tmp_path: Path, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BindError) as raised:
            probe_addresses(config(tmp_path, **{key: address}))
    assert str(raised.value) == (
        f"{key}.listen: {address} cannot be bound: Address already in use. "
        f"Free it, or choose another, for example by PUSH_SIDECAR_{key.upper()}__LISTEN"
    )


def test_a_host_that_does_not_resolve_is_not_called_a_taken_port(tmp_path: Path) -> None:
    with pytest.raises(BindError, match=r"^admin\.listen: does-not-exist\.invalid:1 cannot be bound: (?!Address)"):
        probe_addresses(config(tmp_path, admin="does-not-exist.invalid:1"))
    with pytest.raises(BindError, match=r"^admin\.listen: a\.\.b:1 cannot be bound: no such host"):
        probe_addresses(config(tmp_path, admin="a..b:1"))


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ({"server": "unix:"}, "server.listen: must be unix:/path"),
        *(
            ({"server": f"unix:{path}"}, "server.listen: must be unix:/path without `%`, `#`, `?` and `,`; not 'unix:")
            for path in (
                "/run/a%20b.sock",
                "/run/a#b.sock",
                "/run/a?b.sock",
                "/run/a,b.sock",
                "//host/run/a.sock",
                "/run/a\\0b.sock",
                "/run/a\\tb.sock",
            )
        ),
        ({"server": f"unix:/{'a' * 107}"}, "server.listen: the path is 108 bytes, and a socket's is at most 107"),
        ({"server": f"unix:/{chr(0x4E2D) * 36}"}, "server.listen: the path is 109 bytes, and a socket's is at"),
        ({"server": "foo"}, "server.listen: must be host:port"),
        ({"health": "a\\0b:1"}, "health.listen: must be host:port"),
        ({"health": "127.0.0.1:99999"}, "health.listen: must be host:port"),
        ({"admin": "unix:/run/a.sock"}, "admin.listen: must be host:port"),
        ({"health": "127.0.0.1:1", "admin": "127.0.0.1:1"}, "admin.listen: is the same address as health.listen"),
    ],
)
def test_addresses_that_cannot_be_meant_are_refused(tmp_path: Path, listen: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_addresses(config(tmp_path, **listen))
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize("kind", ["file", "directory", "dangling link"])
def test_socket_path_where_something_else_is_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "push.sock"
    if kind == "file":
        path.write_text("somebody's")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "none")
    with pytest.raises(ConfigError) as raised:
        check_addresses(config(tmp_path, server=f"unix:{path}"))
    assert str(raised.value) == (
        f"server.listen: {path} is there already, and is no socket: remove it, or choose another path"
    )
    assert os.path.lexists(path)


@pytest.mark.parametrize("name", ["x" * 107, "a b+c=d@e:f[g]~!$&'()*;\u4e2d.sock"], ids=["longest", "characters"])
async def test_every_socket_path_that_is_taken_can_be_reached(name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as folder:  # pytest's folders are too long
        room = 107 - len(f"{folder}/".encode())
        path = Path(folder) / name[:room]
        check_addresses(config(Path(folder), server=f"unix:{path}"))
        server = grpc.aio.server()
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            await asyncio.wait_for(channel.channel_ready(), 10)
        assert path.is_socket()
        check_addresses(config(Path(folder), server=f"unix:{path}"))
        await server.stop(0)


@pytest.mark.parametrize("group", ["9" * 5000, "4294967295", "\u0661"], ids=["5000-digits", "last", "other-digits"])
def test_group_that_is_no_number_of_one_is_refused(tmp_path: Path, group: str) -> None:
    wanted = config(tmp_path)
    server = msgspec.structs.replace(wanted.server, socket_group=group)
    with pytest.raises(ConfigError, match=r"^server\.socket_group: must be a group's name, or a number below"):
        check_addresses(msgspec.structs.replace(wanted, server=server))


def test_addresses_may_all_ask_for_a_free_port(tmp_path: Path) -> None:
    check_addresses(config(tmp_path))
