"""Leases and windows in a file, while the wall clock jumps: ahead, back, between two processes, and over a boot."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.stores.sqlite import SqliteStore
from sidecar.stores.sqlite_clock import FileClock, boot_id, uptime_s
from sidecar.stores.store import Record, State
from tests.support.clock import Clock

from .conftest import WINDOW_S

KEY = bytes(16)
LEASE_S = 10.0
DAY_S = 86_400.0
JUMPS = pytest.mark.parametrize("jump_s", [400 * DAY_S, -400 * DAY_S], ids=["ahead", "back"])


class Machine:
    """A machine with a wall clock, which may be set, and a time since its boot, which may not."""

    def __init__(self) -> None:
        self.wall = Clock(1_900_000_000.0)
        self.uptime = Clock(500.0)
        self.boot = "first"

    def pass_s(self, seconds: float) -> None:
        self.wall.now += seconds
        self.uptime.now += seconds

    def reboot(self) -> None:
        self.boot += " and another"
        self.uptime.now = 20.0


@pytest.fixture
def machine() -> Machine:
    return Machine()


@asynccontextmanager
async def process(machine: Machine, path: Path) -> AsyncIterator[SqliteStore]:
    """Give the store of a process of the machine that runs inside the block."""
    clock = FileClock(wall=machine.wall, uptime=machine.uptime, boot=machine.boot)
    store = SqliteStore(path / "ids.db", window_s=WINDOW_S, max_bytes=10_000_000, clock=clock)
    await store.start()
    try:
        yield store
    finally:
        await store.aclose()


async def reserve(store: SqliteStore, owner: str = "looks") -> Record | None:
    return await store.reserve(KEY, owner=owner, fingerprint=b"f", lease_s=LEASE_S)


async def look(store: SqliteStore) -> Record:
    record = await reserve(store)
    assert record is not None
    return record


async def push(store: SqliteStore) -> None:
    assert await reserve(store, "one") is None
    assert await store.begin_sending(KEY, owner="one", lease_s=LEASE_S)
    assert await store.settle(KEY, owner="one", state=State.DONE, answer=b"a")


@JUMPS
async def test_lease_lasts_as_long_as_it_was_given_for_in_the_process_and_in_others(
    tmp_path: Path, machine: Machine, jump_s: float
) -> None:
    async with process(machine, tmp_path) as one:
        assert await reserve(one, "one") is None
        machine.wall.now += jump_s
        async with process(machine, tmp_path) as two:
            for store in (one, two):
                assert (await look(store)).lease_left_s == LEASE_S
            machine.pass_s(LEASE_S - 1)
            assert (await look(two)).lease_left_s == 1.0
            machine.pass_s(1)
            assert await reserve(two, "two") is None
        assert not await one.begin_sending(KEY, owner="one", lease_s=LEASE_S)


@JUMPS
async def test_window_lasts_as_long_as_it_should_over_a_restart_of_the_process(
    tmp_path: Path, machine: Machine, jump_s: float
) -> None:
    async with process(machine, tmp_path) as store:
        await push(store)
    machine.wall.now += jump_s
    async with process(machine, tmp_path) as store:
        machine.pass_s(WINDOW_S - 1)
        assert (await look(store)).answer == b"a"
        machine.pass_s(1)
        assert await reserve(store, "two") is None


async def test_boot_goes_on_by_the_wall_clock(tmp_path: Path, machine: Machine) -> None:
    async with process(machine, tmp_path) as store:
        await push(store)
    machine.reboot()
    machine.wall.now += WINDOW_S - 1
    async with process(machine, tmp_path) as store:
        assert (await look(store)).answer == b"a"
        machine.pass_s(1)
        assert await reserve(store, "two") is None


async def test_boot_with_a_clock_that_went_back_holds_no_lease_longer(tmp_path: Path, machine: Machine) -> None:
    """A machine without a battery for its clock begins at 1970."""
    async with process(machine, tmp_path) as store:
        await reserve(store, "one")
    machine.reboot()
    machine.wall.now = 60.0
    async with process(machine, tmp_path) as store:
        assert (await look(store)).lease_left_s == LEASE_S
        machine.pass_s(LEASE_S)
        assert await reserve(store, "two") is None


async def test_noted_time_is_at_most_a_second_behind(tmp_path: Path, machine: Machine) -> None:
    async with process(machine, tmp_path) as store:
        await push(store)
        machine.pass_s(600.0)
        await look(store)
        machine.pass_s(0.9)
        await look(store)
    machine.reboot()
    machine.wall.now = 60.0
    async with process(machine, tmp_path) as store:
        machine.pass_s(WINDOW_S - 600.0 - 0.1)
        assert (await look(store)).answer == b"a"
        machine.pass_s(0.1)
        assert await reserve(store, "two") is None


async def test_file_that_comes_back_with_an_older_time_goes_on_from_the_latest(
    tmp_path: Path, machine: Machine
) -> None:
    """As when a machine is set back to a snapshot, and its volume is not."""
    async with process(machine, tmp_path) as store:
        machine.pass_s(300.0)
        await push(store)
    machine.pass_s(-300.0)
    async with process(machine, tmp_path) as store:
        machine.pass_s(WINDOW_S)
        assert await reserve(store, "two") is None


async def test_times_in_the_file_are_the_wall_clocks_as_a_former_release_reads_them(
    tmp_path: Path, machine: Machine
) -> None:
    async with process(machine, tmp_path) as store:
        machine.pass_s(100.0)
        await reserve(store, "one")
        reader = sqlite3.connect(tmp_path / "ids.db")
        times = reader.execute("SELECT lease_until, window_until FROM requests WHERE key = ?", (KEY,)).fetchone()
        reader.close()
    assert times == (machine.wall.now + LEASE_S, machine.wall.now + WINDOW_S)


FORMER_RELEASE = """
CREATE TABLE requests (
    key BLOB PRIMARY KEY, state TEXT NOT NULL, owner TEXT NOT NULL, fingerprint BLOB NOT NULL, answer BLOB NOT NULL,
    lease_until REAL NOT NULL, window_until REAL NOT NULL
);
CREATE INDEX requests_by_window ON requests (window_until);
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
"""


async def test_file_of_a_former_release_goes_on_and_the_former_release_can_go_on_with_it(
    tmp_path: Path, machine: Machine
) -> None:
    former = sqlite3.connect(tmp_path / "ids.db", isolation_level=None)
    former.executescript(FORMER_RELEASE)
    row = (KEY, "done", "x", b"f", b"kept", 0.0, machine.wall.now + 60.0)
    former.execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    async with process(machine, tmp_path) as store:
        assert (await look(store)).answer == b"kept"
    # What it checks when it opens the file, and what it deletes.
    assert former.execute("PRAGMA user_version").fetchone() == (1,)
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    assert former.execute(tables).fetchall() == [("requests",)]
    former.execute("DELETE FROM requests WHERE window_until <= ?", (machine.wall.now + 61.0,))
    former.close()
    machine.wall.now += 400 * DAY_S
    async with process(machine, tmp_path) as store:
        await push(store)
        machine.wall.now += 400 * DAY_S
        assert (await look(store)).answer == b"a"


def test_boot_has_one_name_and_a_time_that_goes_on() -> None:
    assert boot_id() == boot_id()
    assert len(boot_id()) > 36
    first = uptime_s()
    assert 0 < first <= uptime_s()
