"""What happened to one request: waits, connects, re-use, the answer, as (name, time) pairs for the trace."""

import time
from contextvars import ContextVar


class ConnectionNotes:
    """Events of one request, in order; times in nanoseconds since the epoch."""

    __slots__ = ("events", "is_connected", "is_looking_up", "is_reused")

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.is_connected = False
        # A lookup of the host's name has begun and not ended: what cuts it short is a failure of the lookup.
        self.is_looking_up = False
        self.is_reused = False

    def add(self, name: str) -> None:
        """Note that something happened now."""
        self.events.append((name, time.time_ns()))


# The transport's callbacks know no request of ours: they find its notes here.
current_notes: ContextVar[ConnectionNotes] = ContextVar("current_notes")
