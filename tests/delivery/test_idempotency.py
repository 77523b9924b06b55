"""A call with a request id is made at most once: who comes with the id again gets its answer, or waits for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import blake2b
from typing import Any

import pytest

from pushsidecar.xg.v1 import PushResponse
from sidecar.delivery.call import Call
from sidecar.delivery.claim import FIRST_RETRY_S, MAX_RETRYING, ClaimLost, Keeper
from sidecar.delivery.idempotency import Idempotency
from sidecar.errors import (
    CallCancelled,
    DeadlineExceeded,
    EarlierFailure,
    NotSent,
    OutcomeUnknown,
    Overloaded,
    PushError,
    QuotaExceeded,
    Reason,
    RequestIdReused,
    Sent,
    SidecarBug,
    StoreUnavailable,
    VendorAnswer,
    VendorBusy,
    VendorInternal,
    VendorRefused,
)
from sidecar.stores.memory import MemoryStore
from sidecar.stores.store import Record, State, StoreFailure, StoreFull
from sidecar.telemetry.metrics import Metrics
from tests.support.clock import Clock
from tests.support.fake_vendor import APP, Caller, Countdown
from tests.support.raw_server import turns
from tests.support.waiting import until

ID = "order-1"
CONTENT = b"c" * 16
OTHER_CONTENT = b"d" * 16
LEASE_S = 10.0
SENDING_LEASE_S = 17.0


class Store(MemoryStore):
    """A memory store whose steps can be made to fail or to stop, by name."""

    is_immediate = False

    def __init__(self, clock: Clock) -> None:
        super().__init__(window_s=3600, max_bytes=1_000_000, clock=clock)
        self.failing: dict[str, Exception] = {}
        self.fails_after: dict[str, Exception] = {}
        self.stops: dict[str, asyncio.Event] = {}
        self.steps: list[str] = []

    async def _before(self, step: str) -> None:
        self.steps.append(step)
        if step in self.stops:
            await self.stops[step].wait()
        if step in self.failing:
            raise self.failing[step]

    def _after(self, step: str) -> None:
        if step in self.fails_after:
            raise self.fails_after[step]

    async def reserve(self, key: bytes, *, owner: str, fingerprint: bytes, lease_s: float) -> Record | None:
        await self._before("reserve")
        record = await super().reserve(key, owner=owner, fingerprint=fingerprint, lease_s=lease_s)
        self._after("reserve")
        return record

    async def begin_sending(self, key: bytes, *, owner: str, lease_s: float) -> bool:
        await self._before("begin_sending")
        return await super().begin_sending(key, owner=owner, lease_s=lease_s)

    async def renew(self, key: bytes, *, owner: str, lease_s: float) -> bool:
        await self._before("renew")
        return await super().renew(key, owner=owner, lease_s=lease_s)

    async def settle(self, key: bytes, *, owner: str, state: State, answer: bytes) -> bool:
        await self._before("settle")
        is_ours = await super().settle(key, owner=owner, state=state, answer=answer)
        self._after("settle")
        return is_ours

    async def release(self, key: bytes, *, owner: str) -> bool:
        await self._before("release")
        return await super().release(key, owner=owner)


class Deliver:
    """A delivery: steps to *sending*, stops there until `go`, ends as it is told. `made` counts the vendor calls."""

    def __init__(self, outcome: PushResponse | BaseException | None = None, *, stops: bool = False) -> None:
        self.outcome = PushResponse(push_id="7", attempts=1) if outcome is None else outcome
        self.go = asyncio.Event()
        self.reached = asyncio.Event()
        self.made = 0
        if not stops:
            self.go.set()

    def __call__(self, call: Call) -> Callable[[], Awaitable[PushResponse]]:
        async def deliver() -> PushResponse:
            assert call.claim is not None
            await call.claim.begin_sending()
            self.made += 1
            call.sent = Sent.MAYBE
            self.reached.set()
            await self.go.wait()
            if isinstance(self.outcome, BaseException):
                raise self.outcome
            return self.outcome

        return deliver


class World:
    """A store, and any number of processes that share it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = Store(self.clock)
        self.metrics = Metrics("test")
        # The pauses between tries of a last step, which go on once it is `awake`.
        self.slept: list[float] = []
        self.awake = asyncio.Event()
        self.processes: list[Idempotency] = []

    def process(
        self,
        *,
        app: str = APP,
        goes_on: bool = False,
        max_waiting: int = 100,
        lease_s: float = LEASE_S,
        window_s: float = 3600.0,
    ) -> Idempotency:
        keeper = Keeper(
            app=app,
            store=self.store,
            lease_s=lease_s,
            sending_lease_s=SENDING_LEASE_S,
            window_s=window_s,
            goes_on_without_store=goes_on,
            metrics=self.metrics,
            sleep=self._sleep,
        )
        ids = Idempotency(app=app, keeper=keeper, max_waiting=max_waiting, retry_after_s=1.5)
        self.processes.append(ids)
        return ids

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.awake.wait()

    def count(self, result: str) -> float:
        value = self.metrics.registry.get_sample_value("push_sidecar_request_ids_total", {"app": APP, "result": result})
        return value or 0.0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    world.awake.set()
    for ids in world.processes:
        ids.close()
        await ids.aclose()


async def push(
    ids: Idempotency,
    deliver: Deliver,
    *,
    call: Call | None = None,
    content: bytes = CONTENT,
    request_id: str = ID,
) -> tuple[PushResponse, bool]:
    """Make a call; returns its answer, and whether it was replayed."""
    call = call or Caller().call()
    response = await ids.once(call, request_id, content, PushResponse, deliver(call))
    return response, call.replayed


async def failure(ids: Idempotency, deliver: Deliver, **how: Any) -> PushError:
    with pytest.raises(PushError) as raised:
        await push(ids, deliver, **how)
    return raised.value


async def test_repetition_gets_the_first_answer_and_makes_no_vendor_call(world: World) -> None:
    ids, deliver = world.process(), Deliver()
    first, first_replayed = await push(ids, deliver)
    second, second_replayed = await push(ids, deliver)
    assert (first_replayed, second_replayed, deliver.made) == (False, True, 1)
    assert second == first
    assert (world.count("new"), world.count("replayed")) == (1, 1)


async def test_other_id_and_other_app_are_other_pushes(world: World) -> None:
    ids, deliver = world.process(), Deliver()
    await push(ids, deliver)
    await push(ids, deliver, request_id="order-2")
    assert deliver.made == 2
    await push(world.process(app="other"), deliver)
    assert deliver.made == 3


async def test_other_content_is_refused_after_the_first_call(world: World) -> None:
    ids, deliver = world.process(), Deliver()
    await push(ids, deliver)
    error = await failure(ids, deliver, content=OTHER_CONTENT)
    assert isinstance(error, RequestIdReused)
    assert (error.sent, deliver.made, world.count("reused")) == (Sent.NO, 1, 1)
    assert ID not in error.description


@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["same-process", "other-process"])
async def test_other_content_is_refused_while_the_first_is_in_flight(world: World, *, is_elsewhere: bool) -> None:
    ids, deliver = world.process(), Deliver(stops=True)
    first = asyncio.create_task(push(ids, deliver))
    await deliver.reached.wait()
    error = await failure(world.process() if is_elsewhere else ids, deliver, content=OTHER_CONTENT)
    assert isinstance(error, RequestIdReused)
    deliver.go.set()
    await first
    assert deliver.made == 1


async def test_other_content_that_took_the_id_meanwhile_is_refused_to_who_waited_for_another_process(
    world: World,
) -> None:
    """The call that it waited for sent nothing, and another content took the free id: its answer is nobody else's."""
    fails, overtakes, deliver = Deliver(VendorBusy("busy"), stops=True), Deliver(), Deliver()
    first = asyncio.create_task(failure(world.process(), fails))
    await fails.reached.wait()
    call = Caller().call()
    waiting = asyncio.create_task(failure(world.process(), deliver, call=call))
    await until(lambda: world.count("waited") == 1)
    stop = world.store.stops["reserve"] = asyncio.Event()  # the next look of who waits comes later
    await until(lambda: world.store.steps.count("reserve") == 3)
    fails.go.set()
    await first
    await until(lambda: world.store.steps.count("release") == 1)
    world.store.stops.clear()
    await push(world.process(), overtakes, content=OTHER_CONTENT)
    stop.set()
    assert isinstance(await waiting, RequestIdReused)
    assert (call.replayed, overtakes.made, deliver.made, world.count("reused")) == (False, 1, 0, 1)


async def test_other_content_that_was_pushed_is_refused_to_who_waited_in_the_same_process(world: World) -> None:
    """Whose the id is shows only when the first call, which asks the store still, has ended."""
    ids, first_deliver, deliver = world.process(), Deliver(), Deliver()
    stop = world.store.stops["reserve"] = asyncio.Event()
    first = asyncio.create_task(push(ids, first_deliver, content=OTHER_CONTENT))
    await turns()
    call = Caller().call()
    waiting = asyncio.create_task(failure(ids, deliver, call=call))
    await turns()
    stop.set()
    assert (await first)[1] is False
    assert isinstance(await waiting, RequestIdReused)
    assert (call.replayed, first_deliver.made, deliver.made, world.count("reused")) == (False, 1, 0, 1)


NOT_SENT = {
    "not-sent": NotSent("x", cause="connect"),
    "busy": VendorBusy("x"),
    "refused": VendorRefused(Reason.TARGET_UNKNOWN, "x", vendor=VendorAnswer(code=10110)),
    "quota": QuotaExceeded("x", subject="app:shop", retry_after_s=3),
    "deadline": DeadlineExceeded("x", sent=Sent.NO),
    "overloaded": Overloaded("x", retry_after_s=1),
}


@pytest.mark.parametrize("error", NOT_SENT.values(), ids=NOT_SENT)
async def test_what_was_not_sent_frees_the_id(world: World, error: PushError) -> None:
    ids = world.process()
    assert await failure(ids, Deliver(error)) is error
    again = Deliver()
    _, replayed = await push(ids, again, content=OTHER_CONTENT)
    assert (replayed, again.made) == (False, 1)


ANSWER = VendorAnswer(
    code=10301, message="said", http_status=200, push_id="9", seq=4, environment="dev", response=PushResponse(seq=4)
)
MAYBE = {
    "unknown": OutcomeUnknown("no answer", cause="read_timeout"),
    "unknown-with-answer": OutcomeUnknown("odd answer", cause="x", vendor=ANSWER),
    "internal": VendorInternal("it failed", vendor=ANSWER),
    "bug": SidecarBug("KeyError", sent=Sent.MAYBE),
}


@pytest.mark.parametrize("error", MAYBE.values(), ids=MAYBE)
async def test_what_may_have_gone_out_is_given_again_as_it_was(world: World, error: PushError) -> None:
    error.attempts = 2
    ids, deliver = world.process(), Deliver(error)
    assert await failure(ids, deliver) is error
    for _ in range(2):
        again = await failure(ids, deliver)
        assert isinstance(again, EarlierFailure)
        assert (again.reason, again.description, again.sent) == (error.reason, error.description, Sent.MAYBE)
        assert (again.attempts, again.vendor or VendorAnswer()) == (2, error.vendor or VendorAnswer())
    assert deliver.made == 1


async def test_an_exception_of_ours_after_the_first_byte_is_kept_as_a_bug(world: World) -> None:
    ids, deliver = world.process(), Deliver(KeyError("secret"))
    with pytest.raises(KeyError):
        await push(ids, deliver)
    again = await failure(ids, deliver)
    assert (again.reason, again.sent, deliver.made) == (Reason.SIDECAR_BUG, Sent.MAYBE, 1)
    assert "secret" not in again.description


async def test_an_exception_of_ours_before_the_first_byte_frees_the_id(world: World) -> None:
    ids = world.process()

    async def broken() -> PushResponse:
        raise KeyError

    with pytest.raises(KeyError):
        await ids.once(Caller().call(), ID, CONTENT, PushResponse, broken)
    _, replayed = await push(ids, Deliver())
    assert not replayed


@pytest.mark.parametrize("processes", [1, 2])
async def test_concurrent_duplicates_lead_to_one_vendor_call(world: World, processes: int) -> None:
    deliver = Deliver(stops=True)
    ids = [world.process() for _ in range(processes)]
    calls = [asyncio.create_task(push(ids[number % processes], deliver)) for number in range(16)]
    await deliver.reached.wait()
    await turns()
    deliver.go.set()
    answers = await asyncio.gather(*calls)
    assert deliver.made == 1
    assert {response.push_id for response, _ in answers} == {"7"}
    assert sorted(replayed for _, replayed in answers) == [False] + [True] * 15


async def test_when_the_first_was_not_sent_exactly_one_who_waits_goes_on(world: World) -> None:
    ids, fails, succeeds = world.process(), Deliver(VendorBusy("busy"), stops=True), Deliver()
    first = asyncio.create_task(failure(ids, fails))
    await fails.reached.wait()
    others = [asyncio.create_task(push(ids, succeeds)) for _ in range(5)]
    await turns()
    fails.go.set()
    assert isinstance(await first, VendorBusy)
    assert sorted(replayed for _, replayed in await asyncio.gather(*others)) == [False] + [True] * 4
    assert succeeds.made == 1


@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["same-process", "other-process"])
async def test_deadline_while_waiting_for_the_first_is_maybe(world: World, *, is_elsewhere: bool) -> None:
    ids, deliver = world.process(), Deliver(stops=True)
    first = asyncio.create_task(push(ids, deliver))
    await deliver.reached.wait()
    call = Caller().call(Countdown(10.0, 0.0) if is_elsewhere else Countdown(0.0))
    error = await failure(world.process() if is_elsewhere else ids, Deliver(), call=call)
    assert isinstance(error, DeadlineExceeded)
    assert (error.sent, call.sent) == (Sent.MAYBE, Sent.MAYBE)
    deliver.go.set()
    assert (await first)[1] is False


async def test_who_waits_and_hangs_up_leaves_nothing(world: World) -> None:
    ids, deliver = world.process(max_waiting=1), Deliver(stops=True)
    first = asyncio.create_task(push(ids, deliver))
    await deliver.reached.wait()
    call = Caller().call()
    waiting = asyncio.create_task(push(ids, Deliver(), call=call))
    await turns()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert (waiting.cancelled(), call.sent) == (True, Sent.MAYBE)
    another = asyncio.create_task(push(ids, Deliver()))  # takes the only place to wait
    await turns()
    deliver.go.set()
    assert ((await first)[1], (await another)[1]) == (False, True)


async def test_more_who_wait_than_allowed_are_turned_away_with_maybe(world: World) -> None:
    ids, deliver = world.process(max_waiting=1), Deliver(stops=True)
    calls = [asyncio.create_task(push(ids, deliver)) for _ in range(2)]
    await deliver.reached.wait()
    await turns()
    error = await failure(ids, deliver)
    assert isinstance(error, Overloaded)
    assert (error.sent, error.retry_after_s) == (Sent.MAYBE, 1.5)
    deliver.go.set()
    await asyncio.gather(*calls)


async def test_late_answer_reaches_who_waits_and_who_comes_later(world: World) -> None:
    ids = world.process()
    deliver = Deliver(DeadlineExceeded("late", sent=Sent.MAYBE))
    call = Caller().call()
    assert isinstance(await failure(ids, deliver, call=call), DeadlineExceeded)
    waiting = asyncio.create_task(push(ids, deliver))
    await turns()
    assert not waiting.done()
    assert call.claim is not None
    call.claim.settle_later(PushResponse(push_id="late"))  # as the lane does when the vendor answers
    for response, replayed in [await waiting, await push(ids, deliver)]:
        assert (response.push_id, replayed) == ("late", True)
    assert deliver.made == 1


async def test_hang_up_before_the_first_byte_frees_the_id(world: World) -> None:
    ids = world.process()
    started = asyncio.Event()

    async def stuck() -> PushResponse:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(ids.once(Caller().call(), ID, CONTENT, PushResponse, stuck))
    await started.wait()
    task.cancel()
    await asyncio.wait({task})
    await ids.aclose()
    _, replayed = await push(ids, Deliver())
    assert not replayed


async def test_hang_up_after_the_first_byte_keeps_the_id_until_the_late_answer(world: World) -> None:
    ids, deliver = world.process(), Deliver(stops=True)
    call = Caller().call()
    task = asyncio.create_task(push(ids, deliver, call=call))
    await deliver.reached.wait()
    task.cancel()
    await asyncio.wait({task})
    repeated = asyncio.create_task(push(ids, deliver))
    await turns()
    assert not repeated.done()
    assert call.claim is not None
    call.claim.settle_later(OutcomeUnknown("cut", cause="connection_lost"))
    with pytest.raises(EarlierFailure):
        await repeated
    assert deliver.made == 1


async def test_hang_up_while_the_answer_is_recorded_does_not_lose_it(world: World) -> None:
    ids, deliver = world.process(), Deliver()
    world.store.stops["settle"] = asyncio.Event()
    task = asyncio.create_task(push(ids, deliver))
    while "settle" not in world.store.steps:
        await turns(1)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    world.store.stops.pop("settle").set()
    await ids.aclose()
    assert (await push(ids, deliver))[1]
    assert deliver.made == 1


async def test_hang_up_while_the_id_is_reserved_frees_it(world: World) -> None:
    ids = world.process()
    stop = world.store.stops["reserve"] = asyncio.Event()
    task = asyncio.create_task(push(ids, Deliver()))
    await turns()
    task.cancel()
    await asyncio.wait({task})
    stop.set()
    await ids.aclose()
    assert not (await push(ids, Deliver()))[1]


async def test_deadline_while_the_id_is_reserved_is_not_sent(world: World) -> None:
    ids = world.process()
    world.store.stops["reserve"] = asyncio.Event()
    error = await failure(ids, Deliver(), call=Caller().call(Countdown(0.0)))
    assert isinstance(error, DeadlineExceeded)
    assert error.sent is Sent.NO
    world.store.stops.pop("reserve").set()
    await ids.aclose()


async def test_reservation_of_a_lost_process_is_taken_over_when_its_lease_is_over(world: World) -> None:
    await world.store.reserve(_key(), owner="gone", fingerprint=CONTENT, lease_s=LEASE_S)
    ids, deliver = world.process(), Deliver()
    task = asyncio.create_task(push(ids, deliver))
    await turns()
    assert deliver.made == 0
    world.clock.now += LEASE_S
    assert not (await task)[1]
    assert deliver.made == 1


async def test_paused_owner_whose_id_was_taken_over_sends_nothing_and_gets_the_answer(world: World) -> None:
    paused, other, deliver = world.process(), world.process(), Deliver()
    asleep, go_on = asyncio.Event(), asyncio.Event()
    call = Caller().call()

    async def pauses_before_the_first_byte() -> PushResponse:
        asleep.set()
        await go_on.wait()
        return await deliver(call)()

    task = asyncio.create_task(paused.once(call, ID, CONTENT, PushResponse, pauses_before_the_first_byte))
    await asleep.wait()
    world.clock.now += LEASE_S
    assert not (await push(other, deliver))[1]
    go_on.set()
    assert (await task).push_id == "7"
    assert (call.replayed, deliver.made, world.count("lost")) == (True, 1, 1)


async def test_sending_of_a_lost_process_is_never_taken_over_and_reads_as_unknown(world: World) -> None:
    await world.store.reserve(_key(), owner="gone", fingerprint=CONTENT, lease_s=LEASE_S)
    await world.store.begin_sending(_key(), owner="gone", lease_s=SENDING_LEASE_S)
    ids, deliver = world.process(), Deliver()
    world.clock.now += SENDING_LEASE_S
    for _ in range(2):
        error = await failure(ids, deliver)
        assert isinstance(error, OutcomeUnknown)
        assert (error.sent, error.cause) == (Sent.MAYBE, "owner_lost")
    assert deliver.made == 0
    await world.store.settle(_key(), owner="gone", state=State.DONE, answer=PushResponse().SerializeToString())
    assert (await push(ids, deliver))[1], "a late answer of the owner still replaces it"


async def test_sending_lease_covers_the_vendor_call_from_its_first_byte(world: World) -> None:
    ids, deliver = world.process(), Deliver(stops=True)
    first = asyncio.create_task(push(ids, deliver))
    await deliver.reached.wait()
    record = await world.store.reserve(_key(), owner="probe", fingerprint=CONTENT, lease_s=1)
    assert record is not None
    assert (record.state, record.lease_left_s) == (State.SENDING, SENDING_LEASE_S)
    deliver.go.set()
    await first


async def test_unreadable_record_is_maybe(world: World) -> None:
    for state in (State.DONE, State.UNKNOWN):
        key = _key(state.value)
        await world.store.reserve(key, owner="x", fingerprint=CONTENT, lease_s=LEASE_S)
        await world.store.begin_sending(key, owner="x", lease_s=LEASE_S)
        await world.store.settle(key, owner="x", state=state, answer=b"\xff\xff")
        error = await failure(world.process(), Deliver(), request_id=state.value)
        assert isinstance(error, OutcomeUnknown)
        assert error.cause == "record_unreadable"


async def test_store_down_at_the_start_refuses(world: World) -> None:
    world.store.failing["reserve"] = StoreFailure("connection")
    deliver = Deliver()
    error = await failure(world.process(), deliver)
    assert isinstance(error, StoreUnavailable)
    assert (error.sent, deliver.made, world.count("store_failed")) == (Sent.NO, 0, 1)


@pytest.mark.parametrize("error", [StoreFailure("connection"), StoreFull("the maxmemory of Redis", 1.0)], ids=str)
async def test_store_that_refuses_is_no_bug(world: World, caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    world.store.failing["reserve"] = error
    await failure(world.process(), Deliver())
    await turns()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_reservation_that_was_made_though_it_failed_is_given_back(world: World) -> None:
    ids, deliver = world.process(), Deliver()
    world.store.fails_after["reserve"] = StoreFailure("timeout")
    assert isinstance(await failure(ids, deliver), StoreUnavailable)
    world.store.fails_after.clear()
    world.awake.set()
    await ids.aclose()
    assert not (await push(world.process(), deliver))[1]


@pytest.mark.parametrize("how", ["deadline", "store"])
async def test_call_that_waits_for_another_process_is_maybe_while_it_looks_again(world: World, how: str) -> None:
    deliver = Deliver(stops=True)
    first = asyncio.create_task(push(world.process(), deliver))
    await deliver.reached.wait()
    call = Caller().call(Countdown(10.0, 10.0, 0.0) if how == "deadline" else None)
    waiting = asyncio.create_task(failure(world.process(), deliver, call=call))
    await until(lambda: world.count("waited") == 1)
    stop = asyncio.Event()
    if how == "deadline":
        world.store.stops["reserve"] = stop
    else:
        world.store.failing["reserve"] = StoreFailure("timeout")
    error = await waiting
    assert error.sent is Sent.MAYBE
    stop.set()
    deliver.go.set()
    await first


async def test_what_was_not_sent_is_told_before_its_id_is_free_and_then_it_is(world: World) -> None:
    ids, deliver = world.process(), Deliver()
    stop = world.store.stops["release"] = asyncio.Event()
    assert isinstance(await failure(ids, Deliver(Overloaded("x", retry_after_s=1))), Overloaded)
    again = asyncio.create_task(push(ids, deliver, content=OTHER_CONTENT))
    await turns()
    assert not again.done()
    stop.set()
    assert not (await again)[1]


async def test_store_down_before_the_first_byte_refuses_and_frees_the_id(world: World) -> None:
    ids, deliver = world.process(), Deliver()
    world.store.failing["begin_sending"] = StoreFailure("timeout")
    error = await failure(ids, deliver)
    assert isinstance(error, StoreUnavailable)
    assert (error.sent, deliver.made) == (Sent.NO, 0)
    world.store.failing.clear()
    assert not (await push(ids, deliver))[1]


async def test_store_down_after_the_answer_still_gives_it_and_never_pushes_again(world: World) -> None:
    ids, deliver = world.process(), Deliver(stops=True)
    world.store.failing["settle"] = StoreFailure("connection")
    first = asyncio.create_task(push(ids, deliver))
    await deliver.reached.wait()
    waiting = asyncio.create_task(push(ids, deliver))
    await turns()
    deliver.go.set()
    assert ((await first)[1], (await waiting)[1]) == (False, True)
    world.clock.now += SENDING_LEASE_S
    error = await failure(ids, deliver)
    assert isinstance(error, OutcomeUnknown)
    assert deliver.made == 1


async def test_store_down_at_the_release_is_no_error_of_the_call(world: World) -> None:
    world.store.failing["release"] = StoreFailure("connection")
    assert isinstance(await failure(world.process(), Deliver(VendorBusy("busy"))), VendorBusy)


@pytest.mark.parametrize("left_s", [0.0, 1000.0])
async def test_store_that_hangs_after_the_answer_holds_it_back_for_a_moment_only(world: World, left_s: float) -> None:
    ids, deliver = world.process(), Deliver(stops=True)
    stop = world.store.stops["settle"] = asyncio.Event()
    first = asyncio.create_task(push(ids, deliver, call=Caller().call(Countdown(10.0, left_s))))
    await deliver.reached.wait()
    waiting = asyncio.create_task(push(ids, deliver))
    await turns()
    deliver.go.set()
    assert (await waiting)[1], "who waits here need not wait for the store"
    answer, replayed = await first
    assert (answer.push_id, replayed, stop.is_set()) == ("7", False, False)
    repeated = asyncio.create_task(push(ids, deliver))
    await turns()
    assert not repeated.done()
    stop.set()
    assert (await repeated)[1]
    assert deliver.made == 1


async def test_answer_whose_deadline_has_come_waits_for_no_record(world: World) -> None:
    ids = world.process()
    stop = world.store.stops["settle"] = asyncio.Event()
    answered = asyncio.create_task(push(ids, Deliver(), call=Caller().call(Countdown(10.0, 0.0))))
    await until(lambda: "settle" in world.store.steps)
    await turns()
    was_answered = answered.done()
    stop.set()
    await answered
    assert was_answered


LAST_STEPS = {
    "settle": (PushResponse(push_id="7"), True),
    "release": (VendorBusy("busy"), False),
}


@pytest.mark.parametrize(("step", "outcome", "replayed"), [(k, *v) for k, v in LAST_STEPS.items()], ids=LAST_STEPS)
async def test_last_step_that_the_store_did_not_make_is_made_later(
    world: World, step: str, outcome: Any, *, replayed: bool
) -> None:
    ids = world.process()
    world.store.failing[step] = StoreFailure("timeout")
    if replayed:
        await push(ids, Deliver(outcome))
    else:
        await failure(ids, Deliver(outcome))
    await turns()
    assert world.slept == [FIRST_RETRY_S]
    world.store.failing.clear()
    world.awake.set()
    await ids.aclose()
    assert (await push(world.process(), Deliver()))[1] is replayed


async def test_last_step_is_tried_for_as_long_as_others_wait_for_it_and_ever_less_often(world: World) -> None:
    ids = world.process()
    world.store.failing["settle"] = StoreFailure("timeout")
    world.awake.set()
    await push(ids, Deliver())
    await until(lambda: sum(world.slept) >= SENDING_LEASE_S)
    await turns()
    assert world.store.steps.count("settle") == 1 + len(world.slept)
    assert world.slept[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert set(world.slept[5:]) == {2.0}
    assert SENDING_LEASE_S <= sum(world.slept) < SENDING_LEASE_S + 2.0


@pytest.mark.parametrize("fails", ["before-the-stop", "in-the-stop"])
async def test_end_of_a_stop_tries_a_last_step_once_more(world: World, fails: str) -> None:
    ids, deliver = world.process(), Deliver(stops=True)
    world.store.failing["settle"] = StoreFailure("timeout")
    first = asyncio.create_task(push(ids, deliver))
    await deliver.reached.wait()
    if fails == "in-the-stop":
        ids.close()
    deliver.go.set()
    await first
    await turns()
    assert (world.store.steps.count("settle"), world.slept) == (1, [FIRST_RETRY_S])
    ids.close()
    await turns()
    assert world.store.steps.count("settle") == 1, "the calls in flight have their grace, and so have their records"
    await ids.aclose()
    assert world.store.steps.count("settle") == 2


async def test_no_more_steps_are_tried_again_than_a_process_can_bear(world: World) -> None:
    ids = world.process(goes_on=True)
    world.store.failing["settle"] = StoreFailure("connection")
    for number in range(MAX_RETRYING + 5):
        await push(ids, Deliver(), request_id=str(number))
    await until(lambda: len(world.slept) >= MAX_RETRYING)
    await turns()
    assert len(world.slept) == MAX_RETRYING


async def test_step_that_was_made_though_it_failed_is_no_second_failure(world: World) -> None:
    ids = world.process()
    world.store.fails_after["settle"] = StoreFailure("timeout")
    world.awake.set()
    await push(ids, Deliver())
    world.store.fails_after.clear()
    await ids.aclose()
    failures = "push_sidecar_store_failures_total"
    assert world.metrics.registry.get_sample_value(failures, {"step": "settle", "kind": "timeout"}) == 1
    assert world.metrics.registry.get_sample_value(failures, {"step": "settle", "kind": "not_held"}) is None


async def test_bug_of_a_store_keeps_nobody_waiting(world: World, caplog: pytest.LogCaptureFixture) -> None:
    ids, deliver = world.process(), Deliver(DeadlineExceeded("late", sent=Sent.MAYBE))
    call = Caller().call()
    await failure(ids, deliver, call=call)
    waiting = asyncio.create_task(push(ids, deliver))
    await turns()
    world.store.failing["settle"] = KeyError("secret")
    assert call.claim is not None
    call.claim.settle_later(PushResponse(push_id="late"))
    assert (await waiting)[0].push_id == "late"
    await ids.aclose()
    assert "bug in a step of a request id" in caplog.text


async def test_call_that_waits_longer_than_its_lease_keeps_its_id(world: World) -> None:
    ids, call = world.process(), Caller().call()

    async def waits() -> PushResponse:
        assert call.claim is not None
        for _ in range(3):
            world.clock.now += 0.9 * LEASE_S
            call.claim.renew()
            await turns()
            assert await world.store.reserve(_key(), owner="other", fingerprint=CONTENT, lease_s=1) is not None
        call.claim.check()
        await call.claim.begin_sending()
        return PushResponse()

    await ids.once(call, ID, CONTENT, PushResponse, waits)


@pytest.mark.parametrize("short", ["lease_s", "window_s"])
async def test_lease_and_window_are_renewed_in_time_until_the_call_ends(world: World, short: str) -> None:
    ids, deliver = world.process(**{short: 0.03}), Deliver(stops=True)
    world.store.failing["renew"] = StoreFailure("timeout")
    first = asyncio.create_task(push(ids, deliver))
    await until(lambda: world.store.steps.count("renew") >= 2)
    world.store.failing.clear()
    await until(lambda: world.store.steps.count("renew") >= 4)
    deliver.go.set()
    await first
    await ids.aclose()
    renewals = world.store.steps.count("renew")
    await asyncio.sleep(0.05)
    assert world.store.steps.count("renew") == renewals


@pytest.mark.parametrize(("lease_s", "window_s", "renewal_s"), [(30.0, 600.0, 10.0), (600.0, 60.0, 20.0)])
def test_lease_and_window_are_renewed_three_times_in_each(
    world: World, lease_s: float, window_s: float, renewal_s: float
) -> None:
    keeper = Keeper(
        app=APP, store=world.store, lease_s=lease_s, sending_lease_s=1.0, window_s=window_s,
        goes_on_without_store=False, metrics=Metrics("test"),
    )  # fmt: skip
    assert keeper.renewal_s == renewal_s


def test_memory_is_renewed_by_its_window_alone() -> None:
    keeper = Keeper(
        app=APP, store=MemoryStore(window_s=60, max_bytes=100_000), lease_s=1.0, sending_lease_s=1.0, window_s=60.0,
        goes_on_without_store=False, metrics=Metrics("test"),
    )  # fmt: skip
    assert keeper.renewal_s == 20.0


async def test_call_learns_from_a_renewal_that_its_id_was_taken_over(world: World) -> None:
    ids, call = world.process(), Caller().call()
    delivered = []

    async def taken_over() -> PushResponse:
        assert call.claim is not None
        if not delivered:
            delivered.append(1)
            world.clock.now += LEASE_S
            await world.store.reserve(_key(), owner="other", fingerprint=CONTENT, lease_s=0.0)
            call.claim.renew()
            await turns()
            call.claim.check()
        return PushResponse(push_id="second")

    assert (await ids.once(call, ID, CONTENT, PushResponse, taken_over)).push_id == "second"
    assert world.count("lost") == 1


async def test_right_content_is_not_refused_while_a_wrong_one_asks_the_store(world: World) -> None:
    ids, deliver = world.process(), Deliver()
    await push(ids, deliver)
    stop = world.store.stops["reserve"] = asyncio.Event()
    wrong = asyncio.create_task(failure(ids, deliver, content=OTHER_CONTENT))
    await turns()
    right = asyncio.create_task(push(ids, deliver))
    await turns()
    stop.set()
    assert isinstance(await wrong, RequestIdReused)
    assert (await right)[1]
    assert deliver.made == 1


async def test_going_on_without_the_store_keeps_the_outcome_when_it_is_back(world: World) -> None:
    ids, deliver = world.process(goes_on=True), Deliver(stops=True)
    world.store.failing["begin_sending"] = StoreFailure("connection")
    first = asyncio.create_task(push(ids, deliver))
    await deliver.reached.wait()
    world.store.failing.clear()
    deliver.go.set()
    await first
    assert (await push(world.process(), deliver))[1]
    assert deliver.made == 1


@pytest.mark.parametrize("step", ["reserve", "begin_sending"])
async def test_going_on_without_the_store_where_that_is_configured(world: World, step: str) -> None:
    ids, deliver = world.process(goes_on=True), Deliver()
    world.store.failing[step] = StoreFailure("connection")
    assert not (await push(ids, deliver))[1]
    assert (deliver.made, world.count("unprotected")) == (1, 1)


async def test_going_on_without_the_store_keeps_duplicates_of_this_process_together(world: World) -> None:
    ids, deliver = world.process(goes_on=True), Deliver(stops=True)
    world.store.failing["reserve"] = StoreFailure("connection")
    calls = [asyncio.create_task(push(ids, deliver)) for _ in range(4)]
    await deliver.reached.wait()
    await turns()
    deliver.go.set()
    assert sorted(replayed for _, replayed in await asyncio.gather(*calls)) == [False, True, True, True]
    assert deliver.made == 1


@pytest.mark.parametrize("goes_on", [False, True])
async def test_store_that_fails_while_another_process_sends_is_maybe(world: World, *, goes_on: bool) -> None:
    deliver = Deliver(stops=True)
    first = asyncio.create_task(push(world.process(), deliver))
    await deliver.reached.wait()
    waiting = asyncio.create_task(failure(world.process(goes_on=goes_on), deliver))
    await turns()
    world.store.failing["reserve"] = StoreFailure("connection")
    error = await waiting
    assert isinstance(error, OutcomeUnknown)
    assert error.cause == "store_failed"
    deliver.go.set()
    await first
    assert deliver.made == 1


async def test_full_store_refuses_and_names_the_setting(world: World) -> None:
    world.store.failing["reserve"] = StoreFull("idempotency.max_bytes", 120.0)
    error = await failure(world.process(), Deliver())
    assert isinstance(error, Overloaded)
    assert (error.sent, error.retry_after_s, world.count("full")) == (Sent.NO, 120.0, 1)
    assert "idempotency.max_bytes" in error.description


async def test_stop_ends_the_wait_for_another_process_with_maybe(world: World) -> None:
    stopping, deliver = world.process(), Deliver(stops=True)
    first = asyncio.create_task(push(world.process(), deliver))
    await deliver.reached.wait()
    waiting = asyncio.create_task(failure(stopping, deliver))
    await turns()
    stopping.close()
    error = await waiting
    assert isinstance(error, OutcomeUnknown)
    assert error.cause == "shutting_down"
    deliver.go.set()
    await first


async def test_stop_lets_who_waits_in_this_process_have_the_answer(world: World) -> None:
    ids, deliver = world.process(), Deliver(stops=True)
    calls = [asyncio.create_task(push(ids, deliver)) for _ in range(2)]
    await deliver.reached.wait()
    await turns()
    ids.close()
    deliver.go.set()
    assert sorted(replayed for _, replayed in await asyncio.gather(*calls)) == [False, True]


async def test_claim_that_was_lost_says_so(world: World) -> None:
    ids = world.process()
    call = Caller().call()

    async def taken_over() -> PushResponse:
        world.clock.now += LEASE_S
        await world.store.reserve(_key(), owner="other", fingerprint=CONTENT, lease_s=LEASE_S)
        assert call.claim is not None
        with pytest.raises(ClaimLost):
            await call.claim.begin_sending()
        return PushResponse()

    await ids.once(call, ID, CONTENT, PushResponse, taken_over)


async def test_a_call_that_is_not_sent_by_its_callers_hang_up_is_released_only_by_its_owner(world: World) -> None:
    """The release of one that lost its claim touches nobody else's."""
    ids, call = world.process(), Caller().call()

    async def loses_and_fails() -> PushResponse:
        world.clock.now += LEASE_S
        await world.store.reserve(_key(), owner="other", fingerprint=CONTENT, lease_s=LEASE_S)
        raise CallCancelled(sent=Sent.NO)

    with pytest.raises(CallCancelled):
        await ids.once(call, ID, CONTENT, PushResponse, loses_and_fails)
    record = await world.store.reserve(_key(), owner="probe", fingerprint=CONTENT, lease_s=1)
    assert record is not None
    assert record.state is State.RESERVED


def _key(request_id: str = ID) -> bytes:
    """Return the key of an id of this app, as the records of an earlier release have it: it must not change."""
    return blake2b(f"{APP}\0{request_id}".encode(), digest_size=16).digest()
