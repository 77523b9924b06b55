"""One app's way to its vendor: quota, a place in flight, attempts in turn, and what happens when the caller goes first.

Until the first byte of the body, the caller's deadline bounds every wait and his hang-up ends it. After it, the vendor
call goes on by itself under the app's own limits: its answer is still read, recorded, logged and counted, and the
connection stays whole.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, TypeVar

from sidecar.delivery.admission import Admission
from sidecar.delivery.breaker import Breaker, Permit
from sidecar.delivery.call import Call, Withheld
from sidecar.delivery.pacing import PacedOut, Pacer
from sidecar.delivery.pauses import Pauses
from sidecar.delivery.reservation import Hold
from sidecar.delivery.retry import RetryBudget, RetryPolicy
from sidecar.errors import DeadlineExceeded, NotSent, OutcomeUnknown, PushError, QuotaExceeded, Sent, SidecarBug
from sidecar.telemetry import names
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tracing import end_attempt
from sidecar.tracebacks import drop_tracebacks
from sidecar.transport.body import BodyStream
from sidecar.transport.client import EARLY_HEADERS, TransportFailure, VendorClient
from sidecar.transport.notes import ConnectionNotes
from sidecar.transport.reply import Reply
from sidecar.transport.shortage import DETAILS as SHORTAGES

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent.

    `call_class` is what the vendor's quotas are for. `is_repeatable_when_busy`: the vendor's "could not create the
    task" may be tried again.
    """

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    call_class: str
    is_repeatable_when_busy: bool

    @property
    def costs(self) -> Mapping[str, int]:
        """What one attempt costs of the vendor's quotas, by class of call."""
        return _one_of(self.call_class)


@cache
def _one_of(call_class: str) -> Mapping[str, int]:
    return {call_class: 1}


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
        self._app = app
        self._span_name = f"POST {path}"
        self._span_attributes: dict[str, str | int] = {
            names.HTTP_REQUEST_METHOD: "POST",
            names.URL_FULL: client.url,
            names.URL_TEMPLATE: path,
            names.SERVER_ADDRESS: client.host,
            names.SERVER_PORT: client.port,
        }
        self._client = client
        self._pacer = pacer
        self._admission = admission
        self._breaker = breaker
        self._policy = policy
        self._budget = budget
        self._metrics = metrics
        self._pauses = Pauses(sleep)
        self._random = random
        self._clock = clock
        self._running: set[asyncio.Task[Any]] = set()
        # To look a child up by its labels costs as much as to count with it.
        self._vendor_duration = cache(lambda status: metrics.vendor_duration.labels(app, status))
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
        attempts = _Attempts(costs)
        at_least_s = 0.0
        try:
            while True:
                self._refuse_when_open(self._breaker.check)
                if self._pacer.must_wait(costs):
                    attempts.hold = await self._pacer.wait(call, costs, attempts.hold, at_least_s)
                await self._enter(call)
                try:
                    return await self._send(call, outgoing, read, attempts)
                except PacedOut as paced_out:
                    at_least_s = paced_out.wait_s
                    drop_tracebacks(paced_out)
                finally:
                    self._leave(call, attempts.last)
        except PushError as error:
            error.attempts = attempts.made
            raise
        finally:
            if attempts.hold is not None:
                attempts.hold.give_back()

    async def _send(self, call: Call, outgoing: Outgoing, read: Callable[[Reply, int], T], attempts: "_Attempts") -> T:
        """Make attempts while the call holds its place."""
        while True:
            if self._pacer.must_wait(attempts.costs):
                await self._pacer.renew(call, attempts.costs, attempts.hold)
            permit = self._refuse_when_open(self._breaker.admit)
            if attempts.last is None:
                self._budget.deposit()
            attempts.made += 1
            call.attempts = attempts.made
            stream = BodyStream(outgoing.body, self._commit_hook(call, attempts))
            task = asyncio.create_task(self._attempt(call, outgoing, stream, read, attempts.made, permit))
            attempts.last = task
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            # One that failed before it had begun has learned nothing, and its permit is not kept for ever.
            task.add_done_callback(lambda _, permit=permit: permit.report(reached=None))  # type: ignore[misc]
            try:
                return await self._wait(call, task, stream, attempts.made)
            except Withheld:
                attempts.made -= 1
                call.attempts = attempts.made
                raise
            except PushError as error:
                wait_s = self._next_wait_s(call, error, outgoing, attempts.made)
                if wait_s is None or not await self._back_off(call, wait_s):
                    raise
                drop_tracebacks(error)

    def close(self) -> None:
        """Refuse what waits for a place, and whatever comes; make no attempt after those that are under way."""
        self._pacer.close()
        self._admission.close()
        self._pauses.end()

    async def aclose(self) -> None:
        """Wait for the vendor calls whose callers have gone, then close the connections."""
        try:
            while self._running:
                await asyncio.wait(self._running)
        except asyncio.CancelledError:  # the stop is to end soon: their outcome stays unknown
            for attempt in self._running:
                attempt.cancel()
            raise
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

    def _leave(self, call: Call, last: "asyncio.Task[Any] | None") -> None:
        """Give the place back, when a vendor call that goes on without its caller has ended, and then its bytes."""
        if last is None or last.done():
            self._admission.leave()
        else:
            last.add_done_callback(lambda _: self._admission.leave())
            call.is_detached = True
            last.add_done_callback(lambda _: call.release_bytes())

    def _refuse_when_open(self, ask: Callable[[], R]) -> R:
        try:
            return ask()
        except NotSent:
            self._breaker_refusals.inc()
            raise

    def _commit_hook(self, call: Call, attempts: "_Attempts") -> Callable[[], Awaitable[None]]:
        async def before_first_byte() -> None:
            if self._pacer.must_wait(attempts.costs):
                if call.claim is not None:
                    call.claim.check()
                await self._pacer.take(attempts.costs, attempts.hold)
            await call.before_first_byte()

        return before_first_byte

    async def _wait(self, call: Call, task: "asyncio.Task[T]", stream: BodyStream, attempt: int) -> T:
        """Wait for an attempt, at most until the caller must be answered."""
        try:
            await asyncio.wait({task}, timeout=max(0.0, call.deadline.remaining_s()))
        except asyncio.CancelledError:
            self._abandon(call, task, stream, attempt)
            raise
        if task.done():
            if task.cancelled():  # by nobody here: the caller's own hang-up is raised above
                raise _failure_error("cancelled", was_asked=not stream.revoke())
            return task.result()
        sent = self._abandon(call, task, stream, attempt)
        if sent is Sent.NO:
            raise DeadlineExceeded("the deadline came before the push was sent", sent=sent)
        raise DeadlineExceeded("the deadline came before the vendor's answer: the push may have gone out", sent=sent)

    def _abandon(self, call: Call, task: "asyncio.Task[T]", stream: BodyStream, attempt: int) -> Sent:
        """Leave an attempt: end it if nothing was sent, else let it go on and have its answer recorded."""
        if stream.revoke():
            task.cancel()
            task.add_done_callback(_consume)
            return Sent.NO
        task.add_done_callback(lambda done: self._record_late(call, done, attempt))
        return Sent.MAYBE

    def _record_late(self, call: Call, task: "asyncio.Task[T]", attempt: int) -> None:
        """Record the end of a vendor call whose caller has gone."""
        outcome: Any
        if task.cancelled():
            outcome = OutcomeUnknown("cancelled", cause="cancelled")
        elif (error := task.exception()) is not None:
            drop_tracebacks(error)
            outcome = error if isinstance(error, PushError) else SidecarBug(type(error).__name__, sent=Sent.MAYBE)
        else:
            outcome = task.result()
        reason = "OK"
        if isinstance(outcome, PushError):
            outcome.attempts, reason = attempt, outcome.reason.value
        self._metrics.late_answers.labels(self._app, reason).inc()
        _log.warning(
            "late vendor answer",
            extra={"app": self._app, "reason": reason, "audience": call.audience, **call.ids},
        )
        if call.claim is not None:
            call.claim.settle_later(outcome)

    async def _attempt(
        self,
        call: Call,
        outgoing: Outgoing,
        stream: BodyStream,
        read: Callable[[Reply, int], T],
        attempt: int,
        permit: Permit,
    ) -> T:
        span = call.trace.start_attempt(self._span_name, self._span_attributes, resend_count=attempt - 1)
        started = self._clock()
        attributes: dict[str, str | int | bool] = {}
        notes = ConnectionNotes()
        status = 0
        is_error = True
        was_reached: bool | None = None
        try:
            reply = await self._client.post(outgoing.headers, stream, len(outgoing.body), notes, call.hold_answer)
            was_reached = True
            status = attributes[names.HTTP_RESPONSE_STATUS_CODE] = reply.status
            answer = read(reply, attempt)
            is_error = False
        except TransportFailure as failure:
            if isinstance(stream.refusal, Withheld | PushError):
                attributes[names.ERROR_TYPE] = "withheld"
                raise stream.take_refusal() from None
            # With a connection, what came before the body was asked for was ours, not the vendor's.
            is_ours = stream.has_connection and not stream.was_asked
            was_reached = None if is_ours or failure.cause in _SAY_NOTHING else False
            attributes[names.ERROR_TYPE] = failure.cause
            self._metrics.attempt_failures.labels(self._app, failure.cause).inc()
            raise _failure_error(failure.cause, was_asked=stream.was_asked) from failure
        except PushError as error:
            attributes[names.ERROR_TYPE] = error.reason.value
            if isinstance(error, QuotaExceeded):
                error.retry_after_s = self._pacer.slow_down(outgoing.costs, error.retry_after_s)
            raise
        except asyncio.CancelledError:
            attributes[names.ERROR_TYPE] = "cancelled"
            # The caller left: a vendor that was out of reach for half of connect_timeout_s counts as a failure.
            is_long = self._clock() - started >= self._client.connect_timeout_s / 2
            was_reached = False if is_long and not stream.has_connection else None
            raise
        except Exception as error:
            attributes[names.ERROR_TYPE] = type(error).__name__
            _log.exception("bug while reading an answer", extra={"app": self._app, **call.trace.ids})
            raise SidecarBug(type(error).__name__, sent=Sent.MAYBE if stream.was_asked else Sent.NO) from error
        finally:
            permit.report(reached=was_reached)
            self._vendor_duration(_status_label(status)).observe(self._clock() - started, call.trace.exemplar)
            if span.is_recording():
                attributes[names.CONNECTION_REUSED] = notes.is_reused
                events = notes.events
                if stream.was_asked:
                    events = sorted([*events, (names.EVENT_BODY_SENT, stream.asked_at_ns)], key=lambda event: event[1])
                end_attempt(span, attributes, events, is_error=is_error)
        return answer

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


class _Attempts:
    """The vendor calls of one push: how many were made, the last, what each costs and what is held of the quotas."""

    __slots__ = ("costs", "hold", "last", "made")

    def __init__(self, costs: Mapping[str, int]) -> None:
        self.costs = costs
        self.made = 0
        self.hold: Hold | None = None
        self.last: asyncio.Task[Any] | None = None


# Failures that say nothing of whether the vendor can be reached and answers: a caller who is gone, an old connection
# that it closed, answers that are none, and what we ran out of ourselves.
_SAY_NOTHING = frozenset({
    EARLY_HEADERS, "idle_connection_closed", "unsolicited_answer", "response_too_large", "response_invalid",
    *SHORTAGES,
})  # fmt: skip


_KNOWN_STATUSES = frozenset(HTTPStatus)


def _status_label(status: int) -> str:
    """Return a status as a label: as it is if it is a registered one, else by its class. The vendor chooses it."""
    return str(status) if status in _KNOWN_STATUSES or status == 0 else f"{status // 100}xx"


def _consume(task: "asyncio.Task[T]") -> None:
    """Take a cancelled attempt's end, so that asyncio does not report it as never retrieved."""
    if not task.cancelled() and (error := task.exception()) is not None:
        drop_tracebacks(error)


def _failure_error(cause: str, *, was_asked: bool) -> PushError:
    what = cause.replace("_", " ")
    if was_asked:
        return OutcomeUnknown(f"no usable answer from the vendor ({what}): the push may have gone out", cause=cause)
    return NotSent(f"nothing was sent to the vendor ({what})", cause=cause)
