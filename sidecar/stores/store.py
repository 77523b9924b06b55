"""The contract of a store of request ids: compare-and-set steps over one record a key.

    (none) --reserve--> RESERVED --begin_sending--> SENDING --settle--> DONE | UNKNOWN
       ^                 |    ^ lease over: reserve by another owner       | window over
       '----release------'----'----------(release)-----'-------------------'

A record is RESERVED or SENDING for one owner. A RESERVED record may be taken over once its lease is over; from then on
every step of the old owner fails. A SENDING record is never taken over.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

# The share of the room that one app's records may take.
SHARE_SETTING = "idempotency.max_app_share"


class State(StrEnum):
    """What a record says."""

    RESERVED = "reserved"
    SENDING = "sending"
    DONE = "done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Record:
    """What a store has under a key.

    `answer` is empty until the record is DONE or UNKNOWN. `lease_left_s` is the time that is left to the owner of a
    RESERVED or SENDING record, 0 or less when it is over; 0 for the others.
    """

    state: State
    fingerprint: bytes = field(repr=False)
    answer: bytes = field(default=b"", repr=False)
    lease_left_s: float = 0.0


class StoreFailure(Exception):  # an outcome, as the errors of delivery are
    """The store did not do what it was asked, or did not say so in time; it may have done it all the same.

    `kind` is a short token for logs and metrics, such as `timeout` or `connection`: the text of the cause may hold an
    address or a password.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class StoreFull(Exception):  # an outcome
    """No room for another record, and the oldest is still within its window.

    `setting` is the configuration key (or the store's own setting) that bounds it; `retry_after_s` the time until the
    oldest record's window is over, as far as it is known.
    """

    def __init__(self, setting: str, retry_after_s: float) -> None:
        super().__init__(setting)
        self.setting = setting
        self.retry_after_s = retry_after_s


def app_of(owner: str) -> str:
    """Return whose record an owner's is: what stands before its `/`, a tag of the app; empty where nothing does."""
    app, slash, _ = owner.partition("/")
    return app if slash else ""


class Store(Protocol):
    """One store. A key is 16 bytes; an owner is unique to one claim of one call, never used twice: see `app_of`.

    Every method raises `StoreFailure`. A step that was cancelled, or failed, may have been made all the same.
    `is_immediate`: no step waits for anything, and nobody else has the store.
    """

    is_immediate: bool

    async def start(self) -> None:
        """Make it ready; a store that is only out of reach starts, and fails when it is used.

        Raises `ConfigError` naming the key for what will not mend itself.
        """
        ...

    async def reserve(self, key: bytes, *, owner: str, fingerprint: bytes, lease_s: float) -> Record | None:
        """Take a key that is free, or whose RESERVED record's lease is over; otherwise return its record.

        Raises `StoreFull`.
        """
        ...

    async def begin_sending(self, key: bytes, *, owner: str, lease_s: float) -> bool:
        """Step from RESERVED or SENDING to SENDING with a new lease; false when the owner does not hold the key."""
        ...

    async def renew(self, key: bytes, *, owner: str, lease_s: float) -> bool:
        """Give a RESERVED or SENDING record at least this lease from now on; false when the owner does not hold it."""
        ...

    async def settle(self, key: bytes, *, owner: str, state: State, answer: bytes) -> bool:
        """Step from SENDING to DONE or UNKNOWN, the lease over or not; false when the owner does not hold the key."""
        ...

    async def release(self, key: bytes, *, owner: str) -> bool:
        """Forget a RESERVED or SENDING record; false when the owner does not hold the key."""
        ...

    async def aclose(self) -> None:
        """Close what is open. Raises nothing."""
        ...
