"""Fails fast while a vendor's host cannot be reached or does not answer, and finds out when it does again.

Closed, it lets everything through and counts; open, nothing; half open, one call at a time. What counts as a failure is
the lane's to say. Decides; waits and sends nothing.
"""

import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum

from sidecar.errors import NotSent

CAUSE = "breaker_open"

# The window slides in so many steps.
_STEPS = 10
# A host that stays away is tried less often, up to this many times `open_s`.
_MAX_STRETCH = 8
# What a call is told while the single one that tries the vendor is under way, in seconds.
_PROBE_RETRY_AFTER_S = 1.0


class State(StrEnum):
    """What is let through."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Breaker:
    """The breaker of one vendor host. Times in seconds."""

    def __init__(
        self,
        *,
        failure_ratio: float,
        min_calls: int,
        window_s: float,
        open_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failure_ratio = failure_ratio
        self._min_calls = min_calls
        self._step_s = window_s / _STEPS
        self._open_s = open_s
        self._clock = clock
        self._steps: deque[_Step] = deque(maxlen=_STEPS)
        self._is_closed = True
        self._open_until = 0.0
        self._stretch = 1
        self._is_probing = False
        # Permits of an earlier time say nothing of this one.
        self._generation = 0

    @property
    def state(self) -> State:
        """What is let through at this moment."""
        if self._is_closed:
            return State.CLOSED
        return State.HALF_OPEN if self._clock() >= self._open_until else State.OPEN

    @property
    def retry_after_s(self) -> float:
        """How long a call should wait before it is made again; 0 when it would be let through."""
        if self._is_closed:
            return 0.0
        left_s = self._open_until - self._clock()
        if left_s > 0:
            return left_s
        return _PROBE_RETRY_AFTER_S if self._is_probing else 0.0

    def check(self) -> None:
        """Refuse a call that would not be let through now; takes nothing.

        Raises `NotSent` with the time to wait.
        """
        if not self._is_closed and (after_s := self.retry_after_s) > 0:
            raise NotSent(
                "nothing was sent: the vendor's host was out of reach or silent, and is tried again later",
                cause=CAUSE,
                retry_after_s=after_s,
            )

    def admit(self) -> "Permit":
        """Let a call through; half open, one at a time. Its permit must be reported.

        Raises `NotSent` with the time to wait.
        """
        self.check()
        permit = Permit(self, self._generation)
        if not self._is_closed:
            self._is_probing = True
        return permit

    def _report(self, generation: int, *, reached: bool | None) -> None:
        if generation != self._generation:
            return
        if self._is_closed:
            if reached is not None:
                self._count(is_failure=not reached)
            return
        self._is_probing = False
        if reached:
            self._is_closed = True
            self._stretch = 1
            self._turn()
        elif reached is False:
            self._stretch = min(_MAX_STRETCH, 2 * self._stretch)
            self._open()

    def _count(self, *, is_failure: bool) -> None:
        now = self._clock()
        if not self._steps or now - self._steps[-1].started_at >= self._step_s:
            self._steps.append(_Step(now))
        step = self._steps[-1]
        step.calls += 1
        if not is_failure:
            return
        step.failures += 1
        oldest = now - _STEPS * self._step_s
        calls = failures = 0
        for step in self._steps:
            if step.started_at > oldest:
                calls += step.calls
                failures += step.failures
        if calls >= self._min_calls and failures >= self._failure_ratio * calls:
            self._is_closed = False
            self._open()

    def _open(self) -> None:
        self._open_until = self._clock() + self._open_s * self._stretch
        self._turn()

    def _turn(self) -> None:
        self._generation += 1
        self._steps.clear()


class Permit:
    """That one call was let through. Only its first report counts."""

    __slots__ = ("_breaker", "_generation", "_is_reported")

    def __init__(self, breaker: Breaker, generation: int) -> None:
        self._breaker = breaker
        self._generation = generation
        self._is_reported = False

    def report(self, *, reached: bool | None) -> None:
        """Say whether the vendor answered, whatever it said; None when nothing was learned."""
        if not self._is_reported:
            self._is_reported = True
            self._breaker._report(self._generation, reached=reached)  # noqa: SLF001  # two halves of one thing


class _Step:
    """What was counted in a part of the window."""

    __slots__ = ("calls", "failures", "started_at")

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.calls = 0
        self.failures = 0
