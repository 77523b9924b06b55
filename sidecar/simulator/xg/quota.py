"""The quota of all and tag pushes together, per app.

The documents say 30 an hour and that what is above "fails", without a code; so the refusal is a setting:
HTTP 429 with Retry-After, or a return code. Must not live here: the clock.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

DEFAULT_LIMIT: Final = 30
WINDOW_S: Final = 3600.0
_TOO_MANY_REQUESTS: Final = 429


@dataclass(slots=True)
class Quota:
    """At most `limit` accepted pushes (None: any number) in any `window_s` seconds.

    What is above is answered with HTTP `overflow_status` and Retry-After, or, where `overflow_ret_code` is
    not 0, with that return code.
    """

    limit: int | None = DEFAULT_LIMIT
    window_s: float = WINDOW_S
    overflow_status: int = _TOO_MANY_REQUESTS
    overflow_ret_code: int = 0
    _taken: dict[str, deque[float]] = field(default_factory=dict, repr=False)

    def take(self, app_id: str, now: float) -> int:
        """Count one push and return 0, or return the whole seconds to wait and count nothing."""
        if self.limit is None:
            return 0
        taken = self._recent(app_id, now)
        if len(taken) < self.limit:
            taken.append(now)
            return 0
        free_at = taken[-self.limit] + self.window_s if self.limit else now + self.window_s
        return max(1, math.ceil(free_at - now))

    def count_used(self, app_id: str, now: float) -> int:
        """Return how many pushes count at this moment."""
        return len(self._recent(app_id, now))

    def settings(self) -> "Quota":
        """Return a copy without what was counted."""
        return Quota(self.limit, self.window_s, self.overflow_status, self.overflow_ret_code)

    def restore(self, settings: "Quota") -> None:
        """Take over the settings and start counting anew."""
        self.limit, self.window_s = settings.limit, settings.window_s
        self.overflow_status = settings.overflow_status
        self.overflow_ret_code = settings.overflow_ret_code
        self._taken.clear()

    def _recent(self, app_id: str, now: float) -> deque[float]:
        taken = self._taken.setdefault(app_id, deque())
        while taken and taken[0] <= now - self.window_s:
            taken.popleft()
        return taken
