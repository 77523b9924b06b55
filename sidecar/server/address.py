"""Listening addresses as the configuration writes them: `host:port`, or `unix:/path`."""

from sidecar.config import ConfigError

UNIX_PREFIX = "unix:"
MAX_PORT = 65535


def split_host_port(key: str, address: str) -> tuple[str, int]:
    """Split `host:port`, with the host of `[::1]:50051` freed of its brackets.

    Raises `ConfigError` naming `key`.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > MAX_PORT:
        raise ConfigError(f"{key}: must be host:port, not {address!r}")
    return host.strip("[]"), int(port)


def with_port(address: str, port: int) -> str:
    """Return the address with the port that was really bound."""
    return address if address.startswith(UNIX_PREFIX) else f"{address.rpartition(':')[0]}:{port}"
