"""A time that passes when a test says so: a clock and a sleep for what takes them from outside."""

import asyncio
import heapq
from itertools import count

from sidecar.delivery.deadline import Deadline
from tests.support.raw_server import turns


class VirtualTime:
    """Seconds from a point of its own; who sleeps is woken at its time, the first first."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now

    @property
    def sleepers(self) -> int:
        """How many sleep."""
        return sum(not end.done() for _, _, end in self._sleeping)

    async def sleep(self, seconds: float) -> None:
        """Sleep until the time has come."""
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self.now + seconds, next(self._numbers), end))
        await end

    def deadline(self, remaining_s: float) -> Deadline:
        """Return a deadline by this time."""
        return Deadline(remaining_s, 0.0, self)

    async def forward(self, seconds: float) -> None:
        """Let time pass, step by step."""
        until = self.now + seconds
        await turns()
        while self._sleeping and self._sleeping[0][0] <= until:
            at, _, end = heapq.heappop(self._sleeping)
            if not end.done():
                self.now = max(self.now, at)
                end.set_result(None)
                await turns()
        self.now = until
        await turns()
