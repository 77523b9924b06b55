"""Channels to a sidecar, for blocking and for asyncio callers, with the defaults that its promises rest on.

It owns channel options, the retry policy, the default deadline. What an error means lives in errors.py.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import grpc
import grpc.aio

from pushsidecar.errors import PushError, Sent, Violation, error_of
from pushsidecar.unary_methods import UNARY_METHODS

__all__ = [
    "DEFAULT_TARGET",
    "DEFAULT_TIMEOUT_S",
    "PushError",
    "Sent",
    "Violation",
    "connect",
    "connect_async",
    "error_of",
]

DEFAULT_TARGET: Final = "127.0.0.1:50051"
DEFAULT_TIMEOUT_S: Final = 30.0

# Repeating UNAVAILABLE is safe only for methods whose headers the sidecar sends before the first byte can reach
# the vendor, since a gRPC library never repeats a call that has received headers: the unary ones, by their names. An
# error of the sidecar's own says by a trailer that it is not to be repeated, except where the sidecar is stopping.
_SERVICE_CONFIG: Final = json.dumps(
    {
        "methodConfig": [
            {"name": [{}], "waitForReady": True},
            {
                "name": UNARY_METHODS,
                "waitForReady": True,
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            },
        ]
    }
)

_OPTIONS: Final[Mapping[str, int | str]] = {
    "grpc.service_config": _SERVICE_CONFIG,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.max_pings_without_data": 0,
    # A sidecar that was restarted is found again within a second; gRPC's own limit is two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
    # `http_proxy` and its like are for the network, and the sidecar is on this host.
    "grpc.enable_http_proxy": 0,
}

_Request = TypeVar("_Request")
Options = Mapping[str, int | str]


def connect(
    target: str = DEFAULT_TARGET,
    *,
    default_timeout_s: float = DEFAULT_TIMEOUT_S,
    credentials: grpc.ChannelCredentials | None = None,
    options: Options | None = None,
) -> grpc.Channel:
    """Return a channel for blocking calls; it connects at its first call, and threads may share it.

    `target`: `host:port` or `unix:/path`. `default_timeout_s`: for calls that give none. `credentials`: for a
    sidecar that listens with TLS. `options`: gRPC channel options; they win over those of this helper.
    """
    arguments = list(_options(options).items())
    channel = (
        grpc.insecure_channel(target, arguments)
        if credentials is None
        else grpc.secure_channel(target, credentials, arguments)
    )
    return grpc.intercept_channel(channel, _DefaultTimeout(default_timeout_s))


def connect_async(
    target: str = DEFAULT_TARGET,
    *,
    default_timeout_s: float = DEFAULT_TIMEOUT_S,
    credentials: grpc.ChannelCredentials | None = None,
    options: Options | None = None,
) -> grpc.aio.Channel:
    """Return a channel for callers in the running asyncio loop; the parameters are those of `connect`."""
    arguments = list(_options(options).items())
    interceptors = [_AsyncDefaultTimeout(default_timeout_s)]
    if credentials is None:
        return grpc.aio.insecure_channel(target, arguments, interceptors=interceptors)
    return grpc.aio.secure_channel(target, credentials, arguments, interceptors=interceptors)


def _options(options: Options | None) -> Options:
    return {**_OPTIONS, **(options or {})}


@dataclass(frozen=True, slots=True)
class _CallDetails(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: Any
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


# The service config has a `timeout`, too, but it also cuts the longer one that a caller gives.
class _DefaultTimeout(grpc.UnaryUnaryClientInterceptor):
    """Gives a deadline to blocking calls that have none."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.ClientCallDetails, request: _Request
    ) -> Any:
        """Go on with the call, its deadline set."""
        details = client_call_details
        if details.timeout is None:
            details = _CallDetails(
                method=details.method,
                timeout=self._timeout_s,
                metadata=details.metadata,
                credentials=details.credentials,
                wait_for_ready=details.wait_for_ready,
                compression=details.compression,
            )
        return continuation(details, request)


class _AsyncDefaultTimeout(grpc.aio.UnaryUnaryClientInterceptor):
    """Gives a deadline to asyncio calls that have none."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    async def intercept_unary_unary(
        self,
        continuation: Callable[..., Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: _Request,
    ) -> Any:
        """Go on with the call, its deadline set."""
        details = client_call_details
        if details.timeout is None:
            # A named tuple: what later versions add to it is kept.
            details = cast("Any", details)._replace(timeout=self._timeout_s)
        return await continuation(details, request)
