"""One call's way through a lane: attempts, and whether the push may have gone out when it fails."""

import asyncio
import errno
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracer, Span

from sidecar.delivery.breaker import Breaker, State
from sidecar.delivery.call import Call
from sidecar.delivery.outgoing import Outgoing
from sidecar.errors import (
    DeadlineExceeded,
    NotSent,
    OutcomeUnknown,
    Overloaded,
    PushError,
    Sent,
    ShuttingDown,
    SidecarBug,
    VendorBusy,
)
from sidecar.telemetry.tracing import CallTrace
from sidecar.transport.adapter import RevokedError
from sidecar.transport.reply import Reply
from tests.support.clock import Clock
from tests.support.fake_vendor import BODY, BUSY, SINGLE, Bench, Caller, Countdown, Step, answers, ask, never, raises
from tests.support.raw_server import turns

NOT_REACHED = raises(httpx.ConnectError("refused"), is_asked=False)
LOST = raises(httpx.ConnectTimeout("the library's word for a peer that has gone"), is_asked=True)

# What a transport may raise; none of it decides whether the push was sent.
RAISED = [
    httpx.ConnectError("x"),
    httpx.ConnectTimeout("x"),
    httpx.ReadTimeout("x"),
    httpx.ReadError("x"),
    httpx.WriteError("x"),
    httpx.PoolTimeout("x"),
    httpx.ProxyError("x"),
    httpx.RemoteProtocolError("x"),
    ConnectionRefusedError("x"),
    TimeoutError("x"),
    RuntimeError("unmapped"),
    KeyError("unmapped"),
    asyncio.CancelledError("by nobody"),
]


async def failure(bench: Bench, caller: Caller | None = None, *, is_repeatable_when_busy: bool = False) -> PushError:
    call = (caller or Caller()).call()
    with pytest.raises(PushError) as raised:
        await bench.deliver(call, is_repeatable_when_busy=is_repeatable_when_busy)
    assert bench.admission.in_flight == 0
    return raised.value


async def test_answer_is_read_and_the_place_given_back() -> None:
    bench, caller = Bench([answers(b"fine")]), Caller()
    assert await bench.deliver(caller.call()) == "200 fine x1"
    assert bench.transport.bodies == [BODY]
    assert caller.commits == 1
    assert bench.waits == []
    assert bench.admission.in_flight == 0
    assert bench.sample("http_client_request_duration_seconds_count", http_response_status_code="200") == 1


async def test_not_sent_is_tried_again() -> None:
    bench, caller = Bench([NOT_REACHED, NOT_REACHED, answers()]), Caller()
    assert await bench.deliver(caller.call()) == "200 ok x3"
    assert bench.waits == [0.05, 0.1]
    assert bench.transport.bodies == [BODY]
    assert caller.commits == 1
    assert bench.sample("push_sidecar_retries_total") == 2
    assert bench.sample("push_sidecar_attempt_failures_total", cause="connect") == 2
    assert bench.sample("http_client_request_duration_seconds_count", http_response_status_code="0") == 2


async def test_not_sent_at_the_last_attempt_is_told() -> None:
    bench, caller = Bench([NOT_REACHED] * 3), Caller()
    error = await failure(bench, caller)
    assert isinstance(error, NotSent)
    assert (error.cause, error.sent, error.attempts) == ("connect", Sent.NO, 3)
    assert caller.commits == 0, "no early headers: the caller's library may repeat it"
    assert bench.transport.bodies == []


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_whatever_is_raised_before_the_body_was_asked_for_is_not_sent(error: BaseException) -> None:
    bench = Bench([raises(error, is_asked=False), answers()])
    assert await bench.deliver(Caller().call()) == "200 ok x2"
    assert bench.transport.bodies == [BODY]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_whatever_is_raised_after_the_body_was_asked_for_is_unknown_and_never_repeated(
    error: BaseException,
) -> None:
    bench = Bench([raises(error, is_asked=True), answers()])
    unknown = await failure(bench, is_repeatable_when_busy=True)
    assert isinstance(unknown, OutcomeUnknown)
    assert (unknown.sent, unknown.attempts) == (Sent.MAYBE, 1)
    assert bench.transport.requests == 1
    assert bench.waits == []


async def test_answer_to_a_body_that_was_not_asked_for_is_not_believed() -> None:
    async def answers_unasked(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(b"somebody else's"))

    bench = Bench([answers_unasked, answers(b"own")])
    assert await bench.deliver(Caller().call()) == "200 own x2"
    assert bench.sample("push_sidecar_attempt_failures_total", cause="unsolicited_answer") == 1


async def test_busy_vendor_is_asked_again_where_that_is_allowed() -> None:
    bench, caller = Bench([answers(BUSY), answers(BUSY), answers()]), Caller()
    assert await bench.deliver(caller.call(), is_repeatable_when_busy=True) == "200 ok x3"
    assert bench.transport.bodies == [BODY] * 3
    assert caller.commits == 1


async def test_busy_vendor_is_not_asked_again_where_that_is_not_allowed() -> None:
    bench = Bench([answers(BUSY), answers()])
    error = await failure(bench)
    assert isinstance(error, VendorBusy)
    assert (error.sent, error.attempts) == (Sent.NO, 1)
    assert bench.transport.requests == 1


async def test_unknown_after_busy_is_maybe_sent() -> None:
    bench = Bench([answers(BUSY), LOST, answers()])
    error = await failure(bench, is_repeatable_when_busy=True)
    assert isinstance(error, OutcomeUnknown)
    assert (error.sent, error.attempts) == (Sent.MAYBE, 2)


async def test_outage_is_not_multiplied() -> None:
    bench = Bench([NOT_REACHED] * 3000)
    for _ in range(1000):
        await failure(bench)
    assert 1200 <= bench.transport.requests <= 1000 + 200 + 10
    assert bench.sample("push_sidecar_retries_total") == bench.transport.requests - 1000


async def test_early_headers_go_out_before_the_body() -> None:
    given_at_commit: list[int] = []

    async def on_commit() -> None:
        await asyncio.sleep(0)
        given_at_commit.append(len(bench.transport.bodies))

    bench = Bench([answers()])
    await bench.deliver(Caller(on_commit).call())
    assert given_at_commit == [0]
    assert bench.transport.bodies == [BODY]


async def test_failing_early_headers_are_not_sent() -> None:
    async def on_commit() -> None:
        raise ConnectionError("the caller is gone")

    bench = Bench([answers()] * 3)
    error = await failure(bench, Caller(on_commit))
    assert isinstance(error, NotSent)
    assert error.cause == "early_headers"
    assert bench.transport.bodies == []
    assert bench.transport.requests == 1, "nobody is there for whom to try again"


async def test_early_headers_during_which_the_connection_is_lost_are_not_sent_again() -> None:
    started, lost = asyncio.Event(), asyncio.Event()
    committed: list[str] = []

    async def on_commit() -> None:
        started.set()
        await lost.wait()
        committed.append(f"before {len(bench.transport.bodies)} bodies")

    async def loses_the_connection_meanwhile(request: httpx.Request) -> httpx.Response:
        asking = asyncio.create_task(ask(request))
        await started.wait()
        asking.cancel()
        await asyncio.wait({asking})
        asyncio.get_running_loop().call_later(0, lost.set)
        raise httpx.ReadError("gone")

    bench = Bench([loses_the_connection_meanwhile, answers()])
    assert await bench.deliver(Caller(on_commit).call()) == "200 ok x2"
    assert committed == ["before 0 bodies"]
    assert bench.transport.bodies == [BODY]


async def test_transport_that_still_runs_after_its_failure_cannot_send_any_more() -> None:
    go = asyncio.Event()
    late: list[asyncio.Task[None]] = []

    async def on_commit() -> None:
        if not go.is_set():
            await go.wait()

    async def fails_but_keeps_asking(request: httpx.Request) -> httpx.Response:
        late.append(asyncio.create_task(ask(request)))
        await turns(2)
        asyncio.get_running_loop().call_later(0, go.set)
        raise httpx.ReadError("gone")

    bench = Bench([fails_but_keeps_asking], max_attempts=1)
    error = await failure(bench, Caller(on_commit))
    assert isinstance(error, NotSent)
    await asyncio.wait(late)
    assert late[0].exception() is not None
    assert bench.transport.bodies == []


async def test_slowness_of_ours_before_the_first_byte_is_no_failure_of_the_vendor() -> None:
    go_on = asyncio.Event()
    caller = Caller(on_commit=go_on.wait)
    asking: list[asyncio.Task[None]] = []

    async def gives_up_while_we_are_slow(request: httpx.Request) -> httpx.Response:
        asking.append(asyncio.create_task(ask(request)))
        await turns()
        asyncio.get_running_loop().call_later(0, go_on.set)
        raise httpx.ReadTimeout("x")

    breaker = Breaker(failure_ratio=0.1, min_calls=1, window_s=10.0, open_s=5.0)
    bench = Bench([gives_up_while_we_are_slow], max_attempts=1, breaker=breaker)
    assert isinstance(await failure(bench, caller), NotSent)
    assert breaker.state is State.CLOSED
    await asyncio.wait(asking)
    assert isinstance(asking[0].exception(), RevokedError)
    assert bench.transport.bodies == []


async def test_bug_while_reading_the_answer_is_ours_and_maybe_sent(caplog: pytest.LogCaptureFixture) -> None:
    def read_wrong(_reply: Reply, _attempt: int) -> str:
        raise LookupError("a target of the push")

    bench = Bench([answers()])
    with pytest.raises(SidecarBug) as bug:
        await bench.lane.deliver(Caller().call(), Outgoing({}, BODY, SINGLE, True), read_wrong)
    assert (bug.value.sent, bug.value.attempts) == (Sent.MAYBE, 1)
    assert "target" not in bug.value.description
    assert [record.message for record in caplog.records] == ["bug while reading an answer"]
    assert bench.admission.in_flight == 0
    assert bench.transport.requests == 1


async def test_overload_is_told_at_once() -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def waits(request: httpx.Request) -> httpx.Response:
        reached.set()
        await go.wait()
        return await answers()(request)

    bench = Bench([waits, answers(), answers()], max_in_flight=1, max_queue=1)
    first = asyncio.create_task(bench.deliver(Caller().call()))
    await reached.wait()
    second = asyncio.create_task(bench.deliver(Caller().call()))
    await asyncio.sleep(0)
    assert bench.sample("push_sidecar_in_flight") == 1
    assert bench.sample("push_sidecar_queued") == 1
    with pytest.raises(Overloaded) as overloaded:
        await bench.deliver(Caller().call())
    assert (overloaded.value.retry_after_s, overloaded.value.attempts) == (1.5, 0)
    go.set()
    assert [await first, await second] == ["200 ok x1", "200 ok x1"]
    assert bench.sample("push_sidecar_queue_wait_seconds_count") == 1, "only the second call waited"
    assert bench.sample("push_sidecar_in_flight") == 0


async def test_closing_refuses_who_waits_and_lets_calls_in_flight_end() -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def waits(request: httpx.Request) -> httpx.Response:
        reached.set()
        await go.wait()
        return await answers()(request)

    bench = Bench([waits], max_in_flight=1)
    first = asyncio.create_task(bench.deliver(Caller().call()))
    await reached.wait()
    second = asyncio.create_task(bench.deliver(Caller().call()))
    await asyncio.sleep(0)
    bench.lane.close()
    await asyncio.wait({second})
    error = second.exception()
    assert isinstance(error, ShuttingDown)
    assert error.sent is Sent.NO
    with pytest.raises(ShuttingDown):
        await bench.deliver(Caller().call())
    go.set()
    assert await first == "200 ok x1"
    assert bench.transport.requests == 1


async def test_nothing_is_tried_again_after_the_close() -> None:
    async def closes_meanwhile(_request: httpx.Request) -> httpx.Response:
        bench.lane.close()
        raise httpx.ConnectError("refused")

    bench = Bench([closes_meanwhile, answers()])
    error = await failure(bench)
    assert isinstance(error, NotSent)
    assert bench.transport.requests == 1


async def test_what_fails_after_the_close_is_told_at_once() -> None:
    """A back-off that begins after the stop would be ended by nobody, and the stop would wait for it."""

    async def closes_meanwhile(_request: httpx.Request) -> httpx.Response:
        bench.lane.close()
        raise httpx.ConnectError("refused")

    bench = Bench([closes_meanwhile, answers()])
    await failure(bench)
    assert bench.waits == []
    assert bench.sample("push_sidecar_retries_total") == 0


async def test_attempt_that_fails_before_it_begins_does_not_keep_the_only_permit() -> None:
    """Half open, the breaker lets one call through at a time: one that never reports would shut it for ever."""

    class Broken(NoOpTracer):
        def start_span(self, *_: Any, **__: Any) -> Span:
            raise LookupError("a bug of a tracing library")

    clock = Clock()
    breaker = Breaker(failure_ratio=0.1, min_calls=1, window_s=10.0, open_s=5.0, clock=clock)
    bench = Bench([NOT_REACHED, answers()], breaker=breaker, max_attempts=1)
    await failure(bench)
    assert breaker.state is State.OPEN
    clock.now += 5.0
    recorded = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("call")
    call = Call(
        deadline=never(),
        trace=CallTrace(Broken(), recorded),
        commit=asyncio.Event().wait,
        process_bytes=Caller().process_bytes,
    )
    with pytest.raises(LookupError):
        await bench.deliver(call)
    assert await bench.deliver(Caller().call()) == "200 ok x1"
    assert breaker.state is State.CLOSED


STEPS: dict[str, Step] = {
    "not reached": NOT_REACHED,
    "lost": LOST,
    "busy": answers(BUSY),
    "ok": answers(),
}


@given(
    names=st.lists(st.sampled_from(sorted(STEPS)), min_size=5, max_size=5),
    max_attempts=st.integers(1, 5),
    is_repeatable_when_busy=st.booleans(),
)
def test_push_goes_out_again_only_where_nothing_was_pushed(
    names: list[str], max_attempts: int, *, is_repeatable_when_busy: bool
) -> None:
    async def run() -> None:
        bench, caller = Bench([STEPS[name] for name in names], max_attempts=max_attempts), Caller()
        error: PushError | None = None
        try:
            await bench.deliver(caller.call(), is_repeatable_when_busy=is_repeatable_when_busy)
        except PushError as raised:
            error = raised
        repeatable = {"not reached", "busy"} if is_repeatable_when_busy else {"not reached"}
        count = next((i for i, name in enumerate(names[:max_attempts], 1) if name not in repeatable), max_attempts)
        made = names[:count]
        assert bench.transport.requests == count
        assert len(bench.transport.bodies) == sum(name != "not reached" for name in made)
        assert caller.commits == min(1, len(bench.transport.bodies))
        assert bench.admission.in_flight == 0
        told = (error.reason.value, error.sent, error.attempts) if error else None
        assert told == {
            "not reached": ("NOT_SENT", Sent.NO, count),
            "lost": ("OUTCOME_UNKNOWN", Sent.MAYBE, count),
            "busy": ("VENDOR_BUSY", Sent.NO, count),
            "ok": None,
        }.get(made[-1])

    asyncio.run(run())


async def test_deadline_in_the_queue_is_not_sent() -> None:
    bench = Bench([], max_in_flight=1)
    await bench.admission.enter(Countdown(1.0))
    call = Caller().call(Countdown(10.0, 0.0))
    with pytest.raises(DeadlineExceeded) as late:
        await bench.deliver(call)
    assert (late.value.sent, late.value.attempts) == (Sent.NO, 0)
    assert bench.transport.requests == 0


async def test_stop_ends_a_back_off_with_the_error_in_hand() -> None:
    waiting = asyncio.Event()

    async def on_sleep() -> None:
        waiting.set()
        await asyncio.Event().wait()

    bench = Bench([answers(BUSY), answers()], on_sleep=on_sleep)
    ending = asyncio.create_task(failure(bench, is_repeatable_when_busy=True))
    await waiting.wait()
    bench.lane.close()
    error = await ending
    assert isinstance(error, VendorBusy)
    assert (error.sent, error.attempts) == (Sent.NO, 1)
    assert bench.transport.requests == 1
    assert bench.admission.in_flight == 0


async def test_back_off_that_ends_after_the_stop_is_followed_by_no_attempt() -> None:
    async def on_sleep() -> None:
        bench.admission.close()

    bench = Bench([NOT_REACHED, answers()], on_sleep=on_sleep)
    error = await failure(bench)
    assert isinstance(error, NotSent)
    assert bench.transport.requests == 1


async def test_hang_up_in_a_back_off_ends_the_call_and_the_wait() -> None:
    waiting, ended = asyncio.Event(), asyncio.Event()

    async def on_sleep() -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    bench = Bench([NOT_REACHED, answers()], on_sleep=on_sleep)
    call = asyncio.create_task(bench.deliver(Caller().call()))
    await waiting.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(ended.wait(), 5)
    assert bench.transport.requests == 1
    assert bench.admission.in_flight == 0


@pytest.mark.parametrize(
    ("error", "cause", "state"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "descriptors", State.CLOSED),
        (OSError(errno.ENOBUFS, "No buffer space available"), "system_memory", State.CLOSED),
        (OSError(errno.ECONNREFUSED, "Connection refused"), "connect", State.OPEN),
    ],
)
async def test_what_we_ran_out_of_ourselves_does_not_count_against_the_vendor(
    error: OSError, cause: str, state: State
) -> None:
    """Nothing was sent, so it is tried again, and the next call is let through."""
    breaker = Breaker(failure_ratio=0.1, min_calls=2, window_s=10.0, open_s=5.0)
    bench = Bench([raises(error, is_asked=False)] * 2, max_attempts=2, breaker=breaker)
    with pytest.raises(NotSent) as failed:
        await bench.deliver(Caller().call())
    assert (failed.value.cause, failed.value.sent, failed.value.attempts) == (cause, Sent.NO, 2)
    assert breaker.state is state
    assert bench.sample("push_sidecar_attempt_failures_total", cause=cause) == 2
