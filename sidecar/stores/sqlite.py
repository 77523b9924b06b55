"""Request ids in an SQLite file: they survive the process, `kill -9` included, and are shared by those on the file.

One thread makes all steps, each a transaction. With `synchronous=NORMAL` a step is safe from the death of the
process; the last ones may be lost with the machine's power.
"""

import asyncio
import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sidecar.config import ConfigError
from sidecar.stores.sqlite_clock import CLOCK_KEY, FileClock
from sidecar.stores.sqlite_file import OpenFile
from sidecar.stores.sqlite_share import ROW_BYTES, Shares, in_own_thread
from sidecar.stores.store import Record, State, StoreFailure, StoreFull

KEY = "idempotency.sqlite_file"
SETTING = "idempotency.max_bytes"
SCHEMA_VERSION = 1
# How long a step waits for another process's, in seconds.
BUSY_TIMEOUT_S = 2.0
# So many records whose window is over are deleted at a reservation: more than come in, and never a long pause.
_FORGET_AT_ONCE = 20
# So often when there is no room: a page is free when the last record on it is deleted.
_FORGET_TRIES = 50

_SCHEMA = (
    """
    CREATE TABLE requests (
        key BLOB PRIMARY KEY,
        state TEXT NOT NULL,
        owner TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        answer BLOB NOT NULL,
        lease_until REAL NOT NULL,
        window_until REAL NOT NULL
    )
    """,
    "CREATE INDEX requests_by_window ON requests (window_until)",
)

_HELD = f"owner = ? AND window_until > ? AND state IN ('{State.RESERVED}', '{State.SENDING}')"

T = TypeVar("T")

_log = logging.getLogger(__name__)


class SqliteStore:
    """A table of records in a file. Times in seconds of the file's clock."""

    is_immediate = False

    def __init__(
        self,
        path: Path,
        *,
        window_s: float,
        max_bytes: int,
        max_app_bytes: int | None = None,
        clock: FileClock | None = None,
        count_in: Callable[[Callable[[], None]], None] = in_own_thread,
    ) -> None:
        """Bound all records, and those of one app; without `max_app_bytes`, an app may have all the room.

        `count_in` makes a count of each app's records, or has it made.
        """
        self._path = path
        self._window_s = window_s
        self._max_bytes = max_bytes
        self._clock = clock or FileClock()
        max_app_bytes = max_bytes if max_app_bytes is None else max_app_bytes
        self._shares = Shares(path, max_app_bytes, self._clock.uptime_s, count_in)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="request-ids")
        self._connection: sqlite3.Connection | None = None
        self._file: OpenFile | None = None

    async def start(self) -> None:
        """Open the file, and make it when it is missing. One that another process keeps locked is opened when needed.

        Raises `ConfigError` when it cannot be used.
        """
        try:
            await self._run(self._open)
        except StoreFailure as failure:
            # SQLite does not even wait for another process that turns the new file's write-ahead log on.
            if not failure.kind.startswith("busy"):
                cause = failure.__cause__
                why = cause.strerror if isinstance(cause, OSError) else cause
                raise ConfigError(f"{KEY}: {self._path} cannot be used: {why}") from None
            _log.warning("request id store is locked, and is tried again when it is needed")

    async def reserve(self, key: bytes, *, owner: str, fingerprint: bytes, lease_s: float) -> Record | None:
        """Take a key that is free, or whose RESERVED record's lease is over; otherwise return its record."""
        return await self._run(lambda: self._reserve(key, owner, fingerprint, lease_s))

    async def begin_sending(self, key: bytes, *, owner: str, lease_s: float) -> bool:
        """Step from RESERVED or SENDING to SENDING with a new lease; false when the owner does not hold the key."""
        return await self._change(
            f"UPDATE requests SET state = ?, lease_until = ?, window_until = ? WHERE key = ? AND {_HELD}",  # noqa: S608
            lambda now: (State.SENDING.value, now + lease_s, now + self._window_s, key, owner, now),
        )

    async def renew(self, key: bytes, *, owner: str, lease_s: float) -> bool:
        """Give a RESERVED or SENDING record at least this lease; false when the owner does not hold the key."""
        return await self._change(
            f"UPDATE requests SET lease_until = max(lease_until, ?), window_until = ? WHERE key = ? AND {_HELD}",  # noqa: S608  # constants
            lambda now: (now + lease_s, now + self._window_s, key, owner, now),
        )

    async def settle(self, key: bytes, *, owner: str, state: State, answer: bytes) -> bool:
        """Step from SENDING to DONE or UNKNOWN; false when the owner does not hold the key."""
        return await self._change(
            "UPDATE requests SET state = ?, answer = ?, window_until = ? "
            "WHERE key = ? AND owner = ? AND window_until > ? AND state = ?",
            lambda now: (state.value, answer, now + self._window_s, key, owner, now, State.SENDING.value),
            grown=(owner, len(answer)),
        )

    async def release(self, key: bytes, *, owner: str) -> bool:
        """Forget a RESERVED or SENDING record; false when the owner does not hold the key."""
        return await self._change(
            f"DELETE FROM requests WHERE key = ? AND {_HELD}",  # noqa: S608  # constants
            lambda now: (key, owner, now),
            grown=(owner, -ROW_BYTES),
        )

    async def aclose(self) -> None:
        """Close the file after the steps that were asked for."""
        try:
            closed = self._thread.submit(self._close)
        except RuntimeError:
            return
        self._thread.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(closed))

    async def _run(self, step: Callable[[], T]) -> T:
        """Make a step in the thread. One that has begun is made to its end, also when its caller leaves."""
        asked_at = self._clock.uptime_s()

        def in_time() -> T:
            # While another process keeps the file locked, each try takes its time, and more steps come than are tried.
            if self._clock.uptime_s() - asked_at > BUSY_TIMEOUT_S:
                raise StoreFailure("busy")
            return step()

        try:
            made = self._thread.submit(in_time)
        except RuntimeError:
            raise StoreFailure("closed") from None
        try:
            return await asyncio.wrap_future(made)
        except (sqlite3.Error, OSError) as error:
            raise StoreFailure(_kind(error)) from error
        finally:
            # It holds the error that it ended with, and the error this frame.
            del made

    async def _change(
        self, statement: str, values: Callable[[float], tuple[object, ...]], grown: tuple[str, int] | None = None
    ) -> bool:
        """Change a record; `grown` is its owner, and by how many bytes the change makes it larger."""

        def change() -> bool:
            with self._transaction() as connection:
                is_changed = connection.execute(statement, values(self._clock.now(connection))).rowcount > 0
            if is_changed and grown is not None:
                self._shares.add(*grown)
            return is_changed

        return await self._run(change)

    def _transaction(self) -> "_Transaction":
        if self._connection is None:
            self._open()
        assert self._connection is not None  # noqa: S101  # for the types
        return _Transaction(self._connection, self._file)

    def _open(self) -> None:
        # Made here, so that nobody else can read what it will hold. One that is there is not opened: to close it would
        # end the locks that this process has on it, whoever took them.
        if not self._path.exists():
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        file = OpenFile(self._path)
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=16
        )
        try:
            _prepare(connection, self._clock)
            file.note_log()
        except BaseException:
            connection.close()
            raise
        self._connection, self._file = connection, file

    def _close(self) -> None:
        self._shares.close()
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _reserve(self, key: bytes, owner: str, fingerprint: bytes, lease_s: float) -> Record | None:
        with self._transaction() as connection:
            now = self._clock.now(connection)
            _forget_old(connection, now)
            row = connection.execute(
                "SELECT state, fingerprint, answer, lease_until FROM requests WHERE key = ? AND window_until > ?",
                (key, now),
            ).fetchone()
            if row is not None:
                state, lease_left_s = State(row[0]), row[3] - now
                is_held = state in {State.RESERVED, State.SENDING}
                if state is not State.RESERVED or lease_left_s > 0:
                    return Record(state, row[1], row[2], lease_left_s if is_held else 0.0)
            full = self._refusal(connection, owner, now) if row is None else None
            if full is None:
                connection.execute(
                    "INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (key, State.RESERVED.value, owner, fingerprint, b"", now + lease_s, now + self._window_s),
                )
                self._shares.add(owner, ROW_BYTES, now + self._window_s)
                return None
        # Raised here, after what was forgotten is committed.
        raise full

    def _refusal(self, connection: sqlite3.Connection, owner: str, now: float) -> StoreFull | None:
        """Return why there is no room for another record, or None."""
        if not self._make_room(connection, now):
            first = "SELECT min(window_until) FROM requests WHERE key != ?"
            (first_until,) = connection.execute(first, (CLOCK_KEY,)).fetchone()
            return StoreFull(SETTING, max(0.0, (first_until or now) - now))
        assert self._file is not None  # noqa: S101  # for the types
        return self._shares.refusal(self._file, owner, _used_bytes(connection), now)

    def _make_room(self, connection: sqlite3.Connection, now: float) -> bool:
        for _ in range(_FORGET_TRIES):
            if _used_bytes(connection) < self._max_bytes:
                return True
            if not _forget_old(connection, now):
                return False
        return False


def _prepare(connection: sqlite3.Connection, clock: FileClock) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    with _Transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError("it was made by a newer push-sidecar")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        if tables.fetchall() != ([("requests",)] if version else []):
            raise sqlite3.DatabaseError("it holds something else than request ids")
        if version < SCHEMA_VERSION:
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        clock.open(connection)


def _forget_old(connection: sqlite3.Connection, now: float) -> int:
    """Delete some of the records whose window is over; returns how many."""
    return connection.execute(
        "DELETE FROM requests WHERE rowid IN "
        "(SELECT rowid FROM requests WHERE window_until <= ? ORDER BY window_until LIMIT ?)",
        (now, _FORGET_AT_ONCE),
    ).rowcount


class _Transaction:
    """Writes whole, or not at all; nothing to a file that is not at its path any more."""

    def __init__(self, connection: sqlite3.Connection, file: OpenFile | None = None) -> None:
        self._connection = connection
        self._file = file

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        if self._file is not None:
            try:
                self._file.check()
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            # SQLite may have done it already. What is left open would fail every step from now on.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Return the room that is taken in the file, in bytes; free pages are used again."""
    pragmas = ("page_count", "freelist_count", "page_size")
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas)
    used: int = (pages - free) * size
    return used


def _kind(error: Exception) -> str:
    """Return SQLite's own name of an error, such as `busy` or `full`; of others their type."""
    name: str = getattr(error, "sqlite_errorname", "") or type(error).__name__
    return name.removeprefix("SQLITE_").lower()
