"""The SQLite store: its file, its bound, other processes on it, and what a `kill -9` leaves."""

import asyncio
import contextlib
import logging
import sqlite3
import stat
import subprocess
import sys
import threading
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from sidecar.config import ConfigError
from sidecar.stores.sqlite import BUSY_TIMEOUT_S, SCHEMA_VERSION, SqliteStore
from sidecar.stores.store import State, StoreFailure, StoreFull
from tests.support.clock import Clock
from tests.support.garbage import uncollected
from tests.support.process import ROOT

from .conftest import WINDOW_S, file_clock

LEASE_S = 10.0
FINGERPRINT = b"f" * 16


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def build(path: Path, clock: Clock, *, max_bytes: int = 10_000_000) -> SqliteStore:
    return SqliteStore(path, window_s=WINDOW_S, max_bytes=max_bytes, clock=file_clock(clock))


async def fill(store: SqliteStore, number: int, answer: bytes = b"answer") -> None:
    assert await store.reserve(key(number), owner="one", fingerprint=FINGERPRINT, lease_s=LEASE_S) is None
    assert await store.begin_sending(key(number), owner="one", lease_s=LEASE_S)
    assert await store.settle(key(number), owner="one", state=State.DONE, answer=answer)


async def test_records_are_there_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    first = build(tmp_path / "ids.db", clock)
    await first.start()
    await fill(first, 1)
    await first.aclose()
    second = build(tmp_path / "ids.db", clock)
    await second.start()
    record = await second.reserve(key(1), owner="two", fingerprint=b"x", lease_s=LEASE_S)
    await second.aclose()
    assert record is not None
    assert (record.state, record.fingerprint, record.answer) == (State.DONE, FINGERPRINT, b"answer")


async def test_nobody_else_can_read_the_file(tmp_path: Path, clock: Clock) -> None:
    store = build(tmp_path / "ids.db", clock)
    await store.start()
    await fill(store, 1)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    await store.aclose()


async def test_two_on_one_file_share_it(tmp_path: Path, clock: Clock) -> None:
    stores = [build(tmp_path / "ids.db", clock) for _ in range(2)]
    for store in stores:
        await store.start()
    for number in range(20):
        found = await asyncio.gather(
            *(
                store.reserve(key(number), owner=f"{number}-{index}", fingerprint=FINGERPRINT, lease_s=LEASE_S)
                for index, store in enumerate(stores * 3)
            )
        )
        assert found.count(None) == 1
    for store in stores:
        await store.aclose()


CHANGE_JOURNAL = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('PRAGMA journal_mode = DELETE')"


async def test_second_store_in_the_process_leaves_the_first_its_lock(tmp_path: Path, clock: Clock) -> None:
    """Without it another process that ends takes the log away from under the first."""
    stores = [build(tmp_path / "ids.db", clock) for _ in range(2)]
    for store in stores:
        await store.start()
    program = [sys.executable, "-c", CHANGE_JOURNAL, str(tmp_path / "ids.db")]
    changed = await asyncio.to_thread(subprocess.run, program, capture_output=True, text=True, check=False)
    assert "database is locked" in changed.stderr
    for store in stores:
        await store.aclose()


async def test_records_whose_window_is_over_leave_the_file_some_at_a_time(tmp_path: Path, clock: Clock) -> None:
    def count() -> int:
        (rows,) = reader.execute("SELECT count(*) FROM requests WHERE length(key) = 16").fetchone()
        return rows

    store = build(tmp_path / "ids.db", clock)
    await store.start()
    for number in range(100):
        await store.reserve(key(number), owner="one", fingerprint=FINGERPRINT, lease_s=2 * WINDOW_S)
    clock.now += WINDOW_S
    reader = sqlite3.connect(tmp_path / "ids.db")
    assert await store.reserve(key(99), owner="two", fingerprint=b"x", lease_s=LEASE_S) is None, "free, though there"
    assert 50 < count() < 100, "some were forgotten, and not all in one call"
    for _ in range(20):
        await store.reserve(key(99), owner="two", fingerprint=b"x", lease_s=LEASE_S)
    assert count() == 1
    reader.close()
    await store.aclose()


async def test_window_over_makes_room_and_frees_the_key(tmp_path: Path, clock: Clock) -> None:
    store = build(tmp_path / "ids.db", clock, max_bytes=200_000)
    await store.start()
    written = 0
    full: StoreFull | None = None
    while full is None:
        try:
            await fill(store, written, answer=bytes(1000))
        except StoreFull as error:
            full = error
        else:
            written += 1
            clock.now += 1
    assert (full.setting, full.retry_after_s) == ("idempotency.max_bytes", WINDOW_S - written)
    assert 80 < written < 200
    record = await store.reserve(key(0), owner="two", fingerprint=b"x", lease_s=LEASE_S)
    assert record is not None, "nothing is dropped within its window"
    clock.now += WINDOW_S
    for number in range(written - 10):  # the pages are filled a little differently now
        await fill(store, number, answer=bytes(1000))
    await store.aclose()


async def test_full_store_of_small_records_has_room_again_when_their_windows_are_over(
    tmp_path: Path, clock: Clock
) -> None:
    """Fewer of them than are forgotten at a time fill a page, and their keys lie anywhere in the index."""

    def scattered(number: int) -> bytes:
        return blake2b(b"%d" % number, digest_size=16).digest()

    store = build(tmp_path / "ids.db", clock, max_bytes=200_000)
    await store.start()
    written = 0
    with contextlib.suppress(StoreFull):
        while True:
            await store.reserve(scattered(written), owner="one", fingerprint=FINGERPRINT, lease_s=LEASE_S)
            written += 1
    clock.now += WINDOW_S
    for number in range(written, written + written // 2):
        assert await store.reserve(scattered(number), owner="one", fingerprint=FINGERPRINT, lease_s=LEASE_S) is None
    await store.aclose()


async def test_two_that_start_at_once_on_a_new_file_both_start(tmp_path: Path, clock: Clock) -> None:
    """One in five meets the other at the one moment that SQLite does not wait for."""
    for attempt in range(40):
        stores = [build(tmp_path / f"{attempt}.db", clock) for _ in range(2)]
        await asyncio.gather(*(store.start() for store in stores))
        await fill(stores[0], 1)
        for store in stores:
            assert await store.reserve(key(1), owner="x", fingerprint=FINGERPRINT, lease_s=LEASE_S) is not None
            await store.aclose()


async def test_file_that_is_locked_at_the_start_is_used_when_it_is_free(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sidecar.stores.sqlite.BUSY_TIMEOUT_S", 0.05)
    other = sqlite3.connect(tmp_path / "ids.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store = build(tmp_path / "ids.db", clock)
    with caplog.at_level(logging.WARNING):
        await store.start()
    assert [record.message for record in caplog.records] == [
        "request id store is locked, and is tried again when it is needed"
    ]
    with pytest.raises(StoreFailure, match=r"^busy$"):
        await fill(store, 1)
    other.execute("ROLLBACK")
    other.close()
    await fill(store, 1)
    await store.aclose()


async def test_step_that_fails_half_way_leaves_no_transaction_open(tmp_path: Path, clock: Clock) -> None:
    store = build(tmp_path / "ids.db", clock)
    await store.start()
    no_bytes: Any = object()
    with pytest.raises(StoreFailure):
        await store.reserve(key(1), owner="one", fingerprint=no_bytes, lease_s=LEASE_S)
    await fill(store, 1)
    await store.aclose()


async def test_step_that_failed_leaves_nothing_to_the_garbage_collector(tmp_path: Path, clock: Clock) -> None:
    store = build(tmp_path / "ids.db", clock)
    await store.start()
    no_bytes: Any = object()
    with uncollected() as found:
        for _ in range(3):
            with pytest.raises(StoreFailure):
                await store.reserve(key(1), owner="one", fingerprint=no_bytes, lease_s=LEASE_S)
        await fill(store, 1)  # the thread has let go of the last
    await store.aclose()
    assert found == {}


async def test_step_after_the_end_fails(tmp_path: Path, clock: Clock) -> None:
    store = build(tmp_path / "ids.db", clock)
    await store.start()
    begun = asyncio.create_task(fill(store, 1))
    await asyncio.sleep(0)
    await store.aclose()
    assert [path.name for path in tmp_path.iterdir()] == ["ids.db"], "closed: no log beside it"
    await store.aclose()
    for step in (begun, fill(store, 2)):
        with pytest.raises(StoreFailure, match=r"^closed$"):
            await step
    again = build(tmp_path / "ids.db", clock)
    await again.start()
    record = await again.reserve(key(1), owner="two", fingerprint=b"x", lease_s=LEASE_S)
    assert record is not None, "what was begun was made"
    await again.aclose()


async def test_step_that_another_process_keeps_waiting_fails_in_time(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.stores.sqlite.BUSY_TIMEOUT_S", 0.05)
    store = build(tmp_path / "ids.db", clock)
    await store.start()
    other = sqlite3.connect(tmp_path / "ids.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreFailure) as failure:
        await store.reserve(key(1), owner="one", fingerprint=FINGERPRINT, lease_s=LEASE_S)
    assert failure.value.kind == "busy"
    other.execute("ROLLBACK")
    other.close()
    await fill(store, 1)
    await store.aclose()


async def test_step_whose_turn_comes_too_late_is_not_made(tmp_path: Path) -> None:
    """Who asked for it was told by then that the store failed: an id that is reserved now is nobody's."""

    class Stopped(Clock):
        """A time whose next reading by the store's thread waits for `go`, once `stops` is set."""

        def __init__(self) -> None:
            super().__init__()
            self.stops, self.is_reached, self.go = threading.Event(), threading.Event(), threading.Event()

        def __call__(self) -> float:
            if self.stops.is_set() and threading.current_thread() is not threading.main_thread():
                self.stops.clear()
                self.is_reached.set()
                assert self.go.wait(10)
            return super().__call__()

    clock = Stopped()
    store = build(tmp_path / "ids.db", clock)
    await store.start()
    clock.stops.set()
    first = asyncio.create_task(fill(store, 1))
    await asyncio.to_thread(clock.is_reached.wait, 10)
    late = [
        asyncio.create_task(store.reserve(key(number), owner="one", fingerprint=FINGERPRINT, lease_s=LEASE_S))
        for number in (2, 3)
    ]
    await asyncio.sleep(0)
    clock.now += BUSY_TIMEOUT_S
    in_time = asyncio.create_task(fill(store, 4))
    await asyncio.sleep(0)
    clock.now += 0.1
    clock.go.set()
    for told in await asyncio.gather(first, *late, return_exceptions=True):
        assert isinstance(told, StoreFailure)
        assert told.kind == "busy"
    await in_time
    for number in (2, 3):
        assert await store.reserve(key(number), owner="x", fingerprint=FINGERPRINT, lease_s=LEASE_S) is None
    await store.aclose()


async def test_cancelled_step_leaves_the_store_usable(tmp_path: Path, clock: Clock) -> None:
    store = build(tmp_path / "ids.db", clock)
    await store.start()
    for number in range(20):
        task = asyncio.create_task(store.reserve(key(number), owner="one", fingerprint=FINGERPRINT, lease_s=LEASE_S))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
    await fill(store, 100)
    await store.aclose()


async def test_step_that_is_cancelled_while_it_waits_for_the_file_leaves_the_store_usable(
    tmp_path: Path, clock: Clock
) -> None:
    unretrieved: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unretrieved.append(context))
    store = build(tmp_path / "ids.db", clock)
    await store.start()
    other = sqlite3.connect(tmp_path / "ids.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    tasks = [
        asyncio.create_task(store.reserve(key(number), owner="one", fingerprint=FINGERPRINT, lease_s=LEASE_S))
        for number in range(3)
    ]
    await asyncio.sleep(0.05)  # the first is in the thread by now, or else this shows nothing
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    other.execute("ROLLBACK")
    other.close()
    await fill(store, 100)
    await store.aclose()
    assert unretrieved == []


DISK_FULL = """
import asyncio, resource, sys
from pathlib import Path
from sidecar.stores.sqlite import SqliteStore
from sidecar.stores.store import State, StoreFailure

async def fill(store, number):
    key = number.to_bytes(16, "big")
    assert await store.reserve(key, owner="one", fingerprint=b"f", lease_s=60) is None
    assert await store.begin_sending(key, owner="one", lease_s=60)
    assert await store.settle(key, owner="one", state=State.DONE, answer=bytes(1000))

async def main():
    store = SqliteStore(Path(sys.argv[1]), window_s=3600, max_bytes=100_000_000)
    await store.start()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    kinds = []
    for number in range(200):
        try:
            await fill(store, number)
        except StoreFailure as failure:
            kinds.append(failure.kind)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await fill(store, 1000)
    await store.aclose()
    print(len(kinds) > 10, *sorted(set(kinds)))

asyncio.run(main())
"""


def test_disk_without_room_fails_the_step_and_nothing_else(tmp_path: Path) -> None:
    """The limit of a file's size stands for it."""
    program = [sys.executable, "-c", DISK_FULL, str(tmp_path / "ids.db")]
    said = subprocess.check_output(program, cwd=ROOT, text=True, stderr=subprocess.STDOUT).split()
    assert said[0] == "True"
    assert set(said[1:]) <= {"full", "ioerr_write"}
    with sqlite3.connect(tmp_path / "ids.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def make_database(path: Path, *, version: int) -> None:
    """Make a database of another program."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE people (name TEXT)")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "unable to open|No such file or directory"),
        (lambda path: (path.parent.mkdir(), path.mkdir()), "unable to open"),
        (lambda path: (path.parent.mkdir(), path.write_bytes(b"no database at all, but long enough" * 100)),
         "file is not a database"),
        (lambda path: (path.parent.mkdir(), make_database(path, version=0)), "it holds something else"),
        (lambda path: (path.parent.mkdir(), make_database(path, version=1)), "it holds something else"),
    ],
    ids=["no-directory", "directory", "no-database", "other-database", "other-database-of-version-1"],
)  # fmt: skip
async def test_file_that_cannot_be_used_refuses_to_start(tmp_path: Path, clock: Clock, make: object, said: str) -> None:
    path = tmp_path / "below" / "ids.db"
    make(path)
    store = build(path, clock)
    with pytest.raises(ConfigError, match=rf"^idempotency\.sqlite_file: {path} cannot be used: ({said})"):
        await store.start()
    await store.aclose()


async def test_file_of_a_newer_version_refuses_to_start(tmp_path: Path, clock: Clock) -> None:
    connection = sqlite3.connect(tmp_path / "ids.db")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    store = build(tmp_path / "ids.db", clock)
    with pytest.raises(ConfigError, match="it was made by a newer push-sidecar"):
        await store.start()
    await store.aclose()


PROGRAM = """
import asyncio, sys
from pathlib import Path
from sidecar.stores.sqlite import SqliteStore
from sidecar.stores.store import State

async def main():
    store = SqliteStore(Path(sys.argv[1]), window_s=3600, max_bytes=100_000_000)
    await store.start()
    number = 0
    while True:
        key = number.to_bytes(16, "big")
        await store.reserve(key, owner="one", fingerprint=b"f", lease_s=60)
        await store.begin_sending(key, owner="one", lease_s=60)
        await store.settle(key, owner="one", state=State.DONE, answer=b"%d" % number)
        print(number, flush=True)
        number += 1

asyncio.run(main())
"""


def write_until_killed(path: Path) -> int:
    """Let a process write records, and kill it; returns the number of the last that it said to have written."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        while int(process.stdout.readline()) < 50:
            pass
        process.kill()
        return 50 + sum(1 for _ in process.stdout)


async def test_what_was_written_is_there_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "ids.db"
    said = write_until_killed(path)
    store = SqliteStore(path, window_s=3600, max_bytes=100_000_000)
    await store.start()
    for number in range(said + 1):
        record = await store.reserve(key(number), owner="two", fingerprint=b"x", lease_s=1)
        assert record is not None
        assert (record.state, record.answer) == (State.DONE, b"%d" % number)
    await store.aclose()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
