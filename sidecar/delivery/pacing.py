"""Keeps the calls of one app within the vendor's quotas: they wait for their turn, or are told how long it would take.

Two things hold calls back: the app's own count of its quotas, and a pause after the vendor refused for its quota. A
call waits before it takes a place in flight, so that pushes to everybody do not keep those to single devices waiting;
it is counted right before its first byte, so that what is not sent costs nothing of the quota. In between it holds its
places (reservation.py), so that no more calls are let through than there is room.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

from sidecar.delivery.call import Call, Withheld
from sidecar.delivery.limiter import Limiter
from sidecar.delivery.reservation import Gate, Hold, Line
from sidecar.errors import DeadlineExceeded, Overloaded, QuotaExceeded, Sent, ShuttingDown
from sidecar.stores.quota import QuotaCounter
from sidecar.telemetry import names
from sidecar.telemetry.metrics import Metrics

# Timers count milliseconds, and may be early by a part of one.
MIN_PAUSE_S = 0.001


class PacedOut(Withheld):
    """Another sidecar has used the quota up, or the vendor has refused for it, since this call was let through."""

    def __init__(self, wait_s: float) -> None:
        super().__init__()
        self.wait_s = wait_s


class Pacer:
    """Paces the calls of one app. Times in seconds.

    `max_waiting` bounds the calls that wait for the same quotas; `max_pause_s` a pause, whatever the vendor names.
    """

    def __init__(
        self,
        *,
        app: str,
        gates: Sequence[Gate],
        counter: QuotaCounter,
        max_waiting: int,
        max_pause_s: float,
        overload_retry_after_s: float,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._app = app
        self._limiter = Limiter(app=app, counter=counter, metrics=metrics, clock=clock)
        self._max_waiting = max_waiting
        self._max_pause_s = max_pause_s
        self._overload_retry_after_s = overload_retry_after_s
        self._metrics = metrics
        self._pacing_wait = metrics.pacing_wait.labels(app)
        self._slowdowns = metrics.vendor_slowdowns.labels(app)
        self._clock = clock
        self._sleep = sleep
        self._gates: dict[str, list[Gate]] = {}
        for gate in gates:
            for call_class in gate.quota.classes:
                self._gates.setdefault(call_class, []).append(gate)
        self._lines: dict[tuple[str, ...], Line] = {}
        # By the name of a quota, or of a class that has none.
        self._paused_until: dict[str, float] = {}
        for gate in gates:
            self._pause(gate.quota.name, 0.0)
        self._is_paused = False
        self._is_closed = False

    @property
    def paused_for_s(self) -> Mapping[str, float]:
        """How long calls are still paused, by the name of their quota, or of their class where it has none."""
        return {name: round(left_s, 3) for name in self._paused_until if (left_s := self._paused_s(name)) > 0}

    def must_wait(self, costs: Mapping[str, int]) -> bool:
        """Whether `wait` and `take` have anything to look at for a call; `costs` are its places by class."""
        if self._is_paused:
            return True
        for call_class in costs:  # noqa: SIM110  # every push asks three times, and a generator costs more than the rest
            if call_class in self._gates:
                return True
        return False

    async def wait(
        self, call: Call, costs: Mapping[str, int], hold: Hold | None = None, at_least_s: float = 0.0
    ) -> Hold:
        """Wait until a call may be made, if its deadline allows that; returns its hold of its places.

        `hold` is what it had when it was paced out: it does not go behind those that came later. Who gets a hold gives
        it back when the call stops. Raises `QuotaExceeded` with the time to wait, `DeadlineExceeded`, `Overloaded` or
        `ShuttingDown`.
        """
        if hold is None:
            hold = self._new_hold(costs)
        hold.give_back()
        line = hold.line
        wait_s = max(at_least_s, await self._look(call, hold))
        if wait_s == 0 and line.lets(hold):
            hold.reserve()
            return hold
        self._refuse(call, wait_s)
        if len(line) >= self._max_waiting:
            raise Overloaded(
                f"{len(line)} calls wait for the vendor's quota, as many as configured",
                retry_after_s=self._overload_retry_after_s,
            )
        started, started_ns = time.perf_counter(), time.time_ns()
        line.join(hold)
        try:
            while True:
                if wait_s == 0:
                    # There is room, or the counter fails: who comes first may have been told otherwise.
                    line.wake()
                # Whose turn it is not, although there is room, is woken when it is.
                await self._rest(hold, wait_s or call.deadline.remaining_s())
                wait_s = await self._look(call, hold)
                if wait_s == 0 and line.lets(hold):
                    hold.reserve()
                    return hold
                self._refuse(call, wait_s)
        finally:
            line.leave(hold)
            self._pacing_wait.observe(time.perf_counter() - started)
            call.trace.add_wait(names.SPAN_PACING_WAIT, started_ns)

    async def renew(self, call: Call, costs: Mapping[str, int], hold: Hold | None) -> None:
        """Have a call hold its places for an attempt that is about to be made, without a wait.

        Raises `PacedOut` when there is no room, or a pause has begun.
        """
        if (pause_s := self._pause_s(self._names_of(costs))) > 0:
            raise PacedOut(pause_s)
        if hold is None or hold.is_held:
            return
        if (wait_s := await self._look(call, hold)) > 0:
            raise PacedOut(wait_s)
        hold.reserve()

    async def take(self, costs: Mapping[str, int], hold: Hold | None) -> None:
        """Count a call that is about to be sent.

        Raises `PacedOut` when there is no place for it any more.
        """
        if (pause_s := self._pause_s(self._names_of(costs))) > 0:
            raise PacedOut(pause_s)
        if hold is not None and hold.costs and (wait_s := await self._limiter.take(hold)) > 0:
            raise PacedOut(wait_s)

    def slow_down(self, costs: Mapping[str, int], retry_after_s: float) -> float:
        """Pause what the vendor refused for its quota: all that shares one with the call, or else its classes alone.

        Returns for how long, at most `max_pause_s`.
        """
        self._slowdowns.inc()
        pause_s = min(retry_after_s, self._max_pause_s)
        for name in self._names_of(costs):
            self._pause(name, self._clock() + pause_s)
        self._is_paused = True
        return pause_s

    def close(self) -> None:
        """Refuse every call that waits, and every later one that would have to."""
        self._is_closed = True
        for line in self._lines.values():
            line.wake_all()

    async def aclose(self) -> None:
        """Wait for the answers of the counter that nobody waits for any more."""
        await self._limiter.aclose()

    def _names_of(self, costs: Iterable[str]) -> tuple[str, ...]:
        """Return what may be paused for a call: the quotas of its classes, and its classes that have none."""
        names_of: set[str] = set()
        for call_class in costs:
            names_of.update(gate.quota.name for gate in self._gates.get(call_class, ()))
            if call_class not in self._gates:
                names_of.add(call_class)
        return tuple(sorted(names_of))

    def _new_hold(self, costs: Mapping[str, int]) -> Hold:
        places: dict[Gate, int] = {}
        for call_class, cost in costs.items():
            for gate in self._gates.get(call_class, ()):
                places[gate] = places.get(gate, 0) + cost
        names_of = self._names_of(costs)
        if names_of not in self._lines:
            self._lines[names_of] = Line(names_of, tuple(places))
        return Hold(self._lines[names_of], places)

    async def _look(self, call: Call, hold: Hold) -> float:
        """Return how long a call has to wait, as things are."""
        hold.begin_look()
        quota_s = 0.0
        if hold.costs:
            try:
                async with asyncio.timeout(max(0.0, call.deadline.remaining_s())):
                    quota_s = await self._limiter.look(hold)
            except TimeoutError:
                raise DeadlineExceeded("the deadline came while the quota was looked at", sent=Sent.NO) from None
        pause_s = self._pause_s(hold.line.names)
        if pause_s >= quota_s:
            hold.lacks = None
        return max(quota_s, pause_s)

    def _refuse(self, call: Call, wait_s: float) -> None:
        """Refuse a call that would have to wait, and must not or cannot."""
        if self._is_closed:
            raise ShuttingDown("the sidecar is stopping and had not started this call")
        remaining_s = call.deadline.remaining_s()
        if wait_s == 0 and remaining_s <= 0:
            # There is room, but others are before it: no time of the quota can be named.
            raise DeadlineExceeded("the deadline came before it was the call's turn at the quota", sent=Sent.NO)
        if wait_s >= remaining_s:
            raise QuotaExceeded(
                "nothing was sent: the app's quota at the vendor is spent",
                subject=f"app:{self._app}",
                retry_after_s=wait_s,
            )

    async def _rest(self, hold: Hold, wait_s: float) -> None:
        """Wait for a time, or until something has changed for the call."""
        if hold.must_look_again:
            return
        hold.pause = asyncio.ensure_future(self._sleep(max(MIN_PAUSE_S, wait_s)))
        try:
            await asyncio.wait({hold.pause})
        finally:
            hold.pause.cancel()
            hold.pause = None

    def _pause(self, name: str, until: float) -> None:
        """Pause a quota or a class, at least until then."""
        if name not in self._paused_until:
            self._metrics.paused.labels(self._app, name).set_function(partial(self._paused_s, name))
        self._paused_until[name] = max(self._paused_until.get(name, 0.0), until)

    def _pause_s(self, names_of: Iterable[str]) -> float:
        if not self._is_paused:
            return 0.0
        now = self._clock()
        self._is_paused = any(until > now for until in self._paused_until.values())
        return max(0.0, *(self._paused_until.get(name, 0.0) - now for name in names_of))

    def _paused_s(self, name: str) -> float:
        return max(0.0, self._paused_until[name] - self._clock())
