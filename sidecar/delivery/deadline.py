"""A deadline: one fixed point on the monotonic clock."""

import time
from collections.abc import Callable

Clock = Callable[[], float]


class Deadline:
    """When a caller must have his answer.

    The answer is given a margin before that, at most a tenth of the time that was left at the start.
    """

    __slots__ = ("_answer_at", "_clock")

    def __init__(self, remaining_s: float, margin_s: float, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._answer_at = clock() + remaining_s - min(margin_s, remaining_s / 10)

    def remaining_s(self) -> float:
        """Return the seconds until the answer must be given; 0 or less when that time has come."""
        return self._answer_at - self._clock()
