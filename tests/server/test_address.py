"""Addresses as the configuration writes them."""

import socket
from pathlib import Path

import pytest

from sidecar.config import ConfigError
from sidecar.server.address import check_grpc_address, split_host_port, with_port


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
    ["", ":", ":50051", "host", "host:", "host:http", "h:65536", "h:-1", "h:\u0661", "::1:50051", "[]:1", "unix:/a"],
)  # fmt: skip
def test_anything_else_is_refused_naming_the_key(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^admin\.listen: must be host:port"):
        split_host_port("admin.listen", address)


def test_bound_port_takes_the_place_of_the_wanted() -> None:
    assert with_port("127.0.0.1:0", 1234) == "127.0.0.1:1234"
    assert with_port("[::1]:0", 1234) == "[::1]:1234"
    assert with_port("unix:/run/push.sock", 1) == "unix:/run/push.sock"


def test_unix_address_is_free_unless_somebody_serves_it(tmp_path: Path) -> None:
    path = tmp_path / "push.sock"
    check_grpc_address("server.listen", f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        check_grpc_address("server.listen", f"unix:{path}")
        listener.listen(1)
        for _ in range(4):  # more than the queue takes: nobody accepts
            with pytest.raises(ConfigError, match=r"^server\.listen: unix:.*push\.sock is served by another process$"):
                check_grpc_address("server.listen", f"unix:{path}")
    assert path.exists()
    check_grpc_address("server.listen", f"unix:{path}")


def test_unix_address_needs_a_path() -> None:
    with pytest.raises(ConfigError, match=r"^server\.listen: must be unix:/path"):
        check_grpc_address("server.listen", "unix:")
