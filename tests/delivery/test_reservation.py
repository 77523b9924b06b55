"""Who gets the places of a quota: never more than there are, in order of arrival, and none is lost. Virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import httpx
import pytest

from sidecar.delivery.call import Withheld
from sidecar.delivery.pacing import MIN_PAUSE_S, PacedOut, Pacer
from sidecar.delivery.quota import read_quotas
from sidecar.delivery.reservation import Gates, Hold
from sidecar.errors import DeadlineExceeded, NotSent, Overloaded, QuotaExceeded, ShuttingDown
from sidecar.stores.quota import Charge, Room
from sidecar.stores.quota_memory import MemoryCounter
from sidecar.telemetry.metrics import Metrics
from tests.support.fake_vendor import APP, BUSY, SINGLE, TOO_MANY, Bench, Caller, Countdown, answers, raises
from tests.support.raw_server import turns
from tests.support.virtual_time import VirtualTime

CLASSES = ("all", "tag", "single", "list", "user")


class Late(MemoryCounter):
    """A counter elsewhere: its answers come when the test lets them."""

    is_remote = True

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.looks = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def look(self, charges: Sequence[Charge]) -> Sequence[Room]:
        self.looks += 1
        rooms = await super().look(charges)
        await self.answers.wait()
        return rooms


class World:
    """Pacers of two apps of one account, before one counter."""

    def __init__(
        self,
        quotas: Mapping[str, str],
        *,
        max_waiting: int = 500,
        is_remote: bool = False,
        counter: MemoryCounter | None = None,
    ) -> None:
        self.time = VirtualTime()
        self.counter = counter or (Late(self.time) if is_remote else MemoryCounter(self.time))
        gates = Gates()
        self.gates = gates.of("account", read_quotas(quotas, CLASSES))
        self.pacer, self.other = (
            Pacer(
                app=app,
                gates=gates.of("account", read_quotas(quotas, CLASSES)),
                counter=self.counter,
                max_waiting=max_waiting,
                max_pause_s=3600.0,
                overload_retry_after_s=1.0,
                metrics=Metrics("test"),
                clock=self.time,
                sleep=self.time.sleep,
            )
            for app in (APP, "other")
        )
        self.let: list[str] = []

    async def wait(self, costs: Mapping[str, int], remaining_s: float = 10_000.0, pacer: Pacer | None = None) -> Hold:
        call = Caller().call(self.time.deadline(remaining_s))
        return await (pacer or self.pacer).wait(call, costs)

    async def push(self, name: str, costs: Mapping[str, int], remaining_s: float = 10_000.0) -> None:
        """Wait, and be counted at once."""
        hold = await self.wait(costs, remaining_s)
        await self.pacer.take(costs, hold)
        self.let.append(name)

    def start(self, name: str, costs: Mapping[str, int], remaining_s: float = 10_000.0) -> "asyncio.Task[None]":
        return asyncio.create_task(self.push(name, costs, remaining_s))

    def held(self) -> list[int]:
        return [gate.held for gate in self.gates]


async def stop(world: World, *tasks: "asyncio.Task[object]") -> None:
    world.pacer.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    await world.pacer.aclose()


ONE: Mapping[str, int] = {"single": 1}


@pytest.mark.parametrize("is_remote", [False, True])
async def test_no_more_are_let_through_than_there_is_room(*, is_remote: bool) -> None:
    """Before any of them is counted."""
    world = World({"single": "3/second"}, is_remote=is_remote)
    holds = [asyncio.create_task(world.wait(ONE)) for _ in range(10)]
    await world.time.forward(0.5)
    assert sum(task.done() for task in holds) == 3
    await world.time.forward(5)
    assert sum(task.done() for task in holds) == 3, "what is not counted yet has its places for as long as it takes"
    for task in holds[:3]:
        await world.pacer.take(ONE, await task)
    await world.time.forward(1.5)
    assert sum(task.done() for task in holds) == 6
    assert world.held() == [3]
    await stop(world, *holds)


async def test_no_count_fails_that_was_let_through() -> None:
    world = World({"single": "4/second"})
    tasks = [world.start(str(number), ONE) for number in range(200)]
    await world.time.forward(0.5)
    for second in range(1, 51):
        assert len(world.let) == 4 * second, "a place that comes free is used at once"
        await world.time.forward(1.0)
    assert world.let == [str(number) for number in range(200)], "in the order of arrival"
    await asyncio.gather(*tasks)
    assert world.held() == [0]


async def test_place_that_is_given_back_goes_to_the_next_at_once() -> None:
    world = World({"single": "1/hour"})
    hold = await world.wait(ONE)
    next_one = asyncio.create_task(world.wait(ONE))
    third = asyncio.create_task(world.wait(ONE, 10_000.0))
    await turns()
    assert not next_one.done()
    hold.give_back()
    await turns()
    assert next_one.done()
    hold.give_back()
    assert world.held() == [1], "once"
    next_one.result().give_back()
    await turns()
    assert third.done()
    assert world.time.now == 1000.0


async def test_who_hangs_up_leaves_its_turn_to_those_behind() -> None:
    world = World({"single": "1/second"})
    await world.push("first", ONE)
    waiting = [asyncio.create_task(world.wait(ONE)) for _ in range(3)]
    await turns()
    waiting[0].cancel()
    waiting[1].cancel()
    await world.time.forward(1.0)
    assert waiting[2].done()
    assert not waiting[2].cancelled()
    assert world.held() == [1]


async def test_refusal_tells_the_time_until_its_turn_behind_those_that_wait() -> None:
    world = World({"single": "2/minute"})
    await world.push("first", ONE)
    await world.time.forward(10)
    await world.push("second", ONE)  # places are free in 50 s and in 60 s
    waiting = [world.start(str(number), ONE) for number in range(3)]
    await turns()
    with pytest.raises(QuotaExceeded) as told:
        await world.wait(ONE, 105.0)
    assert told.value.retry_after_s == 120.0, "the second place of the window after"
    await stop(world, *waiting)


async def test_refusal_tells_no_longer_than_the_window_when_nobody_waits() -> None:
    world = World({"single": "3/minute"})
    for _ in range(3):
        await world.push("", ONE)
    with pytest.raises(QuotaExceeded) as told:
        await world.wait(ONE, 5.0)
    assert told.value.retry_after_s == 60.0


async def test_those_that_wait_for_one_quota_use_up_nothing_of_another() -> None:
    """Eight pushes to all wait for the hour's quota; ten to single devices come."""
    world = World({"all": "1/hour", "single": "5/second"}, max_waiting=8)
    await world.push("all", {"all": 1})
    waiting = [world.start("late", {"all": 1}, 100_000.0) for _ in range(8)]
    await turns()
    singles = [world.start(str(number), ONE, 30.0) for number in range(10)]
    await world.time.forward(1.0)
    await asyncio.gather(*singles)
    assert world.let[1:] == [str(number) for number in range(10)]
    with pytest.raises(Overloaded):
        await world.wait({"all": 1}, 100_000.0)
    await stop(world, *waiting)


async def test_quota_that_two_classes_share_is_not_held_up_by_one_that_waits_for_its_own() -> None:
    world = World({"all": "1/hour", "all+single": "2/second"})
    await world.push("all", {"all": 1})
    waiting = world.start("all", {"all": 1}, 10_000.0)
    await turns()
    for second in range(3):
        await world.time.forward(1.0)
        await asyncio.gather(*(world.start(f"{second}", ONE, 0.5) for _ in range(2)))
    await stop(world, waiting)


async def test_several_limits_hold_together() -> None:
    world = World({"single": "2/second; 5/minute"})
    tasks = [world.start(str(number), ONE) for number in range(7)]
    counts = []
    for _ in range(4):
        await turns()
        counts.append(len(world.let))
        await world.time.forward(1.0)
    assert counts == [2, 4, 5, 5]
    await world.time.forward(56.0)
    assert len(world.let) == 7
    await asyncio.gather(*tasks)


async def test_call_of_several_classes_takes_all_or_none() -> None:
    world = World({"single": "10/minute", "user": "3/minute"})
    both = {"single": 1, "user": 2}
    await world.push("both", both)
    with pytest.raises(QuotaExceeded):
        await world.wait(both, 10.0)
    assert [room.left for gate in world.gates for room in await world.counter.look(gate.charges(1))] == [9, 1]
    assert world.held() == [0, 0]
    await world.push("user", {"user": 1})


async def test_costs_of_classes_that_share_a_quota_are_added() -> None:
    world = World({"single+user": "5/minute"})
    await world.push("both", {"single": 2, "user": 2})
    (gate,) = world.gates
    assert [room.left for room in await world.counter.look(gate.charges(1))] == [1]


async def test_many_places_are_not_kept_from_a_call_by_small_ones_that_come_later() -> None:
    world = World({"user": "100/minute"})
    await world.push("first", {"user": 60})
    large = world.start("large", {"user": 90})
    await turns()
    small = [world.start("small", {"user": 1}) for _ in range(20)]
    await world.time.forward(59.0)
    assert world.let == ["first"], "there is room for the small ones, but not their turn"
    await world.time.forward(1.0)
    assert world.let == ["first", "large", *["small"] * 10]
    await world.time.forward(60.0)
    await asyncio.gather(large, *small)


async def test_large_call_is_not_passed_by_those_of_another_line_either() -> None:
    world = World({"user": "10/minute", "list+user": "100/minute"})
    await world.push("first", {"list": 60})
    large = world.start("large", {"user": 90})
    await turns()
    small = [world.start("small", {"list": 10}) for _ in range(4)]
    await world.time.forward(60.0)
    assert world.let[:2] == ["first", "large"]
    await world.time.forward(60.0)
    await asyncio.gather(large, *small)


async def test_large_call_that_hangs_up_keeps_no_place_from_another_line() -> None:
    world = World({"user": "10/minute", "list+user": "100/minute"})
    await world.push("first", {"list": 60})
    large = world.start("large", {"user": 90})
    await turns()
    small = world.start("small", {"list": 40})
    await world.time.forward(1.0)
    assert not small.done()
    large.cancel()
    await turns()
    assert small.done()
    assert world.let == ["first", "small"]


async def test_call_that_costs_more_than_the_limit_goes_alone() -> None:
    world = World({"user": "100/minute"})
    await world.push("small", {"user": 1})
    large = world.start("large", {"user": 250})
    await world.time.forward(59.0)
    assert not large.done()
    await world.time.forward(1.0)
    await large
    with pytest.raises(QuotaExceeded) as told:
        await world.wait({"user": 1}, 10.0)
    assert told.value.retry_after_s == 60.0


async def test_apps_of_one_account_share_the_places() -> None:
    world = World({"single": "1/hour"})
    hold = await world.wait(ONE)
    with pytest.raises(QuotaExceeded):
        await world.wait(ONE, 10.0, world.other)
    waiting = asyncio.create_task(world.wait(ONE, 10_000.0, world.other))
    await turns()
    hold.give_back()
    await turns()
    assert waiting.done(), "and hear of those that are given back"


async def test_answer_that_others_have_overtaken_lets_nobody_through() -> None:
    """Five ask a counter elsewhere at the same time, and all are told that there is one place."""
    world = World({"single": "1/hour"}, is_remote=True)
    assert isinstance(world.counter, Late)
    world.counter.answers.clear()
    tasks = [asyncio.create_task(world.wait(ONE)) for _ in range(5)]
    await turns()
    world.counter.answers.set()
    await turns()
    assert sum(task.done() and task.exception() is None for task in tasks) == 1
    await stop(world, *tasks)


async def test_place_that_is_given_back_while_a_new_call_looks_is_not_overlooked() -> None:
    """The answer that it waits for counts the place as held."""
    world = World({"single": "1/hour"}, is_remote=True)
    assert isinstance(world.counter, Late)
    hold = await world.wait(ONE)
    world.counter.answers.clear()
    new = asyncio.create_task(world.wait(ONE))
    await turns()
    hold.give_back()
    world.counter.answers.set()
    await turns()
    assert new.done()


async def test_turn_that_comes_while_a_call_looks_is_not_overlooked() -> None:
    world = World({"single": "1/hour"}, is_remote=True)
    assert isinstance(world.counter, Late)
    await world.push("first", ONE)
    first, second = (asyncio.create_task(world.wait(ONE)) for _ in range(2))
    await world.time.forward(3599.0)
    world.counter.answers.clear()
    await world.time.forward(1.0)
    first.cancel()  # while it looks
    await turns()
    world.counter.answers.set()
    await world.time.forward(MIN_PAUSE_S)
    assert second.done()
    assert not second.cancelled()


async def test_call_that_is_paused_keeps_no_place_from_others() -> None:
    """It is older than they are, and there is no room for it either, but its pause lasts longer than that."""
    world = World({"all+tag": "100/second", "all+single": "1/second"})
    world.pacer.slow_down({"tag": 1}, 100.0)
    await world.push("single", ONE)
    paused = world.start("all", {"all": 1})
    await turns()
    for _ in range(5):
        await world.time.forward(1.0)
        await world.push("single", ONE, 0.5)
    assert not paused.done()
    await world.time.forward(100.0)
    await paused


async def test_those_that_wait_ask_a_counter_elsewhere_seldom() -> None:
    world = World({"single": "4/second"}, is_remote=True)
    assert isinstance(world.counter, Late)
    tasks = [world.start(str(number), ONE) for number in range(100)]
    await world.time.forward(30.0)
    await asyncio.gather(*tasks)
    assert world.counter.looks <= 4 * 100, "when it comes, when its time has come and when its turn has"


async def test_deadline_that_comes_while_the_counter_is_asked_leaves_the_line() -> None:
    world = World({"single": "1/hour"}, is_remote=True)
    assert isinstance(world.counter, Late)
    world.counter.answers.clear()
    with pytest.raises(DeadlineExceeded):
        await world.wait(ONE, 0.0)
    world.counter.answers.set()
    await world.wait(ONE)
    await world.pacer.aclose()


# Over a lane.


def bench(
    quota: str, steps: Sequence[Callable[[httpx.Request], Awaitable[httpx.Response]]], **options: object
) -> Bench:
    time = VirtualTime()
    quotas = read_quotas({SINGLE: quota}, [SINGLE])
    return Bench(
        steps, quotas=quotas, counter=MemoryCounter(time), clock=time, pace=time.sleep, max_queue=500, **options,
    )  # type: ignore[arg-type]  # fmt: skip


def time_of(bench: Bench) -> VirtualTime:
    assert isinstance(bench.clock, VirtualTime)
    return bench.clock


async def test_two_hundred_pushes_at_four_a_second_make_two_hundred_requests() -> None:
    """And no observation of a call that brought no answer."""
    shop = bench("4/second", [answers()] * 200, max_in_flight=64)
    time = time_of(shop)
    tasks = [asyncio.create_task(shop.deliver(Caller().call(time.deadline(1000.0)))) for _ in range(200)]
    await time.forward(49.0)
    assert await asyncio.gather(*tasks) == ["200 ok x1"] * 200
    assert shop.transport.requests == 200
    assert shop.sample("http_client_request_duration_seconds_count", http_response_status_code="200") == 200
    assert shop.sample("http_client_request_duration_seconds_count", http_response_status_code="0") == 0


async def hangs(_: httpx.Request) -> httpx.Response:
    """Have no connection for it."""
    await asyncio.Event().wait()
    raise AssertionError


class Lost:
    """The claim of a call whose request id another has taken over."""

    def check(self) -> None:
        raise Withheld

    async def begin_sending(self) -> None:
        raise AssertionError

    def settle_later(self, outcome: object) -> None:
        raise AssertionError


async def is_free(shop: Bench) -> bool:
    """Whether the one place of the hour is there for the next."""
    assert [gate.held for gate in shop.gates] == [0]
    return await shop.deliver(Caller().call()) == "200 ok x1"


async def test_call_that_is_not_sent_gives_its_place_back() -> None:
    shop = bench("1/hour", [raises(httpx.ConnectError("refused"), is_asked=False), answers()], max_attempts=1)
    with pytest.raises(NotSent):
        await shop.deliver(Caller().call())
    assert await is_free(shop)


async def test_call_whose_deadline_comes_before_its_first_byte_gives_its_place_back() -> None:
    shop = bench("1/hour", [hangs, answers()])
    with pytest.raises(DeadlineExceeded):
        await shop.deliver(Caller().call(Countdown(9.0, 9.0, 0.0)))
    assert shop.transport.requests == 1
    assert await is_free(shop)


async def test_caller_that_hangs_up_while_there_is_no_connection_gives_its_place_back() -> None:
    shop = bench("1/hour", [hangs, answers()])
    task = asyncio.create_task(shop.deliver(Caller().call()))
    await turns()
    assert [gate.held for gate in shop.gates] == [1]
    task.cancel()
    await asyncio.wait({task})
    await turns()
    assert await is_free(shop)


async def test_caller_that_hangs_up_while_it_queues_gives_its_place_back() -> None:
    shop = bench("1/hour", [answers()], max_in_flight=1)
    shop.admission.in_flight = 1
    task = asyncio.create_task(shop.deliver(Caller().call()))
    await turns()
    assert [gate.held for gate in shop.gates] == [1]
    task.cancel()
    await asyncio.wait({task})
    shop.admission.in_flight = 0
    assert await is_free(shop)


async def test_call_that_is_stopped_gives_its_place_back() -> None:
    shop = bench("1/hour", [answers()], max_in_flight=1)
    shop.admission.close()
    with pytest.raises(ShuttingDown):
        await shop.deliver(Caller().call())
    shop.admission.is_closed = False
    assert await is_free(shop)


async def test_call_that_lost_its_request_id_gives_its_place_back() -> None:
    shop, call = bench("1/hour", [answers(), answers()]), Caller().call()
    call.claim = Lost()
    with pytest.raises(Withheld):
        await shop.deliver(call)
    assert await is_free(shop)


async def test_caller_that_hangs_up_while_it_is_counted_keeps_its_place_until_the_answer() -> None:
    """The counter may have counted it; until that is known nobody else is let through in its place."""
    asked, answers_now = asyncio.Event(), asyncio.Event()

    class Slow(Late):
        async def take(self, charges: Sequence[Charge]) -> float:
            asked.set()
            await answers_now.wait()
            return await super().take(charges)

    world = World({"single": "1/hour"}, counter=Slow(VirtualTime()))
    hold = await world.wait(ONE)
    counting = asyncio.create_task(world.pacer.take(ONE, hold))
    await asked.wait()
    counting.cancel()
    await asyncio.wait({counting})
    hold.give_back()
    assert world.held() == [1]
    answers_now.set()
    await world.pacer.aclose()
    assert world.held() == [0]


async def test_retry_takes_no_place_that_another_call_holds() -> None:
    """Its first attempt was counted, so it needs another place; without room it waits, and takes no connection."""
    shop = bench("2/hour", [answers(BUSY), answers(), answers()], max_in_flight=2)
    time, backs_off = time_of(shop), asyncio.Event()
    shop.on_sleep = backs_off.wait
    first = asyncio.create_task(shop.deliver(Caller().call(time.deadline(5000.0)), is_repeatable_when_busy=True))
    await turns()
    shop.admission.in_flight = 2
    second = asyncio.create_task(shop.deliver(Caller().call(time.deadline(5000.0))))
    await turns()
    assert [gate.held for gate in shop.gates] == [1], "the second queues for a place in flight"
    backs_off.set()
    await turns()
    assert (first.done(), second.done(), shop.transport.requests) == (False, True, 2)
    assert await second == "200 ok x1"
    await time.forward(3600.0)
    assert await first == "200 ok x2"
    assert shop.transport.requests == 3


async def test_pause_holds_back_calls_that_queue_for_a_place_before_they_take_a_connection() -> None:
    shop = bench("100/hour", [answers(status=TOO_MANY), answers()], max_in_flight=1)
    time = time_of(shop)
    tasks = [asyncio.create_task(shop.deliver(Caller().call(time.deadline(2.0)))) for _ in range(20)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [QuotaExceeded] * 20
    assert shop.transport.requests == 1
    assert [gate.held for gate in shop.gates] == [0]


async def test_call_that_lost_a_race_is_still_before_those_that_came_later() -> None:
    world = World({"single": "1/hour"})
    hold = await world.wait(ONE)
    later = world.start("later", ONE, 10_000.0)
    await turns()
    await world.counter.take([charge for gate in world.gates for charge in gate.charges(1)])  # another sidecar
    with pytest.raises(PacedOut) as lost:
        await world.pacer.take(ONE, hold)
    assert lost.value.wait_s == 3600.0
    call = Caller().call(world.time.deadline(10_000.0))
    again = asyncio.create_task(world.pacer.wait(call, ONE, hold, lost.value.wait_s))
    await world.time.forward(3600.0)
    assert again.done()
    assert not later.done()
    await stop(world, later)
