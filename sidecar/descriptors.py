"""File descriptors: how many the process may open, and whether the configuration fits."""

import resource

from sidecar.config import Config

# Beside the connections to vendors: listeners and their callers, Redis (32), the request ids' file, the collector,
# lookups of names, files of secrets while they are read.
RESERVE = 128
# Where the hard limit is higher, or there is none.
MAX_LIMIT = 1 << 20


def raise_limit() -> None:
    """Raise the process's limit to the highest that it may have without privileges, as other servers do.

    The usual 1024 is for programs that use `select`; nothing here does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if (wanted := highest_limit(soft, hard)) != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit_when_serving() -> int:
    """Return the limit after `raise_limit`."""
    return highest_limit(*resource.getrlimit(resource.RLIMIT_NOFILE))


def highest_limit(soft: int, hard: int) -> int:
    """Return what the soft limit should be; never less than it is."""
    if soft == resource.RLIM_INFINITY:
        return soft
    return max(soft, MAX_LIMIT if hard == resource.RLIM_INFINITY else min(hard, MAX_LIMIT))


def shortage_of(config: Config, limit: int) -> str | None:
    """Say which configuration may need more file descriptors than the limit; None when all fit."""
    connections = {name: app.max_in_flight for name, app in config.apps.items()}
    wanted = sum(connections.values()) + RESERVE
    if limit == resource.RLIM_INFINITY or wanted <= limit:
        return None
    largest = max(connections, key=lambda name: connections[name])
    return (
        f"up to {wanted} file descriptors are needed, and the limit is {limit}: the apps' max_in_flight together are "
        f"{wanted - RESERVE} (apps.{largest} alone {connections[largest]}), and {RESERVE} are for everything else. "
        "Raise the limit (ulimit -n, LimitNOFILE) or lower max_in_flight"
    )
