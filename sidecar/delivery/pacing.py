"""Keeps the calls of one app within the vendor's quotas: they wait for their turn, or are told how long it would take.

Two things hold calls back: the app's own count of its quotas, and a pause after the vendor refused for its quota. A
call waits before it takes a place in flight, so that pushes to everybody do not keep those to single devices waiting;
it is counted right before its first byte, so that what is not sent costs nothing of the quota.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

from sidecar.delivery.call import Call, Withheld
from sidecar.delivery.pauses import Pauses
from sidecar.delivery.quota import Limiter, LimiterFailure, Quota
from sidecar.errors import DeadlineExceeded, Overloaded, QuotaExceeded, Sent, ShuttingDown
from sidecar.telemetry import names
from sidecar.telemetry.metrics import Metrics

# The label of a pause that is for every class of call.
EVERYTHING = "*"
LOG_INTERVAL_S = 60.0
# A call that was let through and then found no place waits so long at least: clocks of replicas may differ.
MIN_WAIT_S = 0.05
# After the counter has failed it is left alone for so long: each call that asks it would wait for it.
LIMITER_PAUSE_S = 1.0

_log = logging.getLogger(__name__)


class PacedOut(Withheld):
    """Others have used the quota up, or the vendor has refused for it, since this call was let through."""

    def __init__(self, wait_s: float) -> None:
        super().__init__()
        self.wait_s = wait_s


class Pacer:
    """Paces the calls of one app. Times in seconds; `subject` is whose quota it is at the vendor."""

    def __init__(
        self,
        *,
        app: str,
        subject: str,
        quotas: Sequence[Quota],
        limiter: Limiter,
        max_waiting: int,
        overload_retry_after_s: float,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._app = app
        self._subject = subject
        self._limiter = limiter
        self._max_waiting = max_waiting
        self._overload_retry_after_s = overload_retry_after_s
        self._metrics = metrics
        self._pacing_wait = metrics.pacing_wait.labels(app)
        self._slowdowns = metrics.vendor_slowdowns.labels(app)
        self._clock = clock
        self._pauses = Pauses(sleep)
        self._quotas: dict[str, list[Quota]] = {}
        for quota in quotas:
            for call_class in quota.classes:
                self._quotas.setdefault(call_class, []).append(quota)
        self._paused_until: dict[str, float] = dict.fromkeys((EVERYTHING, *(quota.name for quota in quotas)), 0.0)
        for name in self._paused_until:
            metrics.paused.labels(app, name).set_function(partial(self._paused_s, name))
        self._is_paused = False
        self._is_closed = False
        self._logged_at = -LOG_INTERVAL_S
        self._asks_again_at = -LIMITER_PAUSE_S

    @property
    def paused_for_s(self) -> Mapping[str, float]:
        """How long calls are still paused, by the name of their quota; `*` is every call."""
        return {name: round(left_s, 3) for name in self._paused_until if (left_s := self._paused_s(name)) > 0}

    def must_wait(self, call_class: str) -> bool:
        """Whether `wait` and `take` have anything to look at for this class."""
        return self._is_paused or call_class in self._quotas

    async def wait(self, call: Call, call_class: str, at_least_s: float = 0.0) -> None:
        """Wait until a call of this class may be made, if its deadline allows that.

        Raises `QuotaExceeded` with the time to wait, `DeadlineExceeded`, `Overloaded` or `ShuttingDown`.
        """
        while (wait_s := max(at_least_s, await self._look(call, call_class))) > 0:
            at_least_s = 0.0
            if self._is_closed:
                raise _shutting_down()
            if wait_s >= call.deadline.remaining_s():
                raise QuotaExceeded(
                    "nothing was sent: the app's quota at the vendor is spent",
                    subject=f"app:{self._app}",
                    retry_after_s=wait_s,
                )
            await self._wait(call, wait_s)

    async def take(self, call_class: str) -> None:
        """Count a call that is about to be sent.

        Raises `PacedOut` when there is no place for it any more.
        """
        quotas = self._quotas.get(call_class, ())
        if (pause_s := self._pause_s(quotas)) > 0:
            raise PacedOut(pause_s)
        for quota in quotas:
            if (wait_s := await self._ask(self._limiter.take, quota)) > 0:
                raise PacedOut(max(MIN_WAIT_S, wait_s))

    def slow_down(self, call_class: str, retry_after_s: float) -> None:
        """Pause what the vendor refused for its quota: what shares a quota with this class, or else every call."""
        self._slowdowns.inc()
        until = self._clock() + retry_after_s
        for name in [quota.name for quota in self._quotas.get(call_class, ())] or [EVERYTHING]:
            self._paused_until[name] = max(self._paused_until[name], until)
        self._is_paused = True

    def close(self) -> None:
        """Refuse every call that waits, and every later one that would have to."""
        self._is_closed = True
        self._pauses.end()

    async def _look(self, call: Call, call_class: str) -> float:
        """Return how long a call of this class has to wait, as things are."""
        quotas = self._quotas.get(call_class, ())
        wait_s = self._pause_s(quotas)
        try:
            async with asyncio.timeout(max(0.0, call.deadline.remaining_s())):
                for quota in quotas:
                    wait_s = max(wait_s, await self._ask(self._limiter.wait_s, quota))
        except TimeoutError:
            raise DeadlineExceeded("the deadline came while the quota was looked at", sent=Sent.NO) from None
        return wait_s

    async def _ask(self, ask: Callable[[Quota, str], Awaitable[float]], quota: Quota) -> float:
        """Return how long the counter says to wait; 0 while it fails, since the vendor's own refusal still protects."""
        if self._clock() < self._asks_again_at:
            self._metrics.limiter_failures.labels(self._app, "skipped").inc()
            return 0.0
        try:
            return await ask(quota, self._subject)
        except LimiterFailure as failure:
            self._asks_again_at = self._clock() + LIMITER_PAUSE_S
            self._note(failure)
            return 0.0

    def _pause_s(self, quotas: Iterable[Quota]) -> float:
        if not self._is_paused:
            return 0.0
        now = self._clock()
        self._is_paused = any(until > now for until in self._paused_until.values())
        names_of = (EVERYTHING, *(quota.name for quota in quotas))
        return max(0.0, *(self._paused_until[name] - now for name in names_of))

    def _paused_s(self, name: str) -> float:
        return max(0.0, self._paused_until[name] - self._clock())

    async def _wait(self, call: Call, wait_s: float) -> None:
        if len(self._pauses) >= self._max_waiting:
            raise Overloaded(
                f"{len(self._pauses)} calls wait for the vendor's quota, as many as configured",
                retry_after_s=self._overload_retry_after_s,
            )
        started, started_ns = time.perf_counter(), time.time_ns()
        try:
            await self._pauses.wait(wait_s)
        finally:
            self._pacing_wait.observe(time.perf_counter() - started)
            call.trace.add_wait(names.SPAN_PACING_WAIT, started_ns)
        if self._is_closed:
            raise _shutting_down()

    def _note(self, failure: LimiterFailure) -> None:
        """Note that calls are not counted."""
        self._metrics.limiter_failures.labels(self._app, failure.kind).inc()
        now = self._clock()
        if now - self._logged_at >= LOG_INTERVAL_S:
            self._logged_at = now
            _log.warning("quotas are not counted", extra={"app": self._app, "kind": failure.kind})


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("the sidecar is stopping and had not started this call")
