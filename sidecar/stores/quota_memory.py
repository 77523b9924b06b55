"""Counts quotas in this process, by the monotonic clock: no step of the host's time is seen."""

import time
from collections import deque
from collections.abc import Callable, Sequence

from sidecar.stores.quota import MICROSECONDS, Charge, Limit, Room


class MemoryCounter:
    """A window of entries for each key. Whole microseconds inside, so that a wait that is told is exact."""

    is_remote = False

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    async def look(self, charges: Sequence[Charge]) -> Sequence[Room]:
        """Return what the limits of the charges have left."""
        return self._look(charges, self._now_us())

    async def take(self, charges: Sequence[Charge]) -> float:
        """Count all charges and return 0; or count none and return the time until they fit."""
        now_us = self._now_us()
        wait_s = max(room.wait_s for room in self._look(charges, now_us))
        if wait_s == 0:
            for charge in charges:
                self._windows[charge.key].add(charge, now_us)
        return wait_s

    def _look(self, charges: Sequence[Charge], now_us: int) -> list[Room]:
        rooms = []
        for charge in charges:
            window = self._windows.get(charge.key)
            if window is None:
                window = self._windows[charge.key] = _Window()
            window.forget(now_us - charge.limit.window_us)
            left = max(0, charge.limit.amount - window.used)
            rooms.append(Room(left, window.wait_us(charge, now_us) / MICROSECONDS))
        return rooms

    def _now_us(self) -> int:
        return round(self._clock() * MICROSECONDS)


class _Window:
    """What was counted within one window: pairs of a time in microseconds and a cost, the oldest first."""

    __slots__ = ("_entries", "used")

    def __init__(self) -> None:
        self._entries: deque[tuple[int, int]] = deque()
        self.used = 0

    def forget(self, until_us: int) -> None:
        """Forget what was counted at this time or before."""
        while self._entries and self._entries[0][0] <= until_us:
            self.used -= self._entries.popleft()[1]

    def wait_us(self, charge: Charge, now_us: int) -> int:
        """Return the time until the places of a charge are free."""
        missing = self.used + charge.cost - charge.limit.amount
        if missing <= 0:
            return 0
        for counted_at_us, cost in self._entries:
            missing -= cost
            if missing <= 0:
                return counted_at_us + charge.limit.window_us - now_us
        raise ValueError("a charge of more places than its limit has")

    def add(self, charge: Charge, now_us: int) -> None:
        """Count a charge."""
        cost = charge.cost
        self.used += cost
        if self._entries and _is_same_grain(charge.limit, self._entries[-1][0], now_us):
            cost += self._entries.pop()[1]
        self._entries.append((now_us, cost))


def _is_same_grain(limit: Limit, one_us: int, other_us: int) -> bool:
    return limit.grain_us > 0 and one_us // limit.grain_us == other_us // limit.grain_us
