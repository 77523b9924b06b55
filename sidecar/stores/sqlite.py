"""Request ids in an SQLite file: they survive the process, `kill -9` included, and are shared by those on the file.

One thread does all of it, one step a transaction. With `synchronous=NORMAL` a step is safe from the death of the
process; the last ones may be lost with the machine's power.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sidecar.config import ConfigError
from sidecar.stores.store import Record, State, StoreFailure, StoreFull

KEY = "idempotency.sqlite_file"
SETTING = "idempotency.max_bytes"
SCHEMA_VERSION = 1
# How long a step waits for another process's, in seconds.
BUSY_TIMEOUT_S = 2.0
# So many records whose window is over are deleted at a reservation: more than come in, and never a long pause.
_FORGET_AT_ONCE = 20

_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    key BLOB PRIMARY KEY,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer BLOB NOT NULL,
    lease_until REAL NOT NULL,
    window_until REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS requests_by_window ON requests (window_until);
"""

_HELD = f"owner = ? AND window_until > ? AND state IN ('{State.RESERVED}', '{State.SENDING}')"

T = TypeVar("T")


class SqliteStore:
    """A table of records in a file. Times in seconds of the wall clock, which outlives a process."""

    def __init__(self, path: Path, *, window_s: float, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._window_s = window_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="request-ids")
        self._connection: sqlite3.Connection | None = None

    async def start(self) -> None:
        """Open the file, and make it when it is missing.

        Raises `ConfigError` when it cannot be used.
        """
        try:
            await self._run(self._open)
        except OSError as error:
            raise ConfigError(f"{KEY}: {self._path} cannot be used: {error.strerror}") from None
        except StoreFailure as failure:
            raise ConfigError(f"{KEY}: {self._path} cannot be used: {failure.__cause__}") from None

    async def reserve(self, key: bytes, *, owner: str, fingerprint: bytes, lease_s: float) -> Record | None:
        """Take a key that is free, or whose RESERVED record's lease is over; otherwise return its record."""
        return await self._run(lambda: self._reserve(key, owner, fingerprint, lease_s))

    async def begin_sending(self, key: bytes, *, owner: str, lease_s: float) -> bool:
        """Step from RESERVED or SENDING to SENDING with a new lease; false when the owner does not hold the key."""
        now = self._clock()
        return await self._change(
            f"UPDATE requests SET state = ?, lease_until = ?, window_until = ? WHERE key = ? AND {_HELD}",  # noqa: S608
            (State.SENDING.value, now + lease_s, now + self._window_s, key, owner, now),
        )

    async def settle(self, key: bytes, *, owner: str, state: State, answer: bytes) -> bool:
        """Step from SENDING to DONE or UNKNOWN; false when the owner does not hold the key."""
        now = self._clock()
        return await self._change(
            "UPDATE requests SET state = ?, answer = ?, window_until = ? "
            "WHERE key = ? AND owner = ? AND window_until > ? AND state = ?",
            (state.value, answer, now + self._window_s, key, owner, now, State.SENDING.value),
        )

    async def release(self, key: bytes, *, owner: str) -> bool:
        """Forget a RESERVED or SENDING record; false when the owner does not hold the key."""
        return await self._change(
            f"DELETE FROM requests WHERE key = ? AND {_HELD}",  # noqa: S608  # constants
            (key, owner, self._clock()),
        )

    async def aclose(self) -> None:
        """Close the file after the steps that were begun."""
        await asyncio.wrap_future(self._thread.submit(self._close))
        self._thread.shutdown()

    async def _run(self, step: Callable[[], T]) -> T:
        """Make a step in the thread; one whose caller leaves is made to its end all the same."""
        try:
            return await asyncio.wrap_future(self._thread.submit(step))
        except sqlite3.Error as error:
            raise StoreFailure(_kind(error)) from error

    async def _change(self, statement: str, values: tuple[object, ...]) -> bool:
        def change() -> bool:
            with self._transaction() as connection:
                return connection.execute(statement, values).rowcount > 0

        return await self._run(change)

    def _transaction(self) -> "_Transaction":
        if self._connection is None:
            raise sqlite3.ProgrammingError("closed")
        return _Transaction(self._connection)

    def _open(self) -> None:
        # Made here, so that nobody else can read what it will hold.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=16
        )
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _reserve(self, key: bytes, owner: str, fingerprint: bytes, lease_s: float) -> Record | None:
        with self._transaction() as connection:
            now = self._clock()
            connection.execute(
                "DELETE FROM requests WHERE key IN "
                "(SELECT key FROM requests WHERE window_until <= ? ORDER BY window_until LIMIT ?)",
                (now, _FORGET_AT_ONCE),
            )
            row = connection.execute(
                "SELECT state, fingerprint, answer, lease_until FROM requests WHERE key = ? AND window_until > ?",
                (key, now),
            ).fetchone()
            if row is not None:
                state, lease_left_s = State(row[0]), row[3] - now
                is_held = state in {State.RESERVED, State.SENDING}
                if state is not State.RESERVED or lease_left_s > 0:
                    return Record(state, row[1], row[2], lease_left_s if is_held else 0.0)
            elif _used_bytes(connection) >= self._max_bytes:
                (first,) = connection.execute("SELECT min(window_until) FROM requests").fetchone()
                raise StoreFull(SETTING, max(0.0, (first or now) - now))
            connection.execute(
                "INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key, State.RESERVED.value, owner, fingerprint, b"", now + lease_s, now + self._window_s),
            )
            return None


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise sqlite3.DatabaseError("it was made by a newer push-sidecar")
    connection.executescript(_SCHEMA)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


class _Transaction:
    """Writes whole, or not at all."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Return the room that is taken in the file, in bytes; free pages are used again."""
    pragmas = ("page_count", "freelist_count", "page_size")
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas)
    used: int = (pages - free) * size
    return used


def _kind(error: sqlite3.Error) -> str:
    """Return SQLite's own name of an error, such as `busy` or `full`."""
    name: str = getattr(error, "sqlite_errorname", "") or type(error).__name__
    return name.removeprefix("SQLITE_").lower()
