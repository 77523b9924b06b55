"""What the simulator keeps about what it received: requests and the pushes that it acted on.

Bounded by number and by size, the oldest go first. Must not live here: HTTP, vendors' fields, admin calls.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sidecar.simulator.exchange import NOT_JSON, Delivery, parse_json

MAX_KEPT = 100_000
MAX_KEPT_BYTES = 128 * 1024 * 1024
"""Of request bodies."""
MAX_KEPT_TARGETS = 1_000_000
"""Of all kept deliveries together."""

Item = TypeVar("Item")


@dataclass(slots=True)
class Record:
    """One request as it came, and what was done about it.

    `connection` counts the TCP connections, so two records with one number shared a connection. `status` is
    None when no status line was sent; `answer` is the vendor's answer even if a fault kept it from the
    caller. `is_complete` is False when the body was not wholly read.
    """

    number: int
    time: float
    connection: int
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    raw: bytes = field(default=b"", repr=False)
    is_complete: bool = False
    status: int | None = None
    answer: object = field(default=None, repr=False)
    reason: str | None = None
    fault: str | None = None
    was_delivered: bool = False

    @property
    def text(self) -> str:
        """The body as text."""
        return self.raw.decode("utf-8", "replace")

    @property
    def body(self) -> object:
        """The body as parsed JSON, None when it is not JSON."""
        value = parse_json(self.raw)
        return None if value is NOT_JSON else value

    def to_json(self) -> dict[str, object]:
        """Return the record as the admin endpoint gives it."""
        return {
            "number": self.number,
            "time": self.time,
            "connection": self.connection,
            "method": self.method,
            "path": self.path,
            "headers": dict(self.headers),
            "body": self.body,
            "text": self.text,
            "complete": self.is_complete,
            "status": self.status,
            "answer": self.answer,
            "reason": self.reason,
            "fault": self.fault,
            "delivered": self.was_delivered,
        }


class Kept(Generic[Item]):
    """The newest items, bounded by number and by the sum of their costs; `total` counts all that came."""

    def __init__(self, cost: Callable[[Item], int], *, max_items: int, max_cost: int) -> None:
        self._cost = cost
        self._max_items = max_items
        self._max_cost = max_cost
        self._items: deque[Item] = deque()
        self._sum = 0
        self.total = 0

    def add(self, item: Item) -> None:
        """Keep `item`, dropping the oldest as needed; the newest is always kept."""
        self.total += 1
        self._items.append(item)
        self._sum += self._cost(item)
        while len(self._items) > 1 and (len(self._items) > self._max_items or self._sum > self._max_cost):
            self._sum -= self._cost(self._items.popleft())

    def items(self) -> list[Item]:
        """Return what is kept, oldest first."""
        return list(self._items)

    def clear(self) -> None:
        """Forget everything; `total` goes back to 0."""
        self._items.clear()
        self._sum = 0
        self.total = 0


class Journal:
    """The requests received and the pushes acted on."""

    def __init__(self) -> None:
        self.requests: Kept[Record] = Kept(lambda record: len(record.raw), max_items=MAX_KEPT, max_cost=MAX_KEPT_BYTES)
        self.deliveries: Kept[Delivery] = Kept(
            lambda delivery: len(delivery.targets), max_items=MAX_KEPT, max_cost=MAX_KEPT_TARGETS
        )

    def clear(self) -> None:
        """Forget everything."""
        self.requests.clear()
        self.deliveries.clear()
