"""Each store, by a name, with a clock that a test can move (Redis has its own: there the test waits)."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sidecar.config import RedisConfig
from sidecar.stores.memory import MemoryStore
from sidecar.stores.redis import RedisStore
from sidecar.stores.redis_client import build_redis
from sidecar.stores.sqlite import SqliteStore
from sidecar.stores.sqlite_clock import FileClock
from sidecar.stores.store import Store
from tests.support.clock import Clock
from tests.support.redis_server import RedisServer, redis_server

WINDOW_S = 3600.0
PREFIX = "test:"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def file_clock(clock: Clock) -> FileClock:
    """Return a file's clock for which wall and uptime are one, so that its times are a test's."""
    return FileClock(wall=clock, uptime=clock, boot="boot")


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Give a Redis that the tests share; each takes keys of its own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    """Give each store in turn, ready."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis")
        client = build_redis(RedisConfig(url=server.url, timeout_s=10))
        await client.flushall()
        built: Store = RedisStore(client, window_s=WINDOW_S, key_prefix=PREFIX)
        await built.start()
        yield built
        await built.aclose()
        await client.aclose()
        return
    if request.param == "sqlite":
        built = SqliteStore(tmp_path / "ids.db", window_s=WINDOW_S, max_bytes=10_000_000, clock=file_clock(clock))
    else:
        built = MemoryStore(window_s=WINDOW_S, max_bytes=10_000_000, clock=clock)
    await built.start()
    yield built
    await built.aclose()
