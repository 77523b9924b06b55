"""Whether a failed attempt is made again, and after what wait. Decides; waits and sends nothing.

Only what provably did nothing is repeated: not sent, or (where the provider allows it) a vendor that could not create
the task. Two stops: attempts and time; and a budget, so that an outage is not multiplied.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sidecar.delivery.causes import EARLY_HEADERS
from sidecar.errors import NotSent, PushError, VendorBusy


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how fast. Waits in seconds."""

    max_attempts: int
    initial_backoff_s: float
    max_backoff_s: float

    def next_wait_s(
        self,
        error: PushError,
        *,
        attempt: int,
        remaining_s: float,
        is_repeatable_when_busy: bool,
        random: Callable[[], float],
    ) -> float | None:
        """Return how long to wait before the next attempt, or None when there is none.

        `attempt` counts from 1 and is the one that failed; `remaining_s` is the time until the answer is due; `random`
        returns a number in [0, 1) (full jitter).
        """
        # A caller who is gone wants no second attempt.
        was_not_sent = isinstance(error, NotSent) and error.cause != EARLY_HEADERS
        is_repeatable = was_not_sent or (isinstance(error, VendorBusy) and is_repeatable_when_busy)
        if not is_repeatable or attempt >= self.max_attempts:
            return None
        wait_s = random() * min(self.max_backoff_s, self.initial_backoff_s * 2 ** (attempt - 1))
        return wait_s if wait_s < remaining_s else None


class RetryBudget:
    """Retries as a share of calls: every call adds `ratio`, every retry takes 1. Holds at most `cap`."""

    def __init__(self, ratio: float, cap: float = 10.0) -> None:
        self._ratio = ratio
        self._cap = cap
        # Full at the start, so that the first calls of a quiet app can be repeated; none at all when switched off.
        self._tokens = cap if ratio > 0 else 0.0

    @property
    def left(self) -> float:
        """How much is in it."""
        return self._tokens

    def deposit(self) -> None:
        """Count a call."""
        self._tokens = min(self._cap, self._tokens + self._ratio)

    def withdraw(self) -> bool:
        """Take a retry out; false when there is none left."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
