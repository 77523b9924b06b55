"""When the caller goes first: before the first byte nothing is sent, after it the vendor's answer is still read."""

import asyncio

import httpx
import pytest

from sidecar.delivery.breaker import Breaker, State
from sidecar.delivery.call import Call
from sidecar.errors import DeadlineExceeded, Sent
from tests.support.clock import Clock
from tests.support.fake_vendor import BODY, BUSY, Bench, Caller, Countdown, Step, answers, ask, raises
from tests.support.raw_server import turns

LATE = "push_sidecar_late_answers_total"


class Vendor:
    """A step that stops before the body is asked for, or after, until `go`."""

    def __init__(self, *, is_asked: bool, then: Step) -> None:
        self._is_asked = is_asked
        self._then = then
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        self.was_cancelled = False

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if self._is_asked:
            await ask(request)
        self.reached.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return await self._then(request)


def due_when_waited_for() -> Countdown:
    """Return a deadline with time left at the door, and next to none for the attempt."""
    return Countdown(10.0, 0.05)


async def cancelled(bench: Bench, vendor: Vendor, call: Call) -> None:
    """Start a call and cancel it where the vendor stops."""
    task = asyncio.create_task(bench.deliver(call))
    await vendor.reached.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert call.attempts == 1


async def test_deadline_before_the_first_byte_is_not_sent() -> None:
    vendor, caller = Vendor(is_asked=False, then=answers()), Caller()
    bench = Bench([vendor])
    call = caller.call(due_when_waited_for())
    with pytest.raises(DeadlineExceeded) as late:
        await bench.deliver(call)
    assert (late.value.sent, late.value.attempts, call.sent) == (Sent.NO, 1, Sent.NO)
    await turns()
    assert vendor.was_cancelled
    assert bench.transport.bodies == []
    assert caller.commits == 0
    assert bench.admission.in_flight == 0


async def test_deadline_after_the_first_byte_is_maybe_sent_and_the_answer_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    vendor = Vendor(is_asked=True, then=answers())
    bench = Bench([vendor])
    call = Caller().call(due_when_waited_for())
    call.target_hash = "0123456789abcdef"
    with pytest.raises(DeadlineExceeded) as late:
        await bench.deliver(call)
    assert (late.value.sent, late.value.attempts, call.sent) == (Sent.MAYBE, 1, Sent.MAYBE)
    await turns()
    assert bench.admission.in_flight == 1, "the vendor call goes on, and keeps its place"
    assert bench.sample(LATE, reason="OK") == 0
    vendor.go.set()
    await turns()
    assert not vendor.was_cancelled
    assert bench.admission.in_flight == 0
    assert bench.sample(LATE, reason="OK") == 1
    assert [record.message for record in caplog.records] == ["late vendor answer"]
    assert vars(caplog.records[0])["target_hash"] == "0123456789abcdef"


async def test_deadline_while_the_early_headers_go_out_is_not_sent() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def on_commit() -> None:
        entered.set()
        await release.wait()

    bench = Bench([answers()])
    call = Caller(on_commit).call(due_when_waited_for())
    with pytest.raises(DeadlineExceeded) as late:
        await bench.deliver(call)
    assert entered.is_set()
    assert (late.value.sent, call.sent) == (Sent.NO, Sent.NO)
    release.set()
    await turns()
    assert bench.transport.bodies == []
    assert bench.admission.in_flight == 0


async def test_hang_up_while_the_early_headers_go_out_gives_the_place_back_at_once() -> None:
    """Who waits for them is cut short; they are not (server/test_early_headers.py)."""
    entered = asyncio.Event()

    async def on_commit() -> None:
        entered.set()
        await asyncio.Event().wait()

    bench = Bench([answers()], breaker=Breaker(failure_ratio=0.1, min_calls=1, window_s=10.0, open_s=5.0))
    call = Caller(on_commit).call()
    task = asyncio.create_task(bench.deliver(call))
    await entered.wait()
    task.cancel()
    await asyncio.wait({task})
    await turns()
    assert (task.cancelled(), call.sent) == (True, Sent.NO)
    assert bench.transport.bodies == []
    assert bench.admission.in_flight == 0
    assert bench.breaker.state is State.CLOSED, "the vendor is not to blame"


async def test_hang_up_before_the_first_byte_ends_the_attempt() -> None:
    vendor = Vendor(is_asked=False, then=answers())
    bench = Bench([vendor])
    call = Caller().call()
    await cancelled(bench, vendor, call)
    await turns()
    assert vendor.was_cancelled
    assert call.sent is Sent.NO
    assert bench.transport.bodies == []
    assert bench.admission.in_flight == 0
    assert bench.sample(LATE, reason="OK") == 0


@pytest.mark.parametrize(
    ("waited_s", "state"), [(29.9, State.CLOSED), (30.0, State.OPEN)], ids=["in-haste", "half-of-connect-timeout"]
)
async def test_caller_who_leaves_without_a_connection_blames_the_vendor_after_half_of_the_connect_timeout(
    waited_s: float, state: State
) -> None:
    clock = Clock()
    breaker = Breaker(failure_ratio=0.1, min_calls=1, window_s=10.0, open_s=5.0, clock=clock)
    vendor = Vendor(is_asked=False, then=answers())
    bench = Bench([vendor], breaker=breaker, clock=clock)
    task = asyncio.create_task(bench.deliver(Caller().call()))
    await vendor.reached.wait()
    clock.now += waited_s
    task.cancel()
    await asyncio.wait({task})
    await turns()
    assert vendor.was_cancelled
    assert breaker.state is state


async def test_hang_up_after_the_first_byte_lets_the_vendor_call_end() -> None:
    vendor = Vendor(is_asked=True, then=answers())
    bench = Bench([vendor])
    call = Caller().call()
    await cancelled(bench, vendor, call)
    assert call.sent is Sent.MAYBE
    assert bench.admission.in_flight == 1
    vendor.go.set()
    await turns()
    assert not vendor.was_cancelled
    assert bench.sample(LATE, reason="OK") == 1
    assert bench.admission.in_flight == 0


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        pytest.param(answers(BUSY), "VENDOR_BUSY", id="refusal"),
        pytest.param(raises(httpx.ReadError("x"), is_asked=False), "OUTCOME_UNKNOWN", id="lost"),
        pytest.param(raises(asyncio.CancelledError(), is_asked=False), "OUTCOME_UNKNOWN", id="cancelled-by-nobody"),
    ],
)
async def test_late_failure_is_counted_by_its_reason(then: Step, reason: str) -> None:
    vendor = Vendor(is_asked=True, then=then)
    bench = Bench([vendor])
    await cancelled(bench, vendor, Caller().call())
    vendor.go.set()
    await turns()
    assert bench.sample(LATE, reason=reason) == 1
    assert bench.admission.in_flight == 0
    assert bench.transport.requests == 1, "a late failure is not repeated"


@pytest.mark.parametrize("is_answer_first", [False, True], ids=["hang-up-first", "answer-first"])
async def test_hang_up_in_the_turn_of_the_answer_is_recorded_once(*, is_answer_first: bool) -> None:
    class Last(httpx.ByteStream):
        async def aclose(self) -> None:
            # The last that is asked of an answer: then it is there, and its caller has not been woken yet.
            if is_answer_first:
                asyncio.get_running_loop().call_soon(task.cancel)
            else:
                task.cancel()

    async def answers_last(request: httpx.Request) -> httpx.Response:
        await ask(request)
        return httpx.Response(200, stream=Last(b"ok"))

    bench = Bench([answers_last])
    task = asyncio.create_task(bench.deliver(Caller().call()))
    await asyncio.wait({task})
    await turns()
    assert task.cancelled()
    assert bench.sample(LATE, reason="OK") == 1
    assert bench.admission.in_flight == 0


async def test_attempt_that_fails_while_it_is_cancelled_goes_unnoticed() -> None:
    reached = asyncio.Event()

    async def fails_when_cancelled(_request: httpx.Request) -> httpx.Response:
        reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise httpx.ReadError("x") from None
        raise AssertionError

    bench = Bench([fails_when_cancelled])
    task = asyncio.create_task(bench.deliver(Caller().call()))
    await reached.wait()
    task.cancel()
    await asyncio.wait({task})
    await turns()
    assert task.cancelled()
    assert bench.admission.in_flight == 0


class BrokenClaim:
    """A hold of a request id with a bug."""

    def check(self) -> None:
        """Go on."""

    async def begin_sending(self) -> None:
        """Go on."""

    def settle_later(self, _outcome: object) -> None:
        """Fail."""
        raise LookupError("a bug")


async def test_bug_in_the_record_of_a_late_answer_gives_the_place_back() -> None:
    vendor = Vendor(is_asked=True, then=answers())
    bench = Bench([vendor])
    call = Caller().call()
    call.claim = BrokenClaim()
    await cancelled(bench, vendor, call)
    assert bench.admission.in_flight == 1
    vendor.go.set()
    await turns()
    assert bench.admission.in_flight == 0
    await asyncio.wait_for(bench.lane.aclose(), 5)


async def test_queue_moves_on_when_a_detached_call_ends() -> None:
    vendor = Vendor(is_asked=True, then=answers())
    bench = Bench([vendor, answers(b"second")], max_in_flight=1)
    await cancelled(bench, vendor, Caller().call())
    second = asyncio.create_task(bench.deliver(Caller().call()))
    await turns()
    assert not second.done()
    vendor.go.set()
    assert await second == "200 second x1"
    assert bench.admission.in_flight == 0


async def test_hang_up_during_the_back_off_is_not_sent() -> None:
    asleep = asyncio.Event()

    async def on_sleep() -> None:
        asleep.set()
        await asyncio.Event().wait()

    bench = Bench([answers(BUSY), answers()], on_sleep=on_sleep)
    call = Caller().call()
    task = asyncio.create_task(bench.deliver(call, is_repeatable_when_busy=True))
    await asleep.wait()
    assert bench.admission.in_flight == 1
    assert call.sent is Sent.NO, "a vendor that could not create the task has pushed nothing"
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert call.sent is Sent.NO
    assert bench.transport.bodies == [BODY]
    assert bench.admission.in_flight == 0


async def test_close_waits_for_the_calls_whose_callers_have_gone() -> None:
    vendor = Vendor(is_asked=True, then=answers())
    bench = Bench([vendor])
    await cancelled(bench, vendor, Caller().call())
    bench.lane.close()
    closing = asyncio.create_task(bench.lane.aclose())
    await turns()
    assert not closing.done()
    vendor.go.set()
    await closing
    assert bench.sample(LATE, reason="OK") == 1
    assert bench.admission.in_flight == 0
