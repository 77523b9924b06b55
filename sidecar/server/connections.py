"""Bounds the connections of the operators' HTTP: how many at once, and how long each may last.

Anybody who reaches the port may open them, and a probe must come through all the same. So nobody is turned away at the
door: the oldest connection makes room for the newest. A probe is done in milliseconds; who only holds connections loses
them first.
"""

import asyncio
from collections.abc import Callable
from typing import cast

MAX_CONNECTIONS = 64
# From the accept to the last byte of the answer. Prometheus waits as long for a scrape by default.
CONNECTION_S = 10.0


class BoundedConnections:
    """Makes the protocol of each connection, by `build` and within the bounds."""

    def __init__(
        self, build: Callable[[], asyncio.Protocol], *, limit: int = MAX_CONNECTIONS, lasts_s: float = CONNECTION_S
    ) -> None:
        self._build = build
        self._limit = limit
        self._lasts_s = lasts_s
        # The oldest first.
        self._open: dict[_Bounded, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __call__(self) -> asyncio.Protocol:
        """Make the protocol of a connection that was accepted."""
        return _Bounded(self._build(), self, self._lasts_s)

    def abort(self) -> None:
        """Cut all connections off."""
        for connection in list(self._open):
            connection.abort()

    def enter(self, connection: "_Bounded") -> None:
        """Count a connection, and make room for it."""
        if len(self._open) >= self._limit:
            next(iter(self._open)).abort()
        self._open[connection] = None

    def leave(self, connection: "_Bounded") -> None:
        """Forget a connection."""
        self._open.pop(connection, None)


class _Bounded(asyncio.Protocol):
    """One connection: what the event loop says goes on to the `inner` protocol, which serves it."""

    def __init__(self, inner: asyncio.Protocol, connections: BoundedConnections, lasts_s: float) -> None:
        self._inner = inner
        self._connections = connections
        self._lasts_s = lasts_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._end = asyncio.get_running_loop().call_later(self._lasts_s, self.abort)
        self._connections.enter(self)
        self._inner.connection_made(transport)

    def abort(self) -> None:
        """Cut it off, what is still to be written included."""
        self._connections.leave(self)
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        self._connections.leave(self)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
