"""How often a caller may call: a bucket of as many calls as its rate has, which is filled evenly.

Not the counter of the vendor's quotas: that is exact over a moving window and remembers every call in it, and a
caller's limit is to cost a caller's flood nothing. Decides; waits for nothing.
"""

import time
from collections.abc import Callable


class Rate:
    """So many calls in so many seconds, a whole bucket of them at once."""

    def __init__(self, calls: int, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = per_s / calls
        self._per_s = per_s
        self._clock = clock
        # When the bucket would be full again (GCRA's theoretical arrival time).
        self._full_at = 0.0

    def take(self) -> float:
        """Count a call and return 0; or, without a place for it, count nothing and return the seconds to wait."""
        now = self._clock()
        full_at = max(now, self._full_at) + self._interval_s
        wait_s = full_at - now - self._per_s
        # A rounding error is no time to wait.
        if wait_s > self._interval_s * 1e-6:
            return wait_s
        self._full_at = full_at
        return 0.0
