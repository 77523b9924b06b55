"""The door of one app: a bounded number of calls in flight, and a bounded queue of calls that wait for a place."""

import asyncio
from collections import deque

from sidecar.delivery.deadline import Deadline
from sidecar.errors import DeadlineExceeded, Overloaded, Sent, ShuttingDown


class Admission:
    """Places in flight, given in the order of arrival."""

    def __init__(self, *, max_in_flight: int, max_queue: int, retry_after_s: float) -> None:
        self._max_in_flight = max_in_flight
        self._max_queue = max_queue
        self._retry_after_s = retry_after_s
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.is_closed = False
        self.in_flight = 0

    @property
    def queued(self) -> int:
        """How many calls wait."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether every place is taken."""
        return self.in_flight >= self._max_in_flight

    @property
    def would_queue(self) -> bool:
        """Whether a call would be let in to wait, and not be given a place or turned away at once."""
        return self.is_full and len(self._waiting) < self._max_queue and not self.is_closed

    async def enter(self, deadline: Deadline) -> None:
        """Take a place, waiting for one until the deadline. Who enters must `leave`.

        Raises `Overloaded`, `DeadlineExceeded` or `ShuttingDown`; then there is nothing to leave.
        """
        if self.is_closed:
            raise ShuttingDown("the sidecar is stopping and had not started this call")
        if deadline.remaining_s() <= 0:
            raise DeadlineExceeded("too little time was left to send the push", sent=Sent.NO)
        if not self.is_full:
            self.in_flight += 1
            return
        if len(self._waiting) >= self._max_queue:
            raise Overloaded(
                f"{self.in_flight} calls are in flight and {len(self._waiting)} wait, as many as configured",
                retry_after_s=self._retry_after_s,
            )
        await self._wait(deadline)

    async def _wait(self, deadline: Deadline) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.leave()  # given to us while we were giving up
            elif place in self._waiting:
                self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded("the deadline came while waiting for a place", sent=Sent.NO) from None
            raise

    def leave(self) -> None:
        """Give the place to the next that waits, or free it."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.in_flight -= 1

    def close(self) -> None:
        """Refuse every call that waits, and every later one."""
        self.is_closed = True
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(ShuttingDown("the sidecar is stopping and had not started this call"))
