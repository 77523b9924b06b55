"""Each app's records in a file are counted beside the store's steps, which do not wait for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sidecar.stores import sqlite_share
from sidecar.stores.sqlite import SqliteStore
from sidecar.stores.sqlite_share import COUNT_INTERVAL_S, ROW_BYTES
from sidecar.stores.store import StoreFailure, StoreFull
from tests.support.clock import Clock

from .conftest import WINDOW_S, file_clock

SHARE = "idempotency.max_app_share"
# Beyond what the empty file takes.
MAX_APP_BYTES = 30_000
# Longer than any test waits.
ENDLESS = """
WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 2000000000)
SELECT 'loud', count(*), 0, ?1 FROM numbers
"""


class Counts:
    """The counts that the store has asked for, and that the test makes."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, count: Callable[[], None]) -> None:
        self.waiting.append(count)

    async def make(self) -> None:
        await asyncio.to_thread(self.waiting.pop())


@pytest.fixture
def counts() -> Counts:
    return Counts()


def build(directory: Path, clock: Clock, counts: Counts) -> SqliteStore:
    return SqliteStore(
        directory / "ids.db", window_s=WINDOW_S, max_bytes=1_000_000, max_app_bytes=MAX_APP_BYTES,
        clock=file_clock(clock), count_in=counts,
    )  # fmt: skip


@pytest.fixture
async def store(tmp_path: Path, clock: Clock, counts: Counts) -> AsyncIterator[SqliteStore]:
    store = build(tmp_path, clock, counts)
    await store.start()
    yield store
    await store.aclose()


async def reserve(store: SqliteStore, numbers: range, app: str = "loud") -> None:
    for number in numbers:
        key = f"{app}{number}".encode()
        assert await store.reserve(key, owner=f"{app}/{number}", fingerprint=b"f" * 16, lease_s=10) is None


async def test_no_step_waits_for_a_count_and_neither_does_the_end(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_share, "_COUNT", ENDLESS)
    stores = [
        SqliteStore(
            tmp_path / "ids.db", window_s=WINDOW_S, max_bytes=1_000_000, max_app_bytes=1, clock=file_clock(clock)
        )
        for _ in range(2)
    ]
    for store in stores:
        await store.start()
    async with asyncio.timeout(10):
        await reserve(stores[0], range(1))
        assert await stores[0].begin_sending(b"loud0", owner="loud/0", lease_s=10)
        assert await stores[1].renew(b"loud0", owner="loud/0", lease_s=10), "as another process does"
        for store in stores:
            await store.aclose()


async def test_one_count_at_a_time_and_until_the_first_nobody_is_refused(store: SqliteStore, counts: Counts) -> None:
    await reserve(store, range(400))
    assert len(counts.waiting) == 1
    await counts.make()
    with pytest.raises(StoreFull, match=SHARE):
        await reserve(store, range(400, 401))
    await reserve(store, range(1), app="quiet")
    assert counts.waiting == [], "its interval is not over"


async def test_changes_since_a_count_began_are_added_to_it(store: SqliteStore, clock: Clock, counts: Counts) -> None:
    first = MAX_APP_BYTES // ROW_BYTES  # 181
    await reserve(store, range(first))
    while not counts.waiting:
        await reserve(store, range(first, first + 1), app="quiet")
        first += 1
    await counts.make()
    with pytest.raises(StoreFull, match=SHARE):
        await reserve(store, range(1000, 1001))
    clock.now += COUNT_INTERVAL_S
    with pytest.raises(StoreFull, match=SHARE):
        await reserve(store, range(1000, 1001))
    assert len(counts.waiting) == 1
    for number in range(3):
        assert await store.release(f"loud{number}".encode(), owner=f"loud/{number}")
    await counts.make()
    await reserve(store, range(1000, 1003))
    with pytest.raises(StoreFull, match=SHARE):
        await reserve(store, range(1003, 1004))


async def test_count_that_took_long_is_not_made_again_soon(store: SqliteStore, clock: Clock, counts: Counts) -> None:
    await reserve(store, range(400))
    clock.now += 2
    await counts.make()
    for elapsed_s, waiting in ((99, 0), (2, 1)):
        clock.now += elapsed_s
        with pytest.raises(StoreFull, match=SHARE):
            await reserve(store, range(400, 401))
        assert len(counts.waiting) == waiting, "2 s in 100 are 2 %"


async def test_count_is_of_the_file_that_the_store_uses(
    tmp_path: Path, clock: Clock, store: SqliteStore, counts: Counts
) -> None:
    await reserve(store, range(400))
    for file in tmp_path.iterdir():
        file.rename(file.with_name(f"old-{file.name}"))
    other = build(tmp_path, clock, Counts())
    await other.start()
    await reserve(other, range(1))
    before = sorted(file.name for file in tmp_path.iterdir())
    await counts.make()
    with pytest.raises(StoreFailure, match=r"^file_replaced$"):
        await reserve(store, range(400, 401))
    assert sorted(file.name for file in tmp_path.iterdir()) == before
    assert await other.begin_sending(b"loud0", owner="loud/0", lease_s=10)
    await other.aclose()


async def test_store_that_ends_during_a_count_leaves_no_log(tmp_path: Path, clock: Clock, counts: Counts) -> None:
    store = build(tmp_path, clock, counts)
    await store.start()
    await reserve(store, range(400))
    await store.aclose()
    await counts.make()
    assert [file.name for file in tmp_path.iterdir()] == ["ids.db"]
