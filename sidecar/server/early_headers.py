"""The early headers of one call: before anything is sent, they tell the caller's gRPC library that it is committed.

One operation of gRPC a call, never cut short: gRPC loses memory for good when it is cancelled in the middle, and takes
neither a second one nor the answer while one is under way. So callbacks run gRPC's coroutine: unlike a task, nobody can
cancel it, and it costs a push less.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import grpc


class HeadersNotSentError(Exception):
    """The caller is gone, or does not read: it does not have the headers."""


class EarlyHeaders:
    """The early headers of one call. They are sent when they are first asked for, and remembered."""

    __slots__ = (
        "_are_sent", "_context", "_ended", "_has_begun", "_is_closed", "_limit", "_limit_s", "_operation", "_waiter",
    )  # fmt: skip
    _operation: Coroutine[Any, Any, None]
    _limit: asyncio.TimerHandle

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any], limit_s: float) -> None:
        self._context = context
        self._limit_s = limit_s
        self._has_begun = False
        # None until gRPC's operation has ended.
        self._are_sent: bool | None = None
        # Of `send` and of `ended`, while they wait.
        self._waiter: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._is_closed = False

    async def send(self) -> None:
        """Send them, or wait for those that are under way, for `limit_s` at most. Who waits may be cut short.

        Raises `HeadersNotSentError`.
        """
        if self._is_closed:
            # gRPC may have freed the call.
            raise HeadersNotSentError
        if not self._has_begun:
            self._has_begun = True
            self._operation = self._context.send_initial_metadata(())
            self._proceed()
        if self._are_sent is None:
            # A bare future and a timer: `asyncio.wait` costs each push twice as much.
            loop = asyncio.get_running_loop()
            waiter = self._waiter = loop.create_future()
            self._limit = loop.call_later(self._limit_s / 2, self._wait_on, loop, waiter)
            try:
                await waiter
            finally:
                self._limit.cancel()
        if not self._are_sent:
            raise HeadersNotSentError

    async def ended(self) -> None:
        """Wait until none are under way, however long: for a caller that does not read that is its deadline, or end."""
        if self._has_begun and self._are_sent is None:
            self._ended = asyncio.get_running_loop().create_future()
            await self._ended

    def close(self) -> None:
        """Send none from now on: the call is over."""
        self._is_closed = True

    def _proceed(self, _: object = None) -> None:
        """Run gRPC's operation up to the next future that it waits for, or to its end."""
        try:
            future: asyncio.Future[Any] = self._operation.send(None)
        except StopIteration:
            self._are_sent = True
        except (Exception, asyncio.CancelledError):  # noqa: BLE001  # whatever gRPC raises, the caller is gone
            self._are_sent = False
        else:
            future.add_done_callback(self._proceed)
            return
        _wake(self._waiter)
        _wake(self._ended)

    def _wait_on(self, loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
        # In two halves: after a standstill of this process the time is over before it looks at what gRPC has done.
        self._limit = loop.call_later(self._limit_s / 2, _wake, waiter)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
