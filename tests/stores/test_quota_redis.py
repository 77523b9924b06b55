"""The counter in Redis: steps of its clock, what it leaves behind, what a failure is called, one script a question."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from sidecar.config import RedisConfig
from sidecar.stores.quota import Charge, Limit
from sidecar.stores.quota_redis import RedisCounter
from sidecar.stores.redis_client import build_redis
from sidecar.stores.store import StoreFailure
from tests.support.redis_server import RedisServer, redis_server

from .conftest import PREFIX
from .test_quota import about, shift

MINUTE = Limit(3, 60)
KEY = f"{PREFIX}counted:account:single:60"
DAY_S = 86_400.0


def charge(cost: int = 1, limit: Limit = MINUTE) -> Charge:
    return Charge(f"account:single:{limit.window_s}", limit, cost)


@pytest.fixture
async def client(redis: RedisServer) -> AsyncIterator[Redis]:
    built = build_redis(RedisConfig(url=redis.url, timeout_s=5.0))
    await built.flushall()
    yield built
    await built.aclose()


@pytest.fixture
def counter(client: Redis) -> RedisCounter:
    return RedisCounter(client, PREFIX)


async def test_clock_that_is_set_back_lets_nobody_wait_longer_than_a_window(
    counter: RedisCounter, client: Redis
) -> None:
    """Seen from a clock that was set back by a day, all that was counted lies a day ahead."""
    for _ in range(3):
        assert await counter.take([charge()]) == 0
    await shift(client, DAY_S)
    (room,) = await counter.look([charge()])
    assert (room.left, room.wait_s) == (0, 60.0), "as if it were counted now"
    await shift(client, -30)
    assert await counter.take([charge()]) == about(30), "and it goes on from there"
    await shift(client, -30)
    assert await counter.take([charge()]) == 0


async def test_clock_that_is_set_back_a_little_moves_only_what_is_ahead(counter: RedisCounter, client: Redis) -> None:
    assert await counter.take([charge()]) == 0
    await shift(client, -40)
    assert await counter.take([charge(2)]) == 0
    await shift(client, 10)
    rooms = await counter.look([charge(1), charge(3)])
    assert [room.wait_s for room in rooms] == [about(30), 60.0]
    assert await client.llen(KEY) == 2


async def test_clock_that_is_set_ahead_frees_all(counter: RedisCounter, client: Redis) -> None:
    assert await counter.take([charge(3)]) == 0
    await shift(client, -DAY_S)
    assert await counter.take([charge(3)]) == 0
    assert await client.llen(KEY) == 1


async def test_nothing_stays_for_ever(counter: RedisCounter, client: Redis) -> None:
    assert await counter.take([charge(), charge(1, Limit(5, 3600))]) == 0
    await counter.look([charge(1, Limit(5, 86_400))])
    assert sorted(await client.keys()) == sorted([KEY.encode(), KEY.replace(":60", ":3600").encode()])
    assert 55_000 < await client.pttl(KEY) <= 60_000
    assert 3_590_000 < await client.pttl(KEY.replace(":60", ":3600")) <= 3_600_000


async def test_entries_are_joined_within_a_thousandth_of_the_window(counter: RedisCounter, client: Redis) -> None:
    large = Limit(1001, 1000 * 1000)  # a grain is a thousand seconds
    key = f"{PREFIX}counted:account:single:1000000"
    for cost in (1, 2, 3):
        assert await counter.take([charge(cost, large)]) == 0
    assert await client.llen(key) <= 2, "two where the test falls on the edge of two grains"
    (room,) = await counter.look([charge(1, large)])
    assert room.left == 1001 - 6
    await shift(client, -2000)
    assert await counter.take([charge(995, large)]) == 0
    (room,) = await counter.look([charge(1, large)])
    assert room.left == 0
    assert room.wait_s == about(1_000_000 - 2000)


async def test_thousand_entries_are_found_in_few_steps(counter: RedisCounter, client: Redis) -> None:
    """Not by time, which is the machine's: by what the script asks of the list."""
    limit = Limit(1000, 3600)
    now_us = round(time.time() * 1e6)
    entries = [f"{now_us - (1000 - index) * 1_000_000}:{index + 1}:1" for index in range(1000)]
    await client.rpush(f"{PREFIX}counted:account:single:3600", *entries)
    await client.config_resetstat()
    rooms = await counter.look([charge(1, limit), charge(700, limit), charge(1000, limit)])
    waits = [room.wait_s for room in rooms]
    assert waits == [about(3600 - 1000), about(3600 - 301), about(3600 - 1)]
    stats = await client.info("commandstats")
    assert stats["cmdstat_lindex"]["calls"] < 60
    assert "cmdstat_lrange" not in stats


async def test_question_is_one_round_trip_for_all_limits(counter: RedisCounter, client: Redis) -> None:
    several = [charge(), charge(1, Limit(5, 3600)), charge(1, Limit(5, 86_400))]
    await counter.take(several)  # the script is there from now on
    await client.config_resetstat()
    await counter.take(several)
    stats = await client.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 1
    assert "cmdstat_eval" not in stats


async def test_keys_of_the_release_before_are_not_touched(counter: RedisCounter, client: Redis) -> None:
    old = f"{PREFIX}quota:LIMITS:LIMITER/account/single/3/1/minute"
    await client.lpush(old, "1.0")
    assert await counter.take([charge()]) == 0
    assert await client.lrange(old, 0, -1) == [b"1.0"]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (("--requirepass", "secret"), "auth"),
        (("--maxmemory", "1"), "full"),
        (("--replicaof", "127.0.0.1 1"), "read_only"),
    ],
    ids=["auth", "full", "read_only"],
)
async def test_failure_has_a_kind(tmp_path: Path, options: tuple[str, str], kind: str) -> None:
    with redis_server(tmp_path, options[0], *options[1].split()) as server:
        client = build_redis(RedisConfig(url=server.url, timeout_s=5.0))
        with pytest.raises(StoreFailure) as failure:
            await RedisCounter(client, PREFIX).take([charge()])
        await client.aclose()
    assert failure.value.kind == kind


async def test_redis_that_is_away_is_a_failure(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        client = build_redis(RedisConfig(url=server.url, timeout_s=5.0))
    with pytest.raises(StoreFailure) as failure:
        await RedisCounter(client, PREFIX).look([charge()])
    await client.aclose()
    assert failure.value.kind == "connection"
