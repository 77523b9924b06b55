"""Calls within the vendor's quotas: who waits how long, who is told how long it would take, and what pauses whom."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import httpx
import pytest

from sidecar.delivery.call import Withheld
from sidecar.delivery.pacing import LIMITER_PAUSE_S, MIN_WAIT_S, PacedOut, Pacer
from sidecar.delivery.quota import Limiter, LimiterFailure, Quota, read_quotas
from sidecar.errors import DeadlineExceeded, Overloaded, QuotaExceeded, Sent, ShuttingDown
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
    """A limiter that says what a test tells it; `taken` are the calls that were counted."""

    def __init__(self) -> None:
        self.waits: dict[str, float] = {}
        self.taken: list[str] = []
        self.error: LimiterFailure | None = None
        self.hangs = False

    async def wait_s(self, quota: Quota, subject: str) -> float:
        assert subject == "account"
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return self.waits.get(quota.name, 0.0)

    async def take(self, quota: Quota, subject: str) -> float:
        if (wait_s := await self.wait_s(quota, subject)) > 0:
            return wait_s
        self.taken.append(quota.name)
        return 0.0


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
            subject="account",
            quotas=read_quotas(quotas, CLASSES),
            limiter=self.counter,
            max_waiting=max_waiting,
            overload_retry_after_s=1.5,
            metrics=self.metrics,
            clock=lambda: self.now,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.awake.wait()
        self.now += seconds

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"app": APP, **labels}) or 0.0


BROADCAST = {"all+tag": "30/hour"}


async def test_class_without_a_quota_has_nothing_to_wait_for() -> None:
    world = World(BROADCAST)
    assert [world.pacer.must_wait(name) for name in CLASSES] == [True, True, False, False]


async def test_call_waits_for_its_turn_when_its_deadline_allows() -> None:
    world = World(BROADCAST)
    world.counter.waits["all+tag"] = 12.5
    waiting = asyncio.create_task(world.pacer.wait(Caller().call(Countdown(60.0)), "all"))
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
        await world.pacer.wait(Caller().call(Countdown(60.0)), "tag")
    assert (told.value.retry_after_s, told.value.subject, told.value.sent) == (1800.25, "app:shop", Sent.NO)
    assert world.slept == []


async def test_the_longest_of_several_quotas_counts_and_all_are_taken() -> None:
    world = World({"single": "100/second", "single+list": "1000/hour"})
    world.counter.waits = {"single": 0.5, "list+single": 30.0}
    with pytest.raises(QuotaExceeded) as told:
        await world.pacer.wait(Caller().call(Countdown(20.0)), "single")
    assert told.value.retry_after_s == 30.0
    world.counter.waits = {}
    await world.pacer.take("single")
    assert world.counter.taken == ["single", "list+single"]


async def test_place_that_somebody_else_took_is_paced_out() -> None:
    world = World(BROADCAST)
    world.counter.waits["all+tag"] = 1.0
    with pytest.raises(PacedOut):
        await world.pacer.take("all")


async def test_refusal_of_the_vendor_pauses_what_shares_the_quota() -> None:
    world = World(BROADCAST)
    world.pacer.slow_down("tag", 100.0)
    for call_class, retry_after_s in {"all": 100.0, "tag": 100.0, "single": None, "list": None}.items():
        call = Caller().call(Countdown(60.0))
        if retry_after_s is None:
            await world.pacer.wait(call, call_class)
        else:
            with pytest.raises(QuotaExceeded) as told:
                await world.pacer.wait(call, call_class)
            assert told.value.retry_after_s == retry_after_s
    assert world.pacer.paused_for_s == {"all+tag": 100.0}
    assert world.sample("push_sidecar_vendor_slowdowns_total") == 1
    assert world.sample("push_sidecar_paused_seconds", classes="all+tag") == 100
    assert world.sample("push_sidecar_paused_seconds", classes="*") == 0


async def test_refusal_of_a_call_without_a_quota_pauses_the_whole_app_until_its_time_is_over() -> None:
    world = World(BROADCAST)
    world.pacer.slow_down("single", 7.0)
    world.pacer.slow_down("single", 3.0)
    for call_class in CLASSES:
        with pytest.raises(QuotaExceeded) as told:
            await world.pacer.wait(Caller().call(Countdown(5.0)), call_class)
        assert told.value.retry_after_s == 7.0, "a pause is never shortened"
    world.now += 7.0
    for call_class in CLASSES:
        await world.pacer.wait(Caller().call(Countdown(5.0)), call_class)
    assert not world.pacer.must_wait("single")


async def test_stop_ends_the_waits_and_refuses_later_ones() -> None:
    world = World(BROADCAST)
    world.counter.waits["all+tag"] = 10.0
    waiting = asyncio.create_task(world.pacer.wait(Caller().call(Countdown(60.0)), "all"))
    await turns()
    world.pacer.close()
    with pytest.raises(ShuttingDown):
        await waiting
    with pytest.raises(ShuttingDown):
        await world.pacer.wait(Caller().call(Countdown(60.0)), "all")


async def test_no_more_wait_than_are_allowed() -> None:
    world = World(BROADCAST, max_waiting=1)
    world.counter.waits["all+tag"] = 10.0
    waiting = asyncio.create_task(world.pacer.wait(Caller().call(Countdown(60.0)), "all"))
    await turns()
    with pytest.raises(Overloaded) as full:
        await world.pacer.wait(Caller().call(Countdown(60.0)), "all")
    assert full.value.retry_after_s == 1.5
    waiting.cancel()
    await asyncio.wait({waiting})
    again = asyncio.create_task(world.pacer.wait(Caller().call(Countdown(60.0)), "all"))
    await turns()
    assert not again.done(), "who hung up has left his place"
    world.pacer.close()
    await asyncio.wait({again})
    assert isinstance(again.exception(), ShuttingDown)


async def test_calls_go_on_when_they_cannot_be_counted(caplog: pytest.LogCaptureFixture) -> None:
    world = World(BROADCAST)
    world.counter.error = LimiterFailure("ConnectionError")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await world.pacer.wait(Caller().call(), "all")
            await world.pacer.take("all")
    assert [record.message for record in caplog.records] == ["quotas are not counted"], "once a minute"
    failed = "push_sidecar_limiter_failures_total"
    assert (world.sample(failed, kind="ConnectionError"), world.sample(failed, kind="skipped")) == (1, 5)
    world.now += LIMITER_PAUSE_S
    world.counter.error = None
    await world.pacer.take("all")
    assert world.counter.taken == ["all+tag"], "it is asked again after a while"


async def test_counter_that_hangs_costs_no_caller_his_answer() -> None:
    world = World(BROADCAST)
    world.counter.hangs = True
    with pytest.raises(DeadlineExceeded) as told:
        await world.pacer.wait(Caller().call(Countdown(0.0)), "all")
    assert told.value.sent is Sent.NO


async def test_call_that_found_no_place_waits_though_the_counter_says_that_there_is_one() -> None:
    """Replicas whose clocks differ see different windows."""
    world = World(BROADCAST)
    world.awake.set()
    await world.pacer.wait(Caller().call(Countdown(60.0)), "all", 0.25)
    assert world.slept == [0.25]
    world.counter.waits["all+tag"] = 1e-9
    with pytest.raises(PacedOut) as paced_out:
        await world.pacer.take("all")
    assert paced_out.value.wait_s == MIN_WAIT_S


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

    async def settle(self, outcome: object) -> None:
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
    assert bench.admission.in_flight == 0


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


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"everybody": "1/hour"}, "everybody: 'everybody' is no class of call: they are all, list, single, tag"),
        ({"all+all": "1/hour"}, "all+all: names a class twice"),
        ({"all": "often"}, "all: must be one limit, such as 30/hour or 5 per 2 seconds"),
        ({"all": "0/hour"}, "all: must be one limit, such as 30/hour or 5 per 2 seconds"),
        ({"all": ""}, "all: must be one limit, such as 30/hour or 5 per 2 seconds"),
        ({"all": "30/hour; 2/minute"}, "all: must be one limit"),
        ({"all": "30/hour, 2/minute"}, "all: must be one limit"),
        ({"all": "30/hour | 2/minute"}, "all: must be one limit"),
        ({"all+tag": "30/hour", "tag + all": "30/hour"}, "tag + all: is given twice"),
        ({"": "1/hour"}, ": '' is no class of call"),
    ],
)
def test_wrong_quota_is_refused_naming_its_key(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("+", r"\+")) as refused:
        read_quotas(given, CLASSES)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "amount", "seconds"),
    [("30/hour", 30, 3600), ("100/second", 100, 1), ("5 per 2 minutes", 5, 120), ("1 per day", 1, 86400)],
)
def test_quota_is_read(text: str, amount: int, seconds: int) -> None:
    (quota,) = read_quotas({"tag + all": text}, CLASSES)
    assert (quota.name, quota.classes) == ("all+tag", frozenset({"all", "tag"}))
    assert (quota.limit.amount, quota.limit.get_expiry()) == (amount, seconds)


async def test_limiter_counts_by_subject_and_quota() -> None:
    one, other = read_quotas({"single": "2/hour", "list": "1/hour"}, CLASSES)
    limiter = Limiter()
    assert await limiter.wait_s(one, "a") == 0
    assert [await limiter.take(one, "a") for _ in range(2)] == [0, 0]
    assert 3500 < await limiter.take(one, "a") <= 3600
    assert 3500 < await limiter.wait_s(one, "a") <= 3600
    assert await limiter.take(one, "b") == 0
    assert await limiter.take(other, "a") == 0
