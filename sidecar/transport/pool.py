"""The connections to one address. The one that was used last is used next, so that the others come to their end."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from sidecar.transport.answer import AnswerLimits
from sidecar.transport.connect import Connector
from sidecar.transport.exchange import TIMER_S, Exchange
from sidecar.transport.http1 import Connection

Observe = Callable[[float], None]

_CLOSED = "the pool is closed"


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connector = connector
        self._limits = limits
        self._max_connections = max_connections
        self._keepalive_idle_s = keepalive_idle_s
        self._on_waited = on_waited
        self._on_connected = on_connected
        # The event loop's own clock stands still while something else runs.
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._all: set[Connection] = set()
        # The one that was used last is the last.
        self._idle: deque[Connection] = deque()
        # Connections that are made, or are about to be: they have their room.
        self._making = 0
        # Those who wait get a connection, or None: the room for a new one is theirs.
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
            if connection.is_quiet and self._clock() - connection.idle_since <= self._keepalive_idle_s:
                return connection
            connection.break_off("idle")
        return None

    async def obtain(self, exchange: Exchange) -> Connection:
        """Wait for a connection that comes free, or make one, for as long as it takes.

        Raises what `Connector.connect` does.
        """
        if self._is_closed:
            raise ConnectionError(_CLOSED)
        connection = self.pick()
        if connection is None and not self._take_room():
            connection = await self._wait(exchange)
        return connection if connection is not None else await self._make(exchange)

    def release(self, connection: Connection) -> None:
        """Take back a connection that is ready for the next exchange."""
        if self._is_closed:
            connection.break_off("idle")
        elif not self._hand_over(connection):
            connection.idle_since = self._clock()
            self._idle.append(connection)
            if self._sweep is None:
                self._sweep = self._loop.call_later(self._keepalive_idle_s, self._close_idle)

    def lost(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        if connection in self._all:
            self._all.discard(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._pass_room()

    async def aclose(self) -> None:
        """Cut every connection off."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in tuple(self._all):
            connection.break_off("closed")
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(ConnectionError(_CLOSED))
        # The event loop lets go of them in its next turn.
        await asyncio.sleep(0)

    def _hand_over(self, connection: Connection | None) -> bool:
        """Give the first that waits a connection, or the room for one (None); false when nobody waits."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _take_room(self) -> bool:
        """Count a connection that is about to be made; false when there is no room for one."""
        has_room = len(self._all) + self._making < self._max_connections
        if has_room:
            self._making += 1
        return has_room

    def _pass_room(self) -> None:
        """Give the room of a connection that is no more to the first that waits: nobody takes it from there."""
        if not self._is_closed and self._hand_over(None):
            self._making += 1

    async def _wait(self, exchange: Exchange) -> Connection | None:
        """Wait for a connection, or (None) for the room for one, which has been counted."""
        started = self._clock()
        exchange.note("pool.wait.start")
        connection = await self._wait_in_line(self._waiting.append)
        while connection is not None and not connection.is_quiet:
            # It ends on its way. Its room is for who was first in line, or the next room that comes free.
            if connection in self._all:
                self._all.discard(connection)
                self._making += 1
                connection.break_off("idle")
                connection = None
            else:
                connection = None if self._take_room() else await self._wait_in_line(self._waiting.appendleft)
        exchange.note("pool.wait.end")
        self._on_waited(self._clock() - started)
        return connection

    async def _wait_in_line(self, join: "Callable[[asyncio.Future[Connection | None]], None]") -> Connection | None:
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        join(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            # It may have been given something while it was giving up.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                given = waiter.result()
                if given is not None:
                    given.give_back()
                else:
                    self._making -= 1
                    self._pass_room()
            raise

    async def _make(self, exchange: Exchange) -> Connection:
        """Make a connection in the room that has been counted for it."""
        started = self._clock()
        connection: Connection | None = None
        try:
            connection = await self._connector.connect(exchange, self._build)
        finally:
            self._making -= 1
            if connection is None or connection.ended_by:
                self._pass_room()
            else:
                self._all.add(connection)
        if self._is_closed:
            connection.break_off("closed")
        self._on_connected(self._clock() - started)
        return connection

    def _build(self, below: asyncio.Transport) -> Connection:
        return Connection(self, self._limits, below)

    def _close_idle(self) -> None:
        """Close the connections that nobody has used for too long; look again when the next one is due."""
        oldest_at = self._clock() - self._keepalive_idle_s
        while self._idle and self._idle[0].idle_since <= oldest_at:
            self._idle[0].break_off("idle")
        self._sweep = None
        if self._idle:
            self._sweep = self._loop.call_later(max(TIMER_S, self._idle[0].idle_since - oldest_at), self._close_idle)
