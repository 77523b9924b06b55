"""One app's way to its vendor: quota, a place in flight, attempts in turn.

Until the first byte of a request, the caller's deadline bounds every wait and its hang-up ends it. What comes after is
the attempt's (attempt.py).
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sidecar.delivery.admission import Admission
from sidecar.delivery.attempt import Attempt, Route
from sidecar.delivery.breaker import Breaker
from sidecar.delivery.call import Call, Withheld
from sidecar.delivery.outgoing import Outgoing
from sidecar.delivery.pacing import PacedOut, Pacer
from sidecar.delivery.pauses import Pauses
from sidecar.delivery.reservation import Hold
from sidecar.delivery.retry import RetryBudget, RetryPolicy
from sidecar.errors import NotSent, PushError, Sent
from sidecar.telemetry import names
from sidecar.telemetry.metrics import Metrics
from sidecar.tracebacks import drop_tracebacks
from sidecar.transport.client import VendorClient
from sidecar.transport.reply import Reply

T = TypeVar("T")
R = TypeVar("R")


class Lane:
    """Delivers the calls of one app."""

    def __init__(
        self,
        *,
        app: str,
        path: str,
        client: VendorClient,
        pacer: Pacer,
        admission: Admission,
        breaker: Breaker,
        policy: RetryPolicy,
        budget: RetryBudget,
        metrics: Metrics,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._client = client
        self._pacer = pacer
        self._admission = admission
        self._breaker = breaker
        self._policy = policy
        self._budget = budget
        self._route = Route(app=app, path=path, client=client, pacer=pacer, metrics=metrics, clock=clock)
        self._pauses = Pauses(sleep)
        self._random = random
        # To look a child up by its labels costs as much as to count with it.
        self._retries = metrics.retries.labels(app)
        self._queue_wait = metrics.queue_wait.labels(app)
        self._breaker_refusals = metrics.breaker_refusals.labels(app)
        metrics.in_flight.labels(app).set_function(lambda: admission.in_flight)
        metrics.queued.labels(app).set_function(lambda: admission.queued)

    async def deliver(self, call: Call, outgoing: Outgoing, read: Callable[[Reply, int], T]) -> T:
        """Send until it is answered, refused, or out of time; returns what `read` makes of the answer.

        `read` takes the reply and the number of the attempt, and returns an answer or raises a `PushError`.

        Raises a `PushError` whose `sent` is a proof, `Withheld` when the call lost its claim, or `CancelledError` when
        the caller hung up.
        """
        costs = outgoing.costs
        made = _Made()
        at_least_s = 0.0
        try:
            while True:
                self._refuse_when_open(self._breaker.check)
                if self._pacer.must_wait(costs):
                    made.hold = await self._pacer.wait(call, costs, made.hold, at_least_s)
                await self._enter(call)
                try:
                    return await self._send(call, outgoing, read, made)
                except PacedOut as paced_out:
                    at_least_s = paced_out.wait_s
                    drop_tracebacks(paced_out)
                finally:
                    self._leave(call, made.last)
        except PushError as error:
            error.attempts = made.count
            raise
        finally:
            if made.hold is not None:
                made.hold.give_back()

    async def _send(self, call: Call, outgoing: Outgoing, read: Callable[[Reply, int], T], made: "_Made") -> T:
        """Make attempts while the call holds its place."""
        while True:
            if self._pacer.must_wait(outgoing.costs):
                await self._pacer.renew(call, outgoing.costs, made.hold)
            permit = self._refuse_when_open(self._breaker.admit)
            if made.last is None:
                self._budget.deposit()
            made.count += 1
            call.attempts = made.count
            attempt = Attempt(self._route, call, outgoing, read, number=made.count, permit=permit, hold=made.hold)
            made.last = attempt
            try:
                return await attempt.run()
            except Withheld:
                made.count -= 1
                call.attempts = made.count
                raise
            except PushError as error:
                wait_s = self._next_wait_s(call, error, outgoing, made.count)
                if wait_s is None or not await self._back_off(call, wait_s):
                    raise
                drop_tracebacks(error)
            finally:
                if not attempt.is_detached:
                    # One that failed before it had begun has learned nothing, and its permit is not kept for ever.
                    permit.report(reached=None)

    def close(self) -> None:
        """Refuse what waits for a place, and whatever comes; make no attempt after those that are under way."""
        self._pacer.close()
        self._admission.close()
        self._pauses.end()

    async def aclose(self) -> None:
        """Wait for the vendor calls whose callers have gone, then close the connections."""
        await self._route.aclose()
        await self._pacer.aclose()
        await self._client.aclose()

    async def _enter(self, call: Call) -> None:
        if not self._admission.would_queue:
            await self._admission.enter(call.deadline)
            return
        started, started_ns = time.perf_counter(), time.time_ns()
        try:
            await self._admission.enter(call.deadline)
        finally:
            self._queue_wait.observe(time.perf_counter() - started)
            call.trace.add_wait(names.SPAN_ADMISSION_WAIT, started_ns)

    def _leave(self, call: Call, last: "Attempt[Any] | None") -> None:
        """Give the place back, when a vendor call that goes on without its caller has ended, and then its bytes."""
        if last is None or not last.is_detached:
            self._admission.leave()
        else:
            call.is_detached = True
            last.when_over(self._admission.leave)
            last.when_over(call.release_bytes)

    def _refuse_when_open(self, ask: Callable[[], R]) -> R:
        try:
            return ask()
        except NotSent:
            self._breaker_refusals.inc()
            raise

    def _next_wait_s(self, call: Call, error: PushError, outgoing: Outgoing, attempt: int) -> float | None:
        wait_s = self._policy.next_wait_s(
            error,
            attempt=attempt,
            remaining_s=call.deadline.remaining_s(),
            is_repeatable_when_busy=outgoing.is_repeatable_when_busy,
            random=self._random,
        )
        if wait_s is None or self._admission.is_closed or not self._budget.withdraw():
            return None
        self._retries.inc()
        return wait_s

    async def _back_off(self, call: Call, wait_s: float) -> bool:
        """Wait before the next attempt; false when the stop came first, and there is to be none."""
        # Everything so far provably did nothing, so the call as a whole is unsent again.
        call.sent = Sent.NO
        started_ns = time.time_ns()
        await self._pauses.wait(wait_s)
        call.trace.add_wait(names.SPAN_RETRY_BACKOFF, started_ns)
        return not self._admission.is_closed


class _Made:
    """The vendor calls of one push: how many were made, the last, and what is held of the quotas."""

    __slots__ = ("count", "hold", "last")

    def __init__(self) -> None:
        self.count = 0
        self.hold: Hold | None = None
        self.last: Attempt[Any] | None = None
