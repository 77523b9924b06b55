"""The listeners and their addresses as the configuration writes them: `host:port`, or `unix:/path`."""

import errno
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sidecar.config import Config, ConfigError, ListenerConfig
from sidecar.config_address import MAX_SOCKET_PATH_BYTES

UNIX_PREFIX = "unix:"
MAX_PORT = 65535
MAX_PORT_DIGITS = 5
MAX_GROUP = 2**32 - 1
MAX_GROUP_DIGITS = 10
# gRPC's clients read an address as a URI, or as a list of them: an escape, a fragment, a query, the next address.
NOT_IN_SOCKET_PATHS = "%#?,"
# The name of the listener of `server.listen`, beside those of `listeners`.
DEFAULT_LISTENER = "default"


class BindError(ConfigError):
    """An address that is well written, and cannot be had on this machine now."""


def split_host_port(key: str, address: str) -> tuple[str, int]:
    """Split `host:port`, with the host of `[::1]:50051` freed of its brackets.

    Raises `ConfigError` naming `key`.
    """
    host, colon, port = address.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= MAX_PORT_DIGITS and int(port) <= MAX_PORT
    if not colon or not is_port or not host.isprintable():
        raise ConfigError(f"{key}: must be host:port, not {address!r}")
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or (":" in bare and host != f"[{bare}]"):
        raise ConfigError(f"{key}: must be host:port, an IPv6 host in brackets, not {address!r}")
    return bare, int(port)


def check_addresses(config: Config) -> None:
    """Check how the listeners' addresses are written, and that no two are the same.

    Raises `ConfigError` naming the key.
    """
    if DEFAULT_LISTENER in config.listeners:
        raise ConfigError(f"listeners.{DEFAULT_LISTENER}: is the name of server.listen: choose another")
    for name, listener in listeners_of(config).items():
        key = f"{key_of(name)}.listen"
        if listener.listen.startswith(UNIX_PREFIX):
            _check_unix(key, listener.listen)
        else:
            split_host_port(key, listener.listen)
        _check_group(f"{key_of(name)}.socket_group", listener.socket_group)
    split_host_port("health.listen", config.health.listen)
    split_host_port("admin.listen", config.admin.listen)
    taken: dict[str, str] = {}
    for key, listen in _listeners(config):
        # A socket may be written in many ways, and the last one who binds it has it.
        address = os.path.realpath(path_of(listen)) if listen.startswith(UNIX_PREFIX) else listen
        if address in taken and not address.endswith(":0"):
            raise ConfigError(f"{key}: is the same address as {taken[address]}")
        taken[address] = key


def probe_addresses(config: Config) -> None:
    """Try whether the addresses can be had, before anything is started: gRPC itself says only that one cannot.

    Raises `BindError` naming the key and what to do.
    """
    callers_keys = {f"{key_of(name)}.listen" for name in listeners_of(config)}
    for key, address in _listeners(config):
        if address.startswith(UNIX_PREFIX):
            probe_unix(key, address)
        elif not (key in callers_keys and config.server.so_reuseport):
            _probe_tcp(key, address)


def path_of(address: str) -> str:
    """Return the path of a unix socket's address."""
    return address.removeprefix(UNIX_PREFIX)


def with_port(address: str, port: int) -> str:
    """Return the address with the port that was really bound."""
    return address if address.startswith(UNIX_PREFIX) else f"{address.rpartition(':')[0]}:{port}"


def listeners_of(config: Config) -> Mapping[str, ListenerConfig]:
    """Return all listeners for callers by their names, that of `server.listen` first."""
    server = config.server
    default = ListenerConfig(
        listen=server.listen, socket_mode=server.socket_mode, socket_group=server.socket_group, tls=server.tls
    )
    return {DEFAULT_LISTENER: default, **config.listeners}


def key_of(listener: str) -> str:
    """Return the key of a listener in the configuration."""
    return "server" if listener == DEFAULT_LISTENER else f"listeners.{listener}"


def _check_unix(key: str, address: str) -> None:
    """Check a socket's path: that clients can reach it, and that nothing but a socket is there."""
    path = path_of(address)
    has_authority = path.startswith("//") and not path.startswith("///")
    if not path or has_authority or not path.isprintable() or any(mark in path for mark in NOT_IN_SOCKET_PATHS):
        raise ConfigError(f"{key}: must be unix:/path without `%`, `#`, `?` and `,`; not {address!r}")
    size_bytes = len(os.fsencode(path))
    if size_bytes > MAX_SOCKET_PATH_BYTES:
        raise ConfigError(f"{key}: the path is {size_bytes} bytes, and a socket's is at most {MAX_SOCKET_PATH_BYTES}")
    file = Path(path)
    with suppress(OSError):  # what may not be looked at is told of when it is bound
        # gRPC replaces a socket that is left over, and leaves everything else where it is.
        if not file.is_socket() and (file.exists() or file.is_symlink()):
            raise ConfigError(f"{key}: {path} is there already, and is no socket: remove it, or choose another path")


def _check_group(key: str, group: str | None) -> None:
    """Check a group that is given by its number; whether there is one of a name is seen when it is needed."""
    if group is None or not group.isdecimal():
        return
    # The last number means "leave it as it is".
    if not group.isascii() or len(group) > MAX_GROUP_DIGITS or int(group) >= MAX_GROUP:
        raise ConfigError(f"{key}: must be a group's name, or a number below {MAX_GROUP}")


def _listeners(config: Config) -> tuple[tuple[str, str], ...]:
    return (
        *((f"{key_of(name)}.listen", listener.listen) for name, listener in listeners_of(config).items()),
        ("health.listen", config.health.listen),
        ("admin.listen", config.admin.listen),
    )


def _probe_tcp(key: str, address: str) -> None:
    host, port = split_host_port(key, address)
    try:
        family, kind, protocol, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(name)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:  # no IPv6 here: for `[::]` gRPC then takes IPv4
            raise _bind_error(key, address, error.strerror or "no such host") from None
    except UnicodeError:
        raise _bind_error(key, address, "no such host") from None


def probe_unix(key: str, address: str) -> None:
    """Check a socket's path.

    A socket file that nobody serves any more is no obstacle: gRPC replaces it. One that is served is: gRPC would take
    it away from the other process without a word.

    Raises `BindError`.
    """
    path = path_of(address)
    folder = os.path.dirname(path) or "."  # noqa: PTH120  # a plain string, as gRPC takes it
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _bind_error(key, address, "its directory is not there, or not writable")
    with socket.socket(socket.AF_UNIX) as client:
        # A listener takes the connection in its kernel queue at once; a full queue means a listener, too.
        client.setblocking(False)
        try:
            client.connect(path)
        except BlockingIOError:
            pass
        except (FileNotFoundError, ConnectionRefusedError):
            return
        except OSError as error:
            raise _bind_error(key, address, error.strerror or "it cannot be looked at") from None
    raise _bind_error(key, address, "it is served by another process")


def _bind_error(key: str, address: str, why: str) -> BindError:
    variable = "PUSH_SIDECAR_" + key.upper().replace(".", "__")
    return BindError(f"{key}: {address} cannot be bound: {why}. Free it, or choose another, for example by {variable}")
