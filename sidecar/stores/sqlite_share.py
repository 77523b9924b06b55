"""How much of a file of request ids is one app's, so that none takes the room of all.

A row tells by its owner whose it is. All are counted only when an app could be over its share, and not often: what
other processes write in between is not known. A count reads the whole table, so a thread and a connection of its own
make it: no step of the store waits for a count, neither here nor in another process. Until the first one has ended,
no app is over its share.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from sidecar.stores.sqlite_file import OpenFile
from sidecar.stores.store import SHARE_SETTING, StoreFailure, StoreFull, app_of

# What a row takes in the file beside its answer, its places in the indexes included. Measured: from 145 bytes to 183,
# by how full the pages are.
ROW_BYTES = 165
# After a count, at least so long none is made; and a share of the time at most.
COUNT_INTERVAL_S = 1.0
_COUNT_STRETCH = 50
# After so many steps of SQLite's machine a count looks whether the store was closed: every few milliseconds.
_STEPS_BETWEEN_LOOKS = 100_000

_COUNT = """
SELECT substr(owner, 1, instr(owner, '/') - 1) AS app, count(*), sum(length(answer)), min(window_until)
FROM requests WHERE window_until > ? AND instr(owner, '/') > 0 GROUP BY app
"""

# Of each app: its bytes, and when the first window ends.
_Apps = dict[str, tuple[int, float]]

_log = logging.getLogger(__name__)


def in_own_thread(count: Callable[[], None]) -> None:
    """Make a count while the store goes on; the end of the process does not wait for it."""
    threading.Thread(target=count, name="request-ids-count", daemon=True).start()


class Shares:
    """The bytes of each app in the file, as far as they are known. Times in seconds.

    Only the store's thread calls it.
    """

    def __init__(
        self,
        path: Path,
        max_app_bytes: int,
        uptime: Callable[[], float],
        count_in: Callable[[Callable[[], None]], None] = in_own_thread,
    ) -> None:
        """Count the file at `path`; `count_in` makes a count, or has it made."""
        self._path = path
        self._max_app_bytes = max_app_bytes
        self._uptime = uptime
        self._count_in = count_in
        self._count_again_at = 0.0
        self._count: _Count | None = None
        # None until the first count.
        self._apps: _Apps | None = None

    def refusal(self, file: OpenFile, owner: str, used_bytes: int, now: float) -> StoreFull | None:
        """Return why a record of this owner has no room, or None; `used_bytes` is what all records take together."""
        app = app_of(owner)
        if used_bytes < self._max_app_bytes or not app:
            return None
        self._take()
        if self._count is None and self._uptime() >= self._count_again_at:
            self._begin(file, now)
            self._take()
        app_bytes, first_until = (self._apps or {}).get(app, (0, now))
        if self._apps is not None and app_bytes + ROW_BYTES > self._max_app_bytes:
            return StoreFull(SHARE_SETTING, max(0.0, first_until - now))
        return None

    def add(self, owner: str, grown_bytes: int, until: float | None = None) -> None:
        """Note by how much an owner's record has grown since the last count, a new one with the end of its window."""
        app = app_of(owner)
        if self._count is not None:
            bytes_since, first_until = self._count.changes.get(app, (0, None))
            self._count.changes[app] = (bytes_since + grown_bytes, until if first_until is None else first_until)
        if self._apps is not None:
            _apply(self._apps, app, grown_bytes, until)

    def close(self) -> None:
        """Give up a count that is under way, without waiting for its end."""
        if self._count is not None:
            self._count.is_given_up = True
            self._count = None

    def _begin(self, file: OpenFile, now: float) -> None:
        """Begin a count of what is in the file before the step that is under way."""
        started_at = self._uptime()
        try:
            self._count = _Count(_snapshot(self._path, file), now, self._uptime)
            self._count_in(self._count.run)
        except (sqlite3.Error, OSError, StoreFailure, RuntimeError) as error:
            if self._count is not None:
                self._count.connection.close()
                self._count = None
            self._failed(error)
            self._wait(started_at, self._uptime())

    def _take(self) -> None:
        """Take a count over that has ended, and on top of it what has changed since it began."""
        count = self._count
        if count is None or count.ended_at is None:
            return
        self._count = None
        self._wait(count.started_at, count.ended_at)
        if count.error is not None:
            self._failed(count.error)
            return
        self._apps = count.apps
        for app, (grown_bytes, until) in count.changes.items():
            _apply(self._apps, app, grown_bytes, until)

    def _wait(self, started_at: float, ended_at: float) -> None:
        self._count_again_at = ended_at + max(COUNT_INTERVAL_S, _COUNT_STRETCH * (ended_at - started_at))

    def _failed(self, error: Exception) -> None:
        _log.warning("request ids were not counted, the last count is used", extra={"kind": type(error).__name__})


class _Count:
    """One count. What it found is there once `ended_at` is."""

    def __init__(self, connection: sqlite3.Connection, now: float, uptime: Callable[[], float]) -> None:
        self.connection = connection
        self.started_at = uptime()
        self.ended_at: float | None = None
        self.error: Exception | None = None
        self.apps: _Apps = {}
        # What the store's thread has changed meanwhile: bytes, and when the first new window ends.
        self.changes: dict[str, tuple[int, float | None]] = {}
        self.is_given_up = False
        self._now = now
        self._uptime = uptime

    def run(self) -> None:
        try:
            # Unlike `interrupt`, this also ends a count that is just about to begin.
            self.connection.set_progress_handler(lambda: self.is_given_up, _STEPS_BETWEEN_LOOKS)
            for app, count, answers, first_until in self.connection.execute(_COUNT, (self._now,)):
                self.apps[app] = (count * ROW_BYTES + answers, first_until)
        except sqlite3.Error as error:
            self.error = error
        finally:
            self.connection.close()
            self.ended_at = self._uptime()


def _snapshot(path: Path, file: OpenFile) -> sqlite3.Connection:
    """Return a connection that reads the file as it is now; raises `StoreFailure` when another is at its path.

    SQLite may write with it in one case: when it is closed last, as the store would have, it tidies the log away.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False
    )
    try:
        # Before the log is opened, and after.
        file.check()
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM requests LIMIT 1").fetchone()
        file.check()
    except BaseException:
        connection.close()
        raise
    return connection


def _apply(apps: _Apps, app: str, grown_bytes: int, until: float | None) -> None:
    app_bytes, first_until = apps.get(app, (0, until))
    if first_until is not None:
        apps[app] = (app_bytes + grown_bytes, first_until)
