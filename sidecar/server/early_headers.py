"""The early headers of one call: before anything is sent, they tell the caller's gRPC library that it is committed.

One operation of gRPC a call, never cut short: gRPC loses memory for good when it is cancelled in the middle, and takes
neither a second one nor the answer while one is under way.
"""

import asyncio
import contextlib
from typing import Any

import grpc


class HeadersNotSentError(Exception):
    """The caller is gone, or does not read: it does not have the headers."""


class EarlyHeaders:
    """The early headers of one call. They are sent when they are first asked for, and remembered."""

    __slots__ = ("_are_sent", "_context", "_is_closed", "_limit", "_limit_s", "_sending", "_waiter")

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any], limit_s: float) -> None:
        self._context = context
        self._limit_s = limit_s
        self._sending: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._are_sent = False
        self._is_closed = False

    async def send(self) -> None:
        """Send them, or wait for those that are under way, for `limit_s` at most. Who waits may be cut short.

        Raises `HeadersNotSentError`.
        """
        if self._is_closed:
            # gRPC may have freed the call.
            raise HeadersNotSentError
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        if not self._sending.done():
            await self._wait()
        if not self._are_sent:
            raise HeadersNotSentError

    async def ended(self) -> None:
        """Wait until none are under way, however long: for a caller that does not read that is its deadline, or end."""
        if self._sending is not None and not self._sending.done():
            await asyncio.wait((self._sending,))

    def close(self) -> None:
        """Send none from now on: the call is over."""
        self._is_closed = True

    async def _send(self) -> None:
        # Whatever gRPC raises, the caller is gone, and `send` says so.
        with contextlib.suppress(Exception):
            await self._context.send_initial_metadata(())
            self._are_sent = True
        self._wake()

    async def _wait(self) -> None:
        # A bare future and a timer: `asyncio.wait` costs each push twice as much.
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        self._limit = loop.call_later(self._limit_s / 2, self._wait_on, loop)
        try:
            await self._waiter
        finally:
            self._limit.cancel()

    def _wait_on(self, loop: asyncio.AbstractEventLoop) -> None:
        # In two halves: after a standstill of this process the time is over before it looks at what gRPC has done.
        self._limit = loop.call_later(self._limit_s / 2, self._wake)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
