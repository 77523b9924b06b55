"""Calls within the vendor's quotas: who waits how long, who is told how long it would take, and what pauses whom."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import httpx
import pytest

from sidecar.delivery.call import Withheld
from sidecar.delivery.limiter import RETRY_INTERVAL_S
from sidecar.delivery.pacing import PacedOut, Pacer
from sidecar.delivery.quota import Quota, read_limit, read_quotas
from sidecar.delivery.reservation import Gates, Hold
from sidecar.errors import DeadlineExceeded, Overloaded, QuotaExceeded, Sent, ShuttingDown
from sidecar.stores.quota import Charge, Room
from sidecar.stores.store import StoreFailure
from sidecar.telemetry.metrics import Metrics
from tests.support.fake_vendor import (
    APP,
    BODY,
    BUSY,
    QUOTA_RETRY_AFTER_S,
    SINGLE,
    TOO_MANY,
    Bench,
    Caller,
    Countdown,
    answers,
    raises,
)
from tests.support.raw_server import turns

CLASSES = ("all", "tag", "single", "list")


class Counter:
    """A counter that says what a test tells it; `taken` are the calls that were counted, one list a call."""

    is_remote = False

    def __init__(self) -> None:
        self.waits: dict[str, float] = {}
        self.taken: list[list[str]] = []
        self.error: StoreFailure | None = None
        self.hangs: asyncio.Event | None = None
        self.asked = 0

    async def look(self, charges: Sequence[Charge]) -> Sequence[Room]:
        self.asked += 1
        if self.hangs is not None:
            await self.hangs.wait()
        if self.error:
            raise self.error
        waits = [self.waits.get(quota_of(charge), 0.0) for charge in charges]
        return [Room(0 if wait_s else 1000, wait_s) for wait_s in waits]

    async def take(self, charges: Sequence[Charge]) -> float:
        wait_s = max(room.wait_s for room in await self.look(charges))
        if wait_s == 0:
            self.taken.append([quota_of(charge) for charge in charges])
        return wait_s


def quota_of(charge: Charge) -> str:
    account, name, window_s = charge.key.split(":")
    assert (account, window_s) == ("account", str(charge.limit.window_s))
    return name


class World:
    """A pacer with a clock and a sleep that a test moves."""

    def __init__(self, quotas: Mapping[str, str], max_waiting: int = 10) -> None:
        self.now = 50.0
        self.slept: list[float] = []
        self.awake = asyncio.Event()
        self.counter = Counter()
        self.metrics = Metrics("test")
        self.pacer = Pacer(
            app=APP,
            gates=Gates().of("account", read_quotas(quotas, CLASSES)),
            counter=self.counter,
            max_waiting=max_waiting,
            max_pause_s=1000.0,
            overload_retry_after_s=1.5,
            metrics=self.metrics,
            clock=lambda: self.now,
            sleep=self._sleep,
        )

    async def wait(self, call_class: str, remaining_s: float = 60.0) -> Hold:
        return await self.pacer.wait(Caller().call(Countdown(remaining_s)), {call_class: 1})

    async def push(self, call_class: str, remaining_s: float = 60.0) -> None:
        await self.pacer.take({call_class: 1}, await self.wait(call_class, remaining_s))

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.awake.wait()
        self.now += seconds

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"app": APP, **labels}) or 0.0


BROADCAST = {"all+tag": "30/hour"}


async def test_class_without_a_quota_has_nothing_to_wait_for() -> None:
    world = World(BROADCAST)
    assert [world.pacer.must_wait({name: 1}) for name in CLASSES] == [True, True, False, False]
    assert world.pacer.must_wait({"single": 1, "tag": 1})


async def test_call_waits_for_its_turn_when_its_deadline_allows() -> None:
    world = World(BROADCAST)
    world.counter.waits["all+tag"] = 12.5
    waiting = asyncio.create_task(world.wait("all"))
    await turns()
    assert (world.slept, waiting.done()) == ([12.5], False)
    world.counter.waits.clear()
    world.awake.set()
    await waiting
    assert world.sample("push_sidecar_pacing_wait_seconds_count") == 1


async def test_call_that_cannot_wait_is_told_exactly_how_long() -> None:
    world = World(BROADCAST)
    world.counter.waits["all+tag"] = 1800.25
    with pytest.raises(QuotaExceeded) as told:
        await world.wait("tag")
    assert (told.value.retry_after_s, told.value.subject, told.value.sent) == (1800.25, "app:shop", Sent.NO)
    assert world.slept == []


async def test_deadline_that_comes_behind_others_while_there_is_room_is_said_to_be_the_deadline() -> None:
    """It is not the quota that holds the call back, so no time of the quota can be told."""
    world = World(BROADCAST)
    world.counter.waits["all+tag"] = 12.5
    before = asyncio.create_task(world.wait("all"))
    await turns()
    world.counter.waits.clear()
    with pytest.raises(DeadlineExceeded) as told:
        await world.wait("all", remaining_s=0.0)
    assert told.value.sent is Sent.NO
    world.awake.set()
    await before


async def test_the_longest_of_several_quotas_counts_and_all_are_taken_at_once() -> None:
    world = World({"single": "100/second; 5000/day", "single+list": "1000/hour"})
    world.counter.waits = {"single": 0.5, "list+single": 30.0}
    with pytest.raises(QuotaExceeded) as told:
        await world.wait("single", 20.0)
    assert told.value.retry_after_s == 30.0
    world.counter.waits = {}
    await world.push("single")
    assert world.counter.taken == [["single", "single", "list+single"]]


async def test_place_that_another_sidecar_took_is_paced_out() -> None:
    world = World(BROADCAST)
    hold = await world.wait("all")
    world.counter.waits["all+tag"] = 1.25
    with pytest.raises(PacedOut) as paced_out:
        await world.pacer.take({"all": 1}, hold)
    assert paced_out.value.wait_s == 1.25, "exactly as told"


async def test_refusal_of_the_vendor_pauses_what_shares_the_quota() -> None:
    world = World(BROADCAST)
    world.pacer.slow_down({"tag": 1}, 100.0)
    for call_class, retry_after_s in {"all": 100.0, "tag": 100.0, "single": None, "list": None}.items():
        if retry_after_s is None:
            await world.wait(call_class)
        else:
            with pytest.raises(QuotaExceeded) as told:
                await world.wait(call_class)
            assert told.value.retry_after_s == retry_after_s
    assert world.pacer.paused_for_s == {"all+tag": 100.0}
    assert world.sample("push_sidecar_vendor_slowdowns_total") == 1
    assert world.sample("push_sidecar_paused_seconds", classes="all+tag") == 100


async def test_refusal_of_a_class_without_a_quota_pauses_that_class_alone_until_its_time_is_over() -> None:
    world = World(BROADCAST)
    world.pacer.slow_down({"single": 1}, 7.0)
    world.pacer.slow_down({"single": 1}, 3.0)
    with pytest.raises(QuotaExceeded) as told:
        await world.wait("single", 5.0)
    assert told.value.retry_after_s == 7.0, "a pause is never shortened"
    with pytest.raises(PacedOut):
        await world.pacer.take({"single": 1}, None)
    for call_class in ("all", "tag", "list"):
        await world.push(call_class, 5.0)
    assert world.pacer.paused_for_s == {"single": 7.0}
    assert world.sample("push_sidecar_paused_seconds", classes="single") == 7
    world.now += 7.0
    for call_class in CLASSES:
        await world.wait(call_class, 5.0)
    assert not world.pacer.must_wait({"single": 1})


async def test_pause_is_never_longer_than_configured_whatever_the_vendor_names() -> None:
    world = World(BROADCAST)
    assert world.pacer.slow_down({"single": 1}, 999_999.0) == 1000.0
    with pytest.raises(QuotaExceeded) as told:
        await world.wait("single")
    assert told.value.retry_after_s == 1000.0
    assert world.pacer.slow_down({"all": 1}, 999.0) == 999.0


async def test_stop_ends_the_waits_and_refuses_later_ones() -> None:
    world = World(BROADCAST)
    world.counter.waits["all+tag"] = 10.0
    waiting = [asyncio.create_task(world.wait(call_class)) for call_class in ("all", "tag", "all")]
    await turns()
    world.pacer.close()
    for stopped in waiting:
        with pytest.raises(ShuttingDown):
            await stopped
    with pytest.raises(ShuttingDown):
        await world.wait("all")


async def test_no_more_wait_for_a_quota_than_are_allowed() -> None:
    world = World(BROADCAST | {"single": "5/second"}, max_waiting=1)
    world.counter.waits = {"all+tag": 10.0, "single": 1.0}
    waiting = asyncio.create_task(world.wait("all"))
    await turns()
    with pytest.raises(Overloaded) as full:
        await world.wait("tag")
    assert full.value.retry_after_s == 1.5
    single = asyncio.create_task(world.wait("single"))
    await turns()
    assert not single.done(), "another quota has a bound of its own"
    waiting.cancel()
    await asyncio.wait({waiting})
    again = asyncio.create_task(world.wait("all"))
    await turns()
    assert not again.done(), "who hung up has left its place"
    world.pacer.close()
    await asyncio.wait({again, single})
    assert isinstance(again.exception(), ShuttingDown)
    assert isinstance(single.exception(), ShuttingDown)


async def test_calls_go_on_when_they_cannot_be_counted(caplog: pytest.LogCaptureFixture) -> None:
    world = World(BROADCAST)
    world.counter.error = StoreFailure("connection")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await world.push("all")
    assert [record.message for record in caplog.records] == ["quotas are not counted"], "once a minute"
    failed = "push_sidecar_limiter_failures_total"
    assert (world.sample(failed, kind="connection"), world.sample(failed, kind="skipped")) == (1, 5)
    world.now += RETRY_INTERVAL_S
    world.counter.error = None
    await world.push("all")
    await turns()
    assert world.counter.taken == [], "it is only asked whether it answers again"
    await world.push("all")
    assert world.counter.taken == [["all+tag"]]


async def test_counter_that_hangs_is_waited_for_only_until_it_has_failed_once() -> None:
    world = World(BROADCAST)
    world.counter.is_remote = True
    world.counter.hangs = asyncio.Event()
    with pytest.raises(DeadlineExceeded) as told:
        await world.wait("all", 0.0)
    assert told.value.sent is Sent.NO
    # The storage's own limit ends the question, when its caller has gone.
    world.counter.error = StoreFailure("timeout")
    world.counter.hangs.set()
    await turns()
    world.counter.hangs = asyncio.Event()
    for _ in range(3):
        world.now += RETRY_INTERVAL_S
        await world.push("all", 0.1)
        await turns()
    assert world.counter.asked == 4, "one an interval, for which nobody waits"
    world.counter.error = None
    world.counter.hangs.set()
    await world.pacer.aclose()
    await world.push("all")
    assert world.counter.taken == [["all+tag"]]


async def test_calls_go_on_behind_one_that_waits_when_the_counter_fails_since() -> None:
    """The first would wait as long as it was told before: nobody who comes after it would be let through until then."""
    world = World(BROADCAST)
    world.counter.waits["all+tag"] = 45.0
    first = asyncio.create_task(world.wait("all"))
    await turns()
    assert world.slept == [45.0]
    world.counter.error = StoreFailure("connection")
    second = asyncio.create_task(world.wait("all"))
    await turns()
    assert (first.done(), second.done()) == (True, True)
    assert (await first).number < (await second).number


async def test_call_that_was_paced_out_waits_as_long_as_it_was_told() -> None:
    world = World(BROADCAST)
    world.awake.set()
    await world.pacer.wait(Caller().call(Countdown(60.0)), {"all": 1}, None, 0.25)
    assert world.slept == [0.25]


# Over a lane.

TWO_AN_HOUR = read_quotas({SINGLE: "2/hour"}, CLASSES)


async def test_what_is_not_sent_costs_nothing_of_the_quota() -> None:
    refused = raises(httpx.ConnectError("refused"), is_asked=False)
    bench = Bench([refused, refused, refused, answers(), answers(), answers()], quotas=TWO_AN_HOUR, budget_ratio=1.0)
    with pytest.raises(Exception, match="nothing was sent"):
        await bench.deliver(Caller().call())
    assert await bench.deliver(Caller().call()) == "200 ok x1"
    assert await bench.deliver(Caller().call()) == "200 ok x1"
    with pytest.raises(QuotaExceeded) as spent:
        await bench.deliver(Caller().call())
    assert 3500 < spent.value.retry_after_s <= 3600
    assert (bench.transport.requests, spent.value.attempts) == (5, 0)


class Lost:
    """The claim of a call whose request id another has taken over."""

    def check(self) -> None:
        raise Withheld

    async def begin_sending(self) -> None:
        raise AssertionError

    def settle_later(self, outcome: object) -> None:
        raise AssertionError


async def test_call_that_lost_its_request_id_costs_nothing_of_the_quota() -> None:
    bench, call = Bench([answers(), answers(), answers()], quotas=TWO_AN_HOUR), Caller().call()
    call.claim = Lost()
    with pytest.raises(Withheld):
        await bench.deliver(call)
    assert bench.transport.bodies == []
    assert [await bench.deliver(Caller().call()) for _ in range(2)] == ["200 ok x1"] * 2


@pytest.mark.parametrize("quotas", [(), TWO_AN_HOUR], ids=["no-quota", "quota"])
async def test_calls_that_had_passed_when_the_vendor_refused_for_its_quota_are_held_back(
    quotas: Sequence[Quota],
) -> None:
    bench = Bench([answers(status=TOO_MANY), answers(), answers()], quotas=quotas, max_in_flight=1)
    results = await asyncio.gather(
        *(bench.deliver(Caller().call(Countdown(5.0))) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [QuotaExceeded] * 3
    assert bench.transport.bodies == [BODY], "only the first was sent"
    assert bench.transport.requests == 1, "and no other took a connection"
    assert bench.admission.in_flight == 0


async def test_refusal_of_the_vendor_tells_no_longer_time_than_configured() -> None:
    bench = Bench([answers(status=TOO_MANY)], max_pause_s=2.5)
    with pytest.raises(QuotaExceeded) as refused:
        await bench.deliver(Caller().call())
    assert refused.value.retry_after_s == 2.5
    assert 2.0 < bench.pacer.paused_for_s[SINGLE] <= 2.5


async def test_call_that_lost_a_race_waits_before_it_tries_again() -> None:
    """Another sidecar counts between the look and the count: the counter says "now", and then how long."""
    slept: list[float] = []

    class Contended(Counter):
        async def take(self, charges: Sequence[Charge]) -> float:
            return 0.0 if slept else 0.75

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    bench = Bench([answers(), answers()], quotas=TWO_AN_HOUR, counter=Contended(), pace=sleep)
    assert await bench.deliver(Caller().call()) == "200 ok x1"
    assert slept == [0.75]


async def test_every_attempt_that_is_sent_counts() -> None:
    bench = Bench([answers(BUSY), answers(BUSY), answers()], quotas=TWO_AN_HOUR, budget_ratio=1.0)
    with pytest.raises(QuotaExceeded) as spent:
        await bench.deliver(Caller().call(), is_repeatable_when_busy=True)
    assert spent.value.attempts == 2
    assert len(bench.transport.bodies) == 2
    assert bench.admission.in_flight == 0


async def test_concurrent_calls_never_exceed_the_quota() -> None:
    bench = Bench([answers()] * 8, quotas=TWO_AN_HOUR, max_in_flight=8)
    results = await asyncio.gather(*(bench.deliver(Caller().call()) for _ in range(8)), return_exceptions=True)
    assert [result for result in results if isinstance(result, str)] == ["200 ok x1"] * 2
    assert all(isinstance(result, QuotaExceeded) for result in results if not isinstance(result, str))
    assert len(bench.transport.bodies) == 2
    assert bench.admission.in_flight == 0


async def test_call_that_waits_for_its_quota_takes_no_place_in_flight() -> None:
    bench = Bench([answers(status=TOO_MANY), answers()], max_in_flight=1)
    with pytest.raises(QuotaExceeded) as refused:
        await bench.deliver(Caller().call())
    assert refused.value.retry_after_s == QUOTA_RETRY_AFTER_S
    waiting = asyncio.create_task(bench.deliver(Caller().call()))
    await turns()
    assert (waiting.done(), bench.admission.in_flight) == (False, 0)
    bench.lane.close()
    with pytest.raises(ShuttingDown):
        await waiting


# The quotas themselves.

NO_LIMIT = "must be a limit, such as 30/hour or 5 per 2 seconds, or several, such as 5/minute; 20/day"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"everybody": "1/hour"}, "everybody: 'everybody' is no class of call: they are all, list, single, tag"),
        ({"all+all": "1/hour"}, "all+all: names a class twice"),
        *(
            ({"all": text}, f"all: {NO_LIMIT}")
            for text in (
                "often", "0/hour", "", "30/fortnight", "30/hour, 2/minute", "30/hour | 2/minute", "30/hour;", ";",
                "30", "30 hour", "-1/hour", "1.5/hour", "5 per 0 seconds", "1000000001/hour", "1/11 years",
                "9" * 5000 + "/hour",
            )
        ),
        ({"all": "5/minute; 20/60 seconds"}, "all: has two limits for the same time"),
        ({"all+tag": "30/hour", "tag + all": "30/hour"}, "tag + all: is given twice"),
        ({"": "1/hour"}, ": '' is no class of call"),
    ],
)  # fmt: skip
def test_wrong_quota_is_refused_naming_its_key(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        read_quotas(given, CLASSES)
    assert str(refused.value).startswith(said)


# What release 0.1.0 read, by the library that it used.
@pytest.mark.parametrize(
    ("text", "amount", "seconds"),
    [
        ("30/hour", 30, 3600), ("100/second", 100, 1), ("5 per 2 minutes", 5, 120), ("1 per day", 1, 86_400),
        ("30 / hours", 30, 3600), (" 5/2second ", 5, 2), ("5per2minutes", 5, 120), ("0030 PER Hour", 30, 3600),
        ("1/month", 1, 2_592_000), ("1/10 years", 1, 311_040_000),
    ],
)  # fmt: skip
def test_quota_is_read(text: str, amount: int, seconds: int) -> None:
    (quota,) = read_quotas({"tag + all": text}, CLASSES)
    assert (quota.name, quota.classes) == ("all+tag", frozenset({"all", "tag"}))
    assert [(limit.amount, limit.window_s) for limit in quota.limits] == [(amount, seconds)]


def test_quota_may_have_several_limits() -> None:
    (quota,) = read_quotas({"all": "5/minute;20 per day ; 100/2 days"}, CLASSES)
    assert [(limit.amount, limit.window_s) for limit in quota.limits] == [(5, 60), (20, 86_400), (100, 172_800)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("5 per minute", "5/minute"), ("5/60 seconds", "5/minute"), ("5/90 seconds", "5/90 seconds"),
     ("20/2 days", "20/2 days"), ("1/month", "1/30 days")],
)  # fmt: skip
def test_limit_is_shown_as_one_would_write_it(text: str, shown: str) -> None:
    assert str(read_limit(text)) == shown
    assert read_limit(shown) == read_limit(text)
