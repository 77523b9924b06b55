"""What every counter of quotas does, and that the one in memory does exactly what a plain model does.

Redis has its own clock: there time passes by dating back what was counted.
"""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from sidecar.config import RedisConfig
from sidecar.stores.quota import MAX_ENTRIES, Charge, Limit, QuotaCounter
from sidecar.stores.quota_memory import MemoryCounter
from sidecar.stores.quota_redis import RedisCounter
from sidecar.stores.redis_client import build_redis
from tests.support.clock import Clock
from tests.support.redis_server import RedisServer

from .conftest import PREFIX

MINUTE = Limit(5, 60)
DAY = Limit(7, 86_400)
# Longer than a question to Redis takes, shorter than any wait of these tests.
SLACK_S = 2.0


@dataclass
class Stage:
    """A counter, and a way to let time pass for it."""

    counter: QuotaCounter
    clock: Clock
    redis: "Redis | None" = None

    async def take(self, *charges: Charge) -> float:
        return await self.counter.take(charges)

    async def left(self, *charges: Charge) -> list[int]:
        return [room.left for room in await self.counter.look(charges)]

    async def wait_s(self, *charges: Charge) -> list[float]:
        return [room.wait_s for room in await self.counter.look(charges)]

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        if self.redis is not None:
            await shift(self.redis, -seconds)


async def shift(redis: Redis, seconds: float) -> None:
    """Move all that was counted in time."""
    for key in await redis.keys():
        for index, entry in enumerate(await redis.lrange(key, 0, -1)):
            counted_at, total, cost = (int(part) for part in entry.split(b":"))
            await redis.lset(key, index, f"{counted_at + round(seconds * 1e6)}:{total}:{cost}")


@pytest.fixture(params=["memory", "redis"])
async def stage(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Stage]:
    if request.param == "memory":
        yield Stage(MemoryCounter(clock), clock)
        return
    server: RedisServer = request.getfixturevalue("redis")
    client = build_redis(RedisConfig(url=server.url, timeout_s=5.0))
    await client.flushall()
    yield Stage(RedisCounter(client, PREFIX), clock, client)
    await client.aclose()


def charge(cost: int = 1, limit: Limit = MINUTE, key: str = "a") -> Charge:
    return Charge(f"{key}:{limit.window_s}", limit, cost)


def about(seconds: float) -> object:
    """Match a wait: Redis' clock goes on while it is asked."""
    return pytest.approx(seconds - SLACK_S / 2, abs=SLACK_S / 2)


async def test_as_many_as_there_are_places_and_no_more(stage: Stage) -> None:
    assert [await stage.take(charge()) for _ in range(5)] == [0.0] * 5
    assert await stage.take(charge()) == about(60)
    assert await stage.left(charge()) == [0]


async def test_window_moves_so_each_place_is_free_when_its_own_time_is_over(stage: Stage) -> None:
    for _ in range(5):
        assert await stage.take(charge()) == 0
        await stage.pass_time(10)
    assert await stage.wait_s(*(charge(cost) for cost in (1, 2, 3, 5))) == [about(10), about(20), about(30), about(50)]
    await stage.pass_time(10 - SLACK_S)
    assert await stage.take(charge()) == about(SLACK_S)
    await stage.pass_time(SLACK_S)
    assert await stage.left(charge()) == [1]
    assert await stage.take(charge()) == 0
    assert await stage.take(charge()) == about(10)


async def test_what_is_refused_counts_nothing(stage: Stage) -> None:
    assert await stage.take(charge(3)) == 0
    assert await stage.take(charge(3)) > 0
    assert await stage.left(charge()) == [2]
    assert await stage.take(charge(2)) == 0


async def test_look_counts_nothing(stage: Stage) -> None:
    for _ in range(3):
        assert await stage.wait_s(charge(5)) == [0.0]
    assert await stage.left(charge()) == [5]


async def test_all_limits_are_taken_or_none(stage: Stage) -> None:
    both = (charge(2), charge(2, DAY))
    assert await stage.take(*both) == 0
    assert await stage.take(*both) == 0
    assert await stage.take(*both) == about(60), "the minute's"
    assert await stage.left(*both) == [1, 3]
    await stage.pass_time(60)
    assert await stage.take(charge(4), charge(4, DAY)) == about(86_340), "the day's"
    assert await stage.left(*both) == [5, 3]
    assert await stage.take(charge(3), charge(3, DAY)) == 0
    assert await stage.left(*both) == [2, 0]


async def test_keys_are_counted_apart(stage: Stage) -> None:
    assert await stage.take(charge(5)) == 0
    assert await stage.left(charge(key="a"), charge(key="b")) == [0, 5]


async def test_wait_is_never_longer_than_the_window(stage: Stage) -> None:
    assert await stage.take(charge(5)) == 0
    assert 0 < await stage.take(charge(5)) <= 60


async def test_call_of_many_places_waits_for_all_of_them(stage: Stage) -> None:
    recipients = Limit(6000, 60)
    assert await stage.take(charge(4000, recipients)) == 0
    await stage.pass_time(20)
    assert await stage.take(charge(2000, recipients)) == 0
    assert await stage.wait_s(charge(1, recipients), charge(4000, recipients)) == [about(40), about(40)]
    assert await stage.wait_s(charge(4001, recipients)) == [about(60)]


async def test_changed_amount_holds_for_what_was_counted_before(stage: Stage) -> None:
    assert await stage.take(charge(5)) == 0
    await stage.pass_time(30)
    assert await stage.take(charge(4, Limit(9, 60))) == 0
    assert await stage.wait_s(charge(1, Limit(5, 60))) == [about(30)], "when the five are over, of which one was needed"
    assert await stage.left(charge(1, Limit(3, 60))) == [0]


async def test_calls_at_the_same_time_share_what_there_is(stage: Stage) -> None:
    waits = await asyncio.gather(*(stage.take(charge()) for _ in range(20)))
    assert sum(wait_s == 0 for wait_s in waits) == 5


async def test_large_limit_frees_none_early_and_none_much_later(stage: Stage) -> None:
    large = Limit(1_000_000, 1000)  # calls within a second are one
    stage.clock.now = 5_000_000.0
    for _ in range(40):
        assert await stage.take(charge(1, large)) == 0
        await stage.pass_time(0.1)
    assert await stage.left(charge(1, large)) == [1_000_000 - 40]
    await stage.pass_time(1000 - 4 - SLACK_S)
    assert await stage.left(charge(1, large)) == [1_000_000 - 40], "none is forgotten before its time"
    await stage.pass_time(SLACK_S + 4 + 1)
    assert await stage.left(charge(1, large)) == [1_000_000], "and none is kept longer than a thousandth after it"


async def test_large_limit_takes_a_bounded_memory(clock: Clock) -> None:
    counter, large = MemoryCounter(clock), Limit(1_000_000, 1000)
    tracemalloc.start()
    try:
        for _ in range(6000):
            clock.now += 0.15
            await counter.take([charge(1, large)])
        now_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now_bytes < 200 * MAX_ENTRIES, "six of them are one"


# The one in memory against a plain model: a list of all that was counted, looked through each time.

TICK_S = 1e-6
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 999_999, 1_000_000, 1_000_001, 250_000, 3_000_000]),  # microseconds that pass
        st.integers(1, 4),  # what the call costs
        st.booleans(),  # whether it waits as long as it is told, if it must
    ),
    max_size=40,
)
LIMITS = st.lists(
    st.builds(Limit, st.integers(1, 6), st.integers(1, 4)),
    min_size=1,
    max_size=3,
    unique_by=lambda limit: limit.window_s,
)


def result_of(coroutine: Coroutine[Any, Any, float]) -> float:
    """Return what a coroutine returns that waits for nothing."""
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    value: float = end.value.value
    return value


class Model:
    def __init__(self, limits: Sequence[Limit]) -> None:
        self.limits = limits
        self.counted: list[tuple[int, list[int]]] = []

    def fits(self, now_us: int, costs: Sequence[int]) -> bool:
        return all(
            sum(past[index] for at_us, past in self.counted if now_us - at_us < limit.window_s * 1_000_000)
            + costs[index]
            <= limit.amount
            for index, limit in enumerate(self.limits)
        )


@settings(deadline=None)
@given(LIMITS, STEPS)
def test_memory_takes_what_the_model_takes_and_its_wait_is_exact(
    limits: list[Limit], steps: list[tuple[int, int, bool]]
) -> None:
    clock, model = Clock(1000.0), Model(limits)
    counter = MemoryCounter(clock)
    now_us = 1_000_000_000

    def take(costs: list[int]) -> float:
        clock.now = now_us / 1e6
        charges = [charge(cost, limit) for cost, limit in zip(costs, limits, strict=True)]
        wait_s = result_of(counter.take(charges))
        assert (wait_s == 0) == model.fits(now_us, costs)
        if wait_s == 0:
            model.counted.append((now_us, costs))
        return wait_s

    for passed_us, cost, waits in steps:
        now_us += passed_us
        costs = [min(cost, limit.amount) for limit in limits]
        if (wait_s := take(costs)) > 0:
            wait_us = round(wait_s / TICK_S)
            assert wait_us <= max(limit.window_s for limit in limits) * 1_000_000
            assert not model.fits(now_us + wait_us - 1, costs), "a tick before"
            assert model.fits(now_us + wait_us, costs), "and then"
            if waits:
                now_us += wait_us
                assert take(costs) == 0


@settings(deadline=None)
@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=200))
def test_never_more_than_the_amount_within_any_window_though_calls_are_joined(gaps_us: list[int]) -> None:
    limit, clock = Limit(1001, 1), Clock(1000.0)
    counter = MemoryCounter(clock)
    now_us = 1_000_000_000
    taken: list[int] = []
    for gap_us in gaps_us:
        now_us += gap_us
        clock.now = now_us / 1e6
        if result_of(counter.take([charge(143, limit)])) == 0:  # seven of them are the limit
            taken.append(now_us)
    for start, at_us in enumerate(taken):
        assert sum(other_us - at_us < 1_000_000 for other_us in taken[start:]) <= 7
