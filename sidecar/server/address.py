"""Listening addresses as the configuration writes them: `host:port`, or `unix:/path`."""

import socket

from sidecar.config import ConfigError

UNIX_PREFIX = "unix:"
MAX_PORT = 65535


def split_host_port(key: str, address: str) -> tuple[str, int]:
    """Split `host:port`, with the host of `[::1]:50051` freed of its brackets.

    Raises `ConfigError` naming `key`.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > MAX_PORT:
        raise ConfigError(f"{key}: must be host:port, not {address!r}")
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or (":" in bare and host != f"[{bare}]"):
        raise ConfigError(f"{key}: must be host:port, an IPv6 host in brackets, not {address!r}")
    return bare, int(port)


def check_grpc_address(key: str, address: str) -> None:
    """Check an address of a gRPC listener, `host:port` or `unix:/path`.

    A socket file that nobody serves any more is no obstacle: gRPC replaces it. One that is served is: gRPC would take
    it away from the other process without a word.

    Raises `ConfigError` naming `key`.
    """
    if not address.startswith(UNIX_PREFIX):
        split_host_port(key, address)
        return
    path = address.removeprefix(UNIX_PREFIX)
    if not path:
        raise ConfigError(f"{key}: must be unix:/path, not {address!r}")
    with socket.socket(socket.AF_UNIX) as client:
        # A listener takes the connection in its kernel queue at once; a full queue means a listener, too.
        client.setblocking(False)
        try:
            client.connect(path)
        except BlockingIOError:
            pass
        except OSError:
            return
    raise ConfigError(f"{key}: {address} is served by another process")


def with_port(address: str, port: int) -> str:
    """Return the address with the port that was really bound."""
    return address if address.startswith(UNIX_PREFIX) else f"{address.rpartition(':')[0]}:{port}"
