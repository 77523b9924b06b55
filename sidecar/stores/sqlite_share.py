"""How much of a file of request ids is one app's, so that none takes the room of all.

A row tells by its owner whose it is. All are counted only when an app could be over its share, and not often: what
other processes write in between is not known.
"""

import sqlite3
from collections.abc import Callable

from sidecar.stores.store import SHARE_SETTING, StoreFull, app_of

# What a row takes in the file beside its answer, its places in the indexes included. Measured: from 145 bytes to 183,
# by how full the pages are.
ROW_BYTES = 165
# After a count, at least so long none is made; and a share of the thread's time at most.
COUNT_INTERVAL_S = 1.0
_COUNT_STRETCH = 50

_COUNT = """
SELECT substr(owner, 1, instr(owner, '/') - 1) AS app, count(*), sum(length(answer)), min(window_until)
FROM requests WHERE window_until > ? AND instr(owner, '/') > 0 GROUP BY app
"""


class Shares:
    """The bytes of each app in the file, as far as they are known. Times in seconds."""

    def __init__(self, max_app_bytes: int, uptime: Callable[[], float]) -> None:
        self._max_app_bytes = max_app_bytes
        self._uptime = uptime
        self._count_again_at = 0.0
        # Bytes, and when the first window ends.
        self._apps: dict[str, tuple[int, float]] = {}

    def refusal(self, connection: sqlite3.Connection, owner: str, used_bytes: int, now: float) -> StoreFull | None:
        """Return why a record of this owner has no room, or None; `used_bytes` is what all records take together."""
        app = app_of(owner)
        if used_bytes < self._max_app_bytes or not app:
            return None
        if self._uptime() >= self._count_again_at:
            self._count(connection, now)
        app_bytes, first_until = self._apps.get(app, (0, now))
        if app_bytes + ROW_BYTES > self._max_app_bytes:
            return StoreFull(SHARE_SETTING, max(0.0, first_until - now))
        return None

    def add(self, owner: str, grown_bytes: int, until: float | None = None) -> None:
        """Note by how much an owner's record has grown since the last count, a new one with the end of its window."""
        app = app_of(owner)
        app_bytes, first_until = self._apps.get(app, (0, until))
        if first_until is not None:
            self._apps[app] = (app_bytes + grown_bytes, first_until)

    def _count(self, connection: sqlite3.Connection, now: float) -> None:
        started = self._uptime()
        self._apps = {
            app: (count * ROW_BYTES + answers, first_until)
            for app, count, answers, first_until in connection.execute(_COUNT, (now,))
        }
        ended = self._uptime()
        self._count_again_at = ended + max(COUNT_INTERVAL_S, _COUNT_STRETCH * (ended - started))
