"""Request ids in this process: bounded, and gone with it."""

import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from sys import intern

from sidecar.stores.store import SHARE_SETTING, Record, State, StoreFull, app_of

# What a record costs beside its fingerprint and its answer: the key, the entry in the table, the objects. Measured with
# tracemalloc on CPython 3.11: from 302 bytes to 414, by how full the table is and whether an owner holds it.
RECORD_BYTES = 420
SETTING = "idempotency.max_bytes"
# So many records whose window is over are forgotten at a reservation: more than come in, and never a long pause.
_FORGET_AT_ONCE = 20
# So many records are looked at for the first of an app that is over its share.
_LOOK_AT_ONCE = 1000


class MemoryStore:
    """A table of records, in the order in which their windows end. Times in seconds."""

    is_immediate = True

    def __init__(
        self,
        *,
        window_s: float,
        max_bytes: int,
        max_app_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bound all records, and those of one app; without `max_app_bytes`, an app may have all the room."""
        self._window_s = window_s
        self._max_bytes = max_bytes
        self._max_app_bytes = max_bytes if max_app_bytes is None else max_app_bytes
        self._clock = clock
        # Every step puts its record at the end, so the first is the one whose window ends first. (To find the first of
        # a plain dict takes the longer the more were deleted before it.)
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._bytes = 0
        self._app_bytes: dict[str, int] = {}

    async def start(self) -> None:
        """Nothing: it is ready."""

    async def reserve(self, key: bytes, *, owner: str, fingerprint: bytes, lease_s: float) -> Record | None:
        """Take a key that is free, or whose RESERVED record's lease is over; otherwise return its record."""
        now = self._clock()
        self._forget_old(now)
        entry = self._entries.get(key)
        if entry is not None and entry.window_until <= now:
            self._forget(key)
            entry = None
        if entry is not None and (entry.state is not State.RESERVED or entry.lease_until > now):
            is_held = entry.state in {State.RESERVED, State.SENDING}
            return Record(entry.state, entry.fingerprint, entry.answer, entry.lease_until - now if is_held else 0.0)
        if entry is None:
            self._make_room(app_of(owner), RECORD_BYTES + len(fingerprint), now)
        else:
            self._forget(key)
        self._entries[key] = entry = _Entry(owner, fingerprint, now + lease_s, now + self._window_s)
        self._charge(entry.app, entry.size)
        return None

    async def begin_sending(self, key: bytes, *, owner: str, lease_s: float) -> bool:
        """Step from RESERVED or SENDING to SENDING with a new lease; false when the owner does not hold the key."""
        entry = self._held(key, owner)
        if entry is None:
            return False
        entry.state = State.SENDING
        entry.lease_until = self._clock() + lease_s
        self._renew(key, entry)
        return True

    async def renew(self, key: bytes, *, owner: str, lease_s: float) -> bool:
        """Give a RESERVED or SENDING record at least this lease; false when the owner does not hold the key."""
        entry = self._held(key, owner)
        if entry is None:
            return False
        entry.lease_until = max(entry.lease_until, self._clock() + lease_s)
        self._renew(key, entry)
        return True

    async def settle(self, key: bytes, *, owner: str, state: State, answer: bytes) -> bool:
        """Step from SENDING to DONE or UNKNOWN; false when the owner does not hold the key."""
        entry = self._held(key, owner)
        if entry is None or entry.state is not State.SENDING:
            return False
        entry.state = state
        entry.owner = ""
        entry.answer = answer
        entry.lease_until = 0.0
        self._charge(entry.app, len(answer))
        self._renew(key, entry)
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

    def _renew(self, key: bytes, entry: "_Entry") -> None:
        entry.window_until = self._clock() + self._window_s
        self._entries.move_to_end(key)

    def _charge(self, app: str, size: int) -> None:
        self._bytes += size
        # The tags of the configured apps, and so a bounded number.
        self._app_bytes[app] = self._app_bytes.get(app, 0) + size

    def _make_room(self, app: str, size: int, now: float) -> None:
        while self._bytes + size > self._max_bytes:
            if not self._entries:
                raise StoreFull(SETTING, self._window_s)
            if not self._forget_first(now):
                raise StoreFull(SETTING, self._first().window_until - now)
        while self._app_bytes.get(app, 0) + size > self._max_app_bytes:
            if not self._forget_first(now):
                raise StoreFull(SHARE_SETTING, self._left_s(app, now))

    def _left_s(self, app: str, now: float) -> float:
        """Return when the first window of an app's records ends, or at the earliest ends."""
        left_s = self._window_s
        for entry in islice(self._entries.values(), _LOOK_AT_ONCE):
            left_s = entry.window_until - now
            if entry.app == app:
                break
        return left_s

    def _forget_old(self, now: float) -> None:
        for _ in range(_FORGET_AT_ONCE):
            if not self._forget_first(now):
                return

    def _forget_first(self, now: float) -> bool:
        """Forget the first record if its window is over."""
        if not self._entries or self._first().window_until > now:
            return False
        _, entry = self._entries.popitem(last=False)
        self._charge(entry.app, -entry.size)
        return True

    def _first(self) -> "_Entry":
        return next(iter(self._entries.values()))

    def _forget(self, key: bytes) -> None:
        entry = self._entries.pop(key)
        self._charge(entry.app, -entry.size)


class _Entry:
    """A record that was reserved. Times by the store's clock."""

    __slots__ = ("answer", "app", "fingerprint", "lease_until", "owner", "state", "window_until")

    def __init__(self, owner: str, fingerprint: bytes, lease_until: float, window_until: float) -> None:
        self.state = State.RESERVED
        self.owner = owner
        # One text for all records of an app.
        self.app = intern(app_of(owner))
        self.fingerprint = fingerprint
        self.answer = b""
        self.lease_until = lease_until
        self.window_until = window_until

    @property
    def size(self) -> int:
        """What it is charged for, in bytes."""
        return RECORD_BYTES + len(self.fingerprint) + len(self.answer)
