"""One request and its answer: whether its bytes may have left, when each step was, and how it ended.

This is the only proof of *sent* that is trusted: what our own connection did, never what an exception is called.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from sidecar.transport.reply import Reply

# Timers count milliseconds, and may be early by a part of one.
TIMER_S = 0.001


class TransportFailure(Exception):  # an outcome, as httpx names its own
    """There was no connection. `cause` is a short token for logs and metrics."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Wire(Protocol):
    """What an exchange goes over, once it has one: a connection of its own."""

    def break_off(self, cause: str) -> None:
        """End the exchange without an answer, and the connection with it."""
        ...


class Exchange:
    """One HTTP request. It is written once, or never.

    `is_written`: from then on the request may have left. `reply` is None for an exchange that is over without a whole
    answer: then `cause` says why. Times: `written_at` as `time.perf_counter()`, in seconds; those that end in `_ns` in
    nanoseconds since the epoch, 0 for what has not happened.
    """

    __slots__ = (
        "_due_at", "_loop", "_on_over", "_silence_s", "_timer", "_total_at", "_waiter", "cause", "events", "head_at_ns",
        "heard_at", "is_connected", "is_looking_up", "is_over", "is_reused", "is_written", "on_read", "reply",
        "was_refused_as_client", "wire", "written_at", "written_at_ns",
    )  # fmt: skip

    def __init__(self, on_read: Callable[[int], None] | None = None) -> None:
        self.on_read = on_read
        self.wire: Wire | None = None
        self.is_connected = False
        self.is_reused = False
        # A lookup of the host's name has begun and not ended: what cuts it short is a failure of the lookup.
        self.is_looking_up = False
        self.is_written = False
        # The vendor's TLS refused our client certificate, or the lack of one, before it read anything.
        self.was_refused_as_client = False
        self.events: list[tuple[str, int]] = []
        self.written_at = 0.0
        self.written_at_ns = 0
        self.head_at_ns = 0
        self.heard_at = 0.0
        self.reply: Reply | None = None
        self.cause = ""
        self.is_over = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._on_over: Callable[[], None] | None = None

    @property
    def may_have_left(self) -> bool:
        """Whether the vendor may have got the request."""
        return self.is_written and not self.was_refused_as_client

    def note(self, name: str) -> None:
        """Note for the trace that something happens now."""
        self.events.append((name, time.time_ns()))

    def write(self) -> None:
        """Note that the first byte is being written."""
        self.is_written = True
        self.written_at, self.written_at_ns = time.perf_counter(), time.time_ns()

    def end(self, reply: Reply | None, cause: str = "") -> None:
        """Note that it is over, with an answer or without. Only the first word counts."""
        if self.is_over:
            return
        self.is_over, self.reply, self.cause = True, reply, cause
        self.wire = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._on_over is not None:
            on_over, self._on_over = self._on_over, None
            on_over()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, loop: asyncio.AbstractEventLoop, *, due_at: float, silence_s: float, total_at: float) -> bool:
        """Wait until it is over, or the caller must be answered; returns whether it is over.

        Times are the loop's. The exchange itself ends when nothing was heard for `silence_s`, and at `total_at`.
        """
        if self.is_over:
            return True
        self._loop = loop
        self._due_at, self._silence_s, self._total_at = due_at, silence_s, total_at
        self.heard_at = loop.time()
        self._waiter = loop.create_future()
        self._timer = loop.call_at(min(due_at, total_at, self.heard_at + silence_s), self._on_time)
        await self._waiter
        return self.is_over

    def leave(self, on_over: Callable[[], None]) -> None:
        """Have it go on by itself; `on_over` is called when it is over."""
        if self.is_over:
            on_over()
        else:
            self._on_over = on_over

    def _on_time(self) -> None:
        now = self._loop.time() + TIMER_S
        silent_at = self.heard_at + self._silence_s
        if now >= self._total_at:
            self._break_off("total_timeout")
        elif now >= silent_at:
            self._break_off("read_timeout")
        else:
            until = min(self._total_at, silent_at)
            assert self._waiter is not None  # noqa: S101  # made before the timer
            if now < self._due_at:
                until = min(until, self._due_at)
            elif not self._waiter.done():
                self._waiter.set_result(None)
            self._timer = self._loop.call_at(until, self._on_time)

    def _break_off(self, cause: str) -> None:
        if self.wire is not None:
            self.wire.break_off(cause)
        self.end(None, cause)
