"""One call to the vendor: its span, its permit, its place of the quota, and whether it may have gone out.

It runs in its caller's task up to the end. A caller that goes before the first byte ends it: nothing was sent. One that
goes later leaves the exchange behind, which goes on by itself under the app's own limits: its answer is still read,
recorded, logged and counted, and the connection stays whole.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Generic, NoReturn, TypeVar

from sidecar.delivery.breaker import Permit
from sidecar.delivery.call import Call, Withheld
from sidecar.delivery.causes import CANCELLED, EARLY_HEADERS, SAY_NOTHING, failure_error, status_label
from sidecar.delivery.outgoing import Outgoing
from sidecar.delivery.pacing import Pacer
from sidecar.delivery.reservation import Hold
from sidecar.errors import DeadlineExceeded, PushError, QuotaExceeded, Sent, SidecarBug
from sidecar.telemetry import names
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tracing import end_attempt
from sidecar.tracebacks import drop_tracebacks
from sidecar.transport.client import VendorClient
from sidecar.transport.exchange import Exchange, TransportFailure
from sidecar.transport.reply import Reply

T = TypeVar("T")

# An event loop that has closed a connection tells why after so many turns: of TCP, and then of TLS.
_TURNS_TO_TELL = 3

_log = logging.getLogger(__name__)


class Route:
    """What the attempts of one app share: the way to its vendor, its quotas, and what is counted.

    `running` are the attempts that have begun and not ended, those without their callers among them.
    """

    def __init__(
        self, *, app: str, path: str, client: VendorClient, pacer: Pacer, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self.app = app
        self.client = client
        self.pacer = pacer
        self.metrics = metrics
        self.clock = clock
        self.span_name = f"POST {path}"
        self.span_attributes: dict[str, str | int] = {
            names.HTTP_REQUEST_METHOD: "POST",
            names.URL_FULL: client.url,
            names.URL_TEMPLATE: path,
            names.SERVER_ADDRESS: client.host,
            names.SERVER_PORT: client.port,
        }
        # To look a child up by its labels costs as much as to count with it.
        self.duration = cache(lambda status: metrics.vendor_duration.labels(app, status_label(status)))
        self.running: set[Attempt[Any]] = set()
        self._is_over: asyncio.Future[None] | None = None

    def ended(self, attempt: "Attempt[Any]") -> None:
        """Forget an attempt."""
        self.running.discard(attempt)
        if self._is_over is not None and not self.running and not self._is_over.done():
            self._is_over.set_result(None)

    async def aclose(self) -> None:
        """Wait for the attempts whose callers have gone. To be cut short ends them: their outcome stays unknown."""
        try:
            if self.running:
                self._is_over = asyncio.get_running_loop().create_future()
                await self._is_over
        except asyncio.CancelledError:
            for attempt in tuple(self.running):
                attempt.cut()
            raise


class Attempt(Generic[T]):
    """One call to the vendor, which `run` makes.

    `is_detached`: it goes on without its caller, and calls what `when_over` was given when it has ended.
    """

    __slots__ = (
        "_call", "_costs", "_hold", "_number", "_outgoing", "_permit", "_read", "_route", "_span",
        "_started", "_then", "exchange", "is_detached",
    )  # fmt: skip

    def __init__(
        self,
        route: Route,
        call: Call,
        outgoing: Outgoing,
        read: Callable[[Reply, int], T],
        *,
        number: int,
        permit: Permit,
        hold: Hold | None,
    ) -> None:
        self._route = route
        self._call = call
        self._outgoing = outgoing
        self._costs: Mapping[str, int] = outgoing.costs
        self._read = read
        self._number = number
        self._permit = permit
        self._hold = hold
        self.exchange = Exchange(call.hold_answer)
        self._then: list[Callable[[], None]] = []
        self.is_detached = False

    async def run(self) -> T:
        """Make it; returns what `read` makes of the answer.

        Raises a `PushError` whose `sent` is a proof, `Withheld` when the call may not be sent now, or `CancelledError`
        when the caller hung up.
        """
        route, exchange, loop = self._route, self.exchange, asyncio.get_running_loop()
        limits = route.client.limits
        self._span = self._call.trace.start_attempt(
            route.span_name, route.span_attributes, resend_count=self._number - 1
        )
        self._started = route.clock()
        route.running.add(self)
        try:
            now = loop.time()
            due_at, total_at = now + self._call.deadline.remaining_s(), now + limits.total_timeout_s
            await self._get_ready(now, due_at, total_at)
            self._send()
            is_over = await exchange.wait(loop, due_at=due_at, silence_s=limits.read_timeout_s, total_at=total_at)
        except asyncio.CancelledError:
            if not exchange.is_written:
                raise
            self._detach()
            raise
        finally:
            if not self.is_detached and not exchange.is_written:
                route.ended(self)
        if not is_over:
            self._detach()
            raise DeadlineExceeded(
                "the deadline came before the vendor's answer: the push may have gone out", sent=Sent.MAYBE
            )
        try:
            return self._finish()
        finally:
            route.ended(self)

    def when_over(self, then: Callable[[], None]) -> None:
        """Have something done when an attempt that is detached has ended."""
        self._then.append(then)

    def cut(self) -> None:
        """End it: whether it went out stays unknown."""
        if (wire := self.exchange.wire) is not None:
            wire.break_off(CANCELLED)

    async def _get_ready(self, now: float, due_at: float, total_at: float) -> None:
        """Get a connection, do all that is to be done before the first byte, and record where that fails."""
        try:
            try:
                await self._connect_and_prepare(now, min(due_at, total_at))
            except TimeoutError:
                if due_at <= total_at:
                    raise DeadlineExceeded("the deadline came before the push was sent", sent=Sent.NO) from None
                raise TransportFailure("total_timeout") from None
        except TransportFailure as failure:
            self._end_unsent(failure.cause, failure.cause)
            raise failure_error(failure.cause, may_have_left=False) from failure
        except (asyncio.CancelledError, DeadlineExceeded):
            self._end_unsent(CANCELLED)
            raise
        except (Withheld, PushError):
            self._end_unsent("withheld")
            raise
        except BaseException as error:
            self._end_unsent(type(error).__name__)
            raise

    async def _connect_and_prepare(self, now: float, until: float) -> None:
        exchange, client = self.exchange, self._route.client
        if not client.take(exchange):
            outgoing = self._outgoing
            await client.connect(exchange, outgoing.headers, len(outgoing.body), within_s=until - now)
            now = asyncio.get_running_loop().time()
            # One that has ended already costs nothing of a quota.
            await self._check_open()
        await self._prepare(until - now)
        # From here to the write nothing else runs: what is open now is open then.
        await self._check_open()

    async def _check_open(self) -> None:
        client = self._route.client
        if cause := client.ended_by(self.exchange):
            for _ in range(_TURNS_TO_TELL):
                await asyncio.sleep(0)
            raise TransportFailure(client.ended_by(self.exchange) or cause)

    def _send(self) -> None:
        try:
            self._route.client.send(self.exchange, self._outgoing.headers, self._outgoing.body)
        except Exception as error:
            _log.exception("bug while writing a request", extra={"app": self._route.app, **self._call.trace.ids})
            if not self.exchange.is_written:
                self._end_unsent(type(error).__name__)
                raise SidecarBug(type(error).__name__, sent=Sent.NO) from error
            # A part of the request may have left.
            self.cut()
            self.exchange.end(None, CANCELLED)

    async def _prepare(self, within_s: float) -> None:
        """Count the quota, step to *sending*, send the early headers.

        Raises `TimeoutError` when that was not done `within_s`.
        """
        if within_s <= 0:
            raise TimeoutError
        call, is_paced = self._call, self._route.pacer.must_wait(self._costs)
        if within_s > call.commit_limit_s and call.claim is None and not is_paced:
            # What is left to do has a limit of its own.
            await self._commit()
            return
        async with asyncio.timeout(within_s):
            if is_paced:
                if call.claim is not None:
                    call.claim.check()
                await self._route.pacer.take(self._costs, self._hold)
            await self._commit()

    async def _commit(self) -> None:
        try:
            await self._call.before_first_byte()
        except (Withheld, PushError):
            raise
        except Exception as error:
            raise TransportFailure(EARLY_HEADERS) from error

    def _end_unsent(self, error_type: str, cause: str = "") -> None:
        """Record an end before the first byte; `cause` where it was a failure."""
        route, exchange = self._route, self.exchange
        # Those before it provably did nothing, and all was ready for this one's first byte, perhaps.
        self._call.sent = Sent.NO
        reached: bool | None = None
        if exchange.is_connected:
            # What came after the connection was ours, but for the vendor's late refusal of our certificate.
            reached = False if cause == "tls" else None
            route.client.give_back(exchange)
        else:
            # A vendor that was out of reach for half of connect_timeout_s counts as a failure, whatever ended the wait.
            is_long = route.clock() - self._started >= route.client.limits.connect_timeout_s / 2
            if (cause and cause not in SAY_NOTHING) or (error_type == CANCELLED and is_long):
                reached = False
        if cause:
            route.metrics.attempt_failures.labels(route.app, cause).inc()
        self._record({names.ERROR_TYPE: error_type}, 0, is_error=True, reached=reached)

    def _finish(self) -> T:
        """Read the answer and record the attempt."""
        route, exchange = self._route, self.exchange
        attributes: dict[str, str | int | bool] = {}
        reply = exchange.reply
        is_error = True
        reached: bool | None = True
        try:
            if reply is None:
                attributes[names.ERROR_TYPE] = exchange.cause
                reached = None if exchange.cause in SAY_NOTHING else False
                self._raise_failure(exchange.cause)
            attributes[names.HTTP_RESPONSE_STATUS_CODE] = reply.status
            answer = self._read(reply, self._number)
            is_error = False
        except PushError as error:
            attributes.setdefault(names.ERROR_TYPE, error.reason.value)
            if isinstance(error, QuotaExceeded):
                error.retry_after_s = route.pacer.slow_down(self._costs, error.retry_after_s)
            raise
        except Exception as error:
            attributes[names.ERROR_TYPE] = type(error).__name__
            _log.exception("bug while reading an answer", extra={"app": route.app, **self._call.trace.ids})
            raise SidecarBug(type(error).__name__, sent=Sent.MAYBE) from error
        finally:
            self._record(attributes, reply.status if reply is not None else 0, is_error=is_error, reached=reached)
        return answer

    def _raise_failure(self, cause: str) -> NoReturn:
        if cause != CANCELLED:
            self._route.metrics.attempt_failures.labels(self._route.app, cause).inc()
        raise failure_error(
            cause, may_have_left=self.exchange.may_have_left, was_refused=self.exchange.was_refused_as_client
        )

    def _record(
        self, attributes: dict[str, str | int | bool], status: int, *, is_error: bool, reached: bool | None
    ) -> None:
        route, exchange, span = self._route, self.exchange, self._span
        self._permit.report(reached=reached)
        route.duration(status).observe(route.clock() - self._started, self._call.trace.exemplar)
        if span.is_recording():
            attributes[names.CONNECTION_REUSED] = exchange.is_reused
            events = list(exchange.events)
            if exchange.is_written:
                events.append((names.EVENT_BODY_SENT, exchange.written_at_ns))
            if exchange.head_at_ns:
                events.append((names.EVENT_HEADERS_RECEIVED, exchange.head_at_ns))
            end_attempt(span, attributes, events, is_error=is_error)

    def _detach(self) -> None:
        """Let the exchange go on without the caller."""
        self.is_detached = True
        self.exchange.leave(self._end_late)

    def _end_late(self) -> None:
        """Record the end of a vendor call whose caller has gone."""
        try:
            self._record_late()
        finally:
            for then in self._then:
                then()
            # Where the end came in the turn of the caller's own, nobody waits for it any more.
            self.is_detached = False
            self._route.ended(self)

    def _record_late(self) -> None:
        route, call = self._route, self._call
        outcome: Any
        try:
            outcome = self._finish()
        except PushError as error:
            drop_tracebacks(error)
            outcome = error
        except Exception as error:  # noqa: BLE001  # whatever it is, the place and the id are given back
            _log.exception("bug while recording an answer", extra={"app": route.app, **call.trace.ids})
            outcome = SidecarBug(type(error).__name__, sent=Sent.MAYBE)
        reason = "OK"
        if isinstance(outcome, PushError):
            outcome.attempts, reason = self._number, outcome.reason.value
        if call.claim is not None:
            call.claim.settle_later(outcome)
        route.metrics.late_answers.labels(route.app, reason).inc()
        _log.warning(
            "late vendor answer", extra={"app": route.app, "reason": reason, "audience": call.audience, **call.ids}
        )
