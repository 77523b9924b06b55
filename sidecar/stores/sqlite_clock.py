"""The time of a file of request ids: it goes on evenly while the machine is up, whatever its wall clock does.

Leases and windows stand in the file in seconds of the wall clock, as a former release reads them. The wall clock is
read once a boot, by the first who opens the file; from then on, all count on by the time since the boot, which nobody
can set. What they count by stands in the file, under a key that no request id has. After a boot, or on another
machine, the wall clock is read anew; it never leads back behind a time that is noted in the file.
"""

import secrets
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

# Request ids have keys of 16 bytes.
CLOCK_KEY = b"clock"
# So often the time is noted, in seconds.
NOTE_INTERVAL_S = 1.0
# No window: the row is never forgotten.
_FOR_EVER = 1e12


def uptime_s() -> float:
    """Return the seconds since the boot, time in suspension included: the same for all processes of the machine."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return what names this boot and the namespace in which its time is counted; where that is hidden, a new name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/time').stat().st_ino}"
    except OSError:
        return secrets.token_hex(16)


class FileClock:
    """The time of one open file. Times in seconds."""

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        uptime: Callable[[], float] = uptime_s,
        boot: str | None = None,
    ) -> None:
        self._wall = wall
        self.uptime_s = uptime
        self._boot = boot_id() if boot is None else boot
        # The file's time at the boot, and when the time was last noted.
        self._at_boot = 0.0
        self._noted_at = 0.0

    def open(self, connection: sqlite3.Connection) -> None:
        """Find the file's time; inside a transaction."""
        row = connection.execute(
            "SELECT owner, answer, lease_until FROM requests WHERE key = ?", (CLOCK_KEY,)
        ).fetchone()
        boot, at_boot, latest = row or ("", 0.0, 0.0)
        if boot != self._boot:
            at_boot = self._wall() - self.uptime_s()
        self._at_boot = max(at_boot, latest - self.uptime_s())
        self._note(connection, self._at_boot + self.uptime_s())

    def now(self, connection: sqlite3.Connection) -> float:
        """Return the file's time, and note it now and then; inside a transaction."""
        now = self._at_boot + self.uptime_s()
        if now - self._noted_at >= NOTE_INTERVAL_S:
            self._note(connection, now)
        return now

    def _note(self, connection: sqlite3.Connection, now: float) -> None:
        self._noted_at = now
        connection.execute(
            "INSERT OR REPLACE INTO requests VALUES (?, 'done', ?, x'', ?, ?, ?)",
            (CLOCK_KEY, self._boot, self._at_boot, now, _FOR_EVER),
        )
