"""What the errors of the Redis library say: one short token each, without their texts, which may quote an address."""

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from sidecar.config import ConfigError
from sidecar.stores.store import StoreFailure

# The first that fits.
_KINDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((AuthenticationError, AuthorizationError, ConfigError), "auth"),
    ((NoPermissionError,), "no_permission"),
    ((OutOfMemoryError,), "full"),
    ((ReadOnlyError,), "read_only"),
    ((AskError,), "cluster"),  # MOVED is one
    ((ClusterError,), "cluster_down"),
    ((InvalidResponse,), "no_redis"),
    ((RedisTimeoutError,), "timeout"),
    ((RedisConnectionError, OSError), "connection"),
    ((ResponseError,), "response"),
)
# What has no type of its own. Before version 7, Redis puts the error of a command in a script into a text about the
# script; from 7 on, what the script may not run has a text alone.
_KINDS_IN_TEXT = {
    "-OOM ": "full",
    "-READONLY ": "read_only",
    "-NOPERM ": "no_permission",
    "can't run this command": "no_permission",
    "DB index": "database",
    "SELECT is not allowed": "database",
    "unknown command": "unknown_command",
}


def read_failure(error: BaseException) -> StoreFailure:
    """Return what an error of the library says, without its text."""
    kind = next((kind for kinds, kind in _KINDS if isinstance(error, kinds)), "other")
    if kind == "response":
        kind = next((kind for mark, kind in _KINDS_IN_TEXT.items() if mark in str(error)), kind)
    elif kind == "connection" and isinstance(error.__cause__, TimeoutError):
        kind = "timeout"  # of the wait for a free connection
    return StoreFailure(kind)
