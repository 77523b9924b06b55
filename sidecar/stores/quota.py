"""The contract of a counter of quotas: how much was used within the last window of each limit, and taking all or none.

A window moves: what was counted at a time takes its places for exactly `window_s` from then on, and no longer. Who
waits for places, and what a quota is for, is delivery's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

# A limit of more places than this remembers calls that come close together as one, at the time of the last: within a
# thousandth of the window. So memory is bounded, and a place is free at most so much later than it could be, never
# earlier.
MAX_ENTRIES = 1000

MICROSECONDS = 1_000_000

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` places within any `window_s`."""

    amount: int
    window_s: int

    def __str__(self) -> str:
        """Return it as one would configure it, such as `5/minute` or `5/2 minutes`."""
        unit_s, name = next((unit_s, name) for unit_s, name in _UNITS if self.window_s % unit_s == 0)
        count = self.window_s // unit_s
        return f"{self.amount}/{name}" if count == 1 else f"{self.amount}/{count} {name}s"

    @property
    def window_us(self) -> int:
        """The window in microseconds."""
        return self.window_s * MICROSECONDS

    @property
    def grain_us(self) -> int:
        """Calls within the same span of so many microseconds are remembered as one; 0: each by itself."""
        return 0 if self.amount <= MAX_ENTRIES else self.window_us // MAX_ENTRIES


@dataclass(frozen=True, slots=True)
class Charge:
    """So many places of one limit, from 1 to its amount.

    `key` is whose limit it is: a key has one window, and stands once in what is taken together.
    """

    key: str
    limit: Limit
    cost: int


@dataclass(frozen=True, slots=True)
class Room:
    """What a limit has left: places, and the time until those of the charge are free; 0 when they are."""

    left: int
    wait_s: float


class QuotaCounter(Protocol):
    """One counter. `is_remote`: a question takes time, and may be left alone by who asked it.

    Both methods raise `StoreFailure`. A `take` that was cancelled, or failed, may have counted all the same.
    """

    is_remote: bool

    async def look(self, charges: Sequence[Charge]) -> Sequence[Room]:
        """Return what the limits of the charges have left, in their order; counts nothing."""
        ...

    async def take(self, charges: Sequence[Charge]) -> float:
        """Count all charges and return 0; or count none and return the time until they fit, at most a window."""
        ...
