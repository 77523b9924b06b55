"""Request ids in this process: bounded, and gone with it."""

import time
from collections.abc import Callable

from sidecar.stores.store import Record, State, StoreFull

# What a record costs beside its fingerprint and its answer: the key, the entry in the table, the objects. Measured with
# tracemalloc on CPython 3.11.
RECORD_BYTES = 350
SETTING = "idempotency.max_bytes"


class MemoryStore:
    """A table of records, in the order in which their windows end. Times in seconds."""

    def __init__(self, *, window_s: float, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._window_s = window_s
        self._max_bytes = max_bytes
        self._clock = clock
        # Every step puts its record at the end, so the first is the one whose window ends first.
        self._entries: dict[bytes, _Entry] = {}
        self._bytes = 0

    async def start(self) -> None:
        """Nothing: it is ready."""

    async def reserve(self, key: bytes, *, owner: str, fingerprint: bytes, lease_s: float) -> Record | None:
        """Take a key that is free, or whose RESERVED record's lease is over; otherwise return its record."""
        now = self._clock()
        self._forget_old(now)
        entry = self._entries.get(key)
        if entry is not None and (entry.state is not State.RESERVED or entry.lease_until > now):
            is_held = entry.state in {State.RESERVED, State.SENDING}
            return Record(entry.state, entry.fingerprint, entry.answer, entry.lease_until - now if is_held else 0.0)
        if entry is None and self._bytes + RECORD_BYTES + len(fingerprint) > self._max_bytes:
            oldest = next(iter(self._entries.values()), None)
            raise StoreFull(SETTING, oldest.window_until - now if oldest else self._window_s)
        self._put(key, _Entry(State.RESERVED, owner, fingerprint, b"", now + lease_s, now + self._window_s))
        return None

    async def begin_sending(self, key: bytes, *, owner: str, lease_s: float) -> bool:
        """Step from RESERVED or SENDING to SENDING with a new lease; false when the owner does not hold the key."""
        entry = self._held(key, owner)
        if entry is None:
            return False
        now = self._clock()
        self._put(key, _Entry(State.SENDING, owner, entry.fingerprint, b"", now + lease_s, now + self._window_s))
        return True

    async def settle(self, key: bytes, *, owner: str, state: State, answer: bytes) -> bool:
        """Step from SENDING to DONE or UNKNOWN; false when the owner does not hold the key."""
        entry = self._held(key, owner)
        if entry is None or entry.state is not State.SENDING:
            return False
        self._put(key, _Entry(state, "", entry.fingerprint, answer, 0.0, self._clock() + self._window_s))
        return True

    async def release(self, key: bytes, *, owner: str) -> bool:
        """Forget a RESERVED or SENDING record; false when the owner does not hold the key."""
        if self._held(key, owner) is None:
            return False
        self._forget(key)
        return True

    async def aclose(self) -> None:
        """Nothing: there is nothing open."""

    def _held(self, key: bytes, owner: str) -> "_Entry | None":
        entry = self._entries.get(key)
        if entry is None or entry.owner != owner or entry.window_until <= self._clock():
            return None
        return entry

    def _put(self, key: bytes, entry: "_Entry") -> None:
        if key in self._entries:
            self._forget(key)
        self._entries[key] = entry
        self._bytes += entry.size

    def _forget(self, key: bytes) -> None:
        self._bytes -= self._entries.pop(key).size

    def _forget_old(self, now: float) -> None:
        while self._entries:
            key = next(iter(self._entries))
            if self._entries[key].window_until > now:
                return
            self._forget(key)


class _Entry:
    __slots__ = ("answer", "fingerprint", "lease_until", "owner", "state", "window_until")

    def __init__(
        self, state: State, owner: str, fingerprint: bytes, answer: bytes, lease_until: float, window_until: float
    ) -> None:
        self.state = state
        self.owner = owner
        self.fingerprint = fingerprint
        self.answer = answer
        self.lease_until = lease_until
        self.window_until = window_until

    @property
    def size(self) -> int:
        """What it is charged for, in bytes."""
        return RECORD_BYTES + len(self.fingerprint) + len(self.answer)
