"""The connections to one address. The one that was used last is used next, so that the others come to their end."""

import asyncio
from collections import deque
from collections.abc import Callable

from sidecar.transport.answer import AnswerLimits
from sidecar.transport.connect import Connector
from sidecar.transport.exchange import Exchange
from sidecar.transport.http1 import Connection

Observe = Callable[[float], None]


class Pool:
    """Connections of one app, at most `max_connections`. It belongs to one event loop.

    `on_waited` and `on_connected` are told how many seconds a wait for a connection, and the making of one, took.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        limits: AnswerLimits,
        max_connections: int,
        keepalive_idle_s: float,
        on_waited: Observe = lambda _: None,
        on_connected: Observe = lambda _: None,
    ) -> None:
        self._connector = connector
        self._limits = limits
        self._max_connections = max_connections
        self._keepalive_idle_s = keepalive_idle_s
        self._on_waited = on_waited
        self._on_connected = on_connected
        self._loop = asyncio.get_running_loop()
        self._all: set[Connection] = set()
        # The one that was used last is the last.
        self._idle: deque[Connection] = deque()
        self._making = 0
        # Those who wait get a connection, or None: there is room for a new one.
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def active(self) -> int:
        """Connections in use, those that are being made included."""
        return len(self._all) - len(self._idle) + self._making

    @property
    def idle(self) -> int:
        """Connections that wait for their next use."""
        return len(self._idle)

    def pick(self) -> Connection | None:
        """Take a connection that is there; None when there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_quiet and self._loop.time() - connection.idle_since <= self._keepalive_idle_s:
                return connection
            connection.break_off("idle")
        return None

    async def obtain(self, exchange: Exchange) -> Connection:
        """Wait for a connection that comes free, or make one, for as long as it takes.

        Raises what `Connector.connect` does.
        """
        while (connection := self.pick()) is None and len(self._all) + self._making >= self._max_connections:
            if (connection := await self._wait(exchange)) is not None:
                if connection.is_quiet:
                    break
                connection.break_off("idle")
        return connection if connection is not None else await self._make(exchange)

    def release(self, connection: Connection) -> None:
        """Take back a connection that is ready for the next exchange."""
        if self._is_closed:
            connection.break_off("idle")
        elif not self._hand_over(connection):
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
            if self._sweep is None:
                self._sweep = self._loop.call_later(self._keepalive_idle_s, self._close_idle)

    def lost(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._hand_over(None)

    async def aclose(self) -> None:
        """Cut every connection off."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in tuple(self._all):
            connection.break_off("closed")
        # The event loop lets go of them in its next turn.
        await asyncio.sleep(0)

    def _hand_over(self, connection: Connection | None) -> bool:
        """Give the first that waits a connection, or the room for one; false when nobody waits."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    async def _wait(self, exchange: Exchange) -> Connection | None:
        started = self._loop.time()
        exchange.note("pool.wait.start")
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            connection = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # It was given to us while we were giving up.
                given = waiter.result()
                if given is None:
                    self._hand_over(None)
                else:
                    self.release(given)
            raise
        exchange.note("pool.wait.end")
        self._on_waited(self._loop.time() - started)
        return connection

    async def _make(self, exchange: Exchange) -> Connection:
        started = self._loop.time()
        self._making += 1
        try:
            connection = await self._connector.connect(exchange, self._build)
        except BaseException:
            self._hand_over(None)
            raise
        finally:
            self._making -= 1
        if not connection.ended_by:
            self._all.add(connection)
        self._on_connected(self._loop.time() - started)
        return connection

    def _build(self, below: asyncio.Transport) -> Connection:
        return Connection(self, self._limits, below)

    def _close_idle(self) -> None:
        """Close the connections that nobody has used for too long; look again when the next one is due."""
        oldest_at = self._loop.time() - self._keepalive_idle_s
        while self._idle and self._idle[0].idle_since <= oldest_at:
            self._idle[0].break_off("idle")
        self._sweep = None
        if self._idle:
            self._sweep = self._loop.call_at(self._idle[0].idle_since + self._keepalive_idle_s, self._close_idle)
