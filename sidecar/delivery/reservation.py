"""The places of quotas that calls of this process hold or wait for: who comes next, and how many places it needs free.

A call that is let through holds its places until it is counted, or gives them back when it stops before that. So no
more calls are let through than there is room. Calls under the same quotas wait in one line, in the order of their
arrival. Decides; asks the counter nothing and waits for nothing.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from sidecar.delivery.quota import Quota
from sidecar.stores.quota import Charge, Limit, Room

# The order of arrival in this process.
_numbers = count()


class Gate:
    """A quota of one account at its vendor: the places that this process' calls hold, and all that it has counted.

    `changes` counts how often places have come free before their time.
    """

    __slots__ = ("changes", "counted", "held", "limits", "lines", "quota")

    def __init__(self, subject: str, quota: Quota) -> None:
        self.quota = quota
        self.limits = tuple((f"{subject}:{quota.name}:{limit.window_s}", limit) for limit in quota.limits)
        self.held = 0
        self.counted = 0
        self.changes = 0
        self.lines: list[Line] = []

    def charges(self, cost: int) -> list[Charge]:
        """Return what a call costs. One that costs more than a limit has takes all of it: the vendor has the word."""
        return [Charge(key, limit, min(cost, limit.amount)) for key, limit in self.limits]

    def change(self) -> None:
        """Let those look again that come next: there may be room for one."""
        self.changes += 1
        for line in self.lines:
            line.wake()


class Gates:
    """The gates of this process: apps of the same account share theirs."""

    def __init__(self) -> None:
        self._gates: dict[tuple[str, Quota], Gate] = {}

    def of(self, subject: str, quotas: Iterable[Quota]) -> list[Gate]:
        """Return the gates of an app; `subject` is whose quotas they are at the vendor."""
        return [self._gates.setdefault((subject, quota), Gate(subject, quota)) for quota in quotas]


class Line:
    """The calls that wait for the same quotas, in the order of their arrival.

    `names` are what a refusal of the vendor may pause, for all of them.
    """

    def __init__(self, names: Sequence[str], gates: Sequence[Gate]) -> None:
        self.names = names
        self.gates = gates
        self._waiting: deque[Hold] = deque()
        self._costs = dict.fromkeys(gates, 0)
        for gate in gates:
            gate.lines.append(self)

    def __len__(self) -> int:
        return len(self._waiting)

    def lets(self, hold: "Hold") -> bool:
        """Whether nobody waits who came before this call."""
        return not self._waiting or self._waiting[0].number >= hold.number

    def join(self, hold: "Hold") -> None:
        """Wait. A call that was let through, and lost its places, is still before those that came after it."""
        index = len(self._waiting)
        while index > 0 and self._waiting[index - 1].number > hold.number:
            index -= 1
        self._waiting.insert(index, hold)
        for gate, cost in hold.costs.items():
            self._costs[gate] += cost

    def leave(self, hold: "Hold") -> None:
        """Wait no more, with the places or without them."""
        self._waiting.remove(hold)
        hold.lacks = None
        for gate, cost in hold.costs.items():
            self._costs[gate] -= cost
        self.wake()
        if not hold.is_held:
            for gate in self.gates:
                gate.change()

    def wake(self) -> None:
        """Let the first look again."""
        if self._waiting:
            self._waiting[0].wake()

    def wake_all(self) -> None:
        """Let everybody look again."""
        for hold in self._waiting:
            hold.wake()

    def costs_before(self, hold: "Hold", gate: Gate) -> int:
        """Return how many places of a gate calls wait for that come before this one."""
        before = 0
        if not self._waiting or self._waiting[-1].number < hold.number:
            before = self._costs[gate]
        else:
            for other in self._waiting:
                if other.number >= hold.number:
                    break
                before += other.costs[gate]
        for line in gate.lines:
            if line is not self and line._waiting:  # noqa: SLF001  # of its own class
                first = line._waiting[0]  # noqa: SLF001
                if first.number < hold.number and first.lacks is gate:
                    before += first.costs[gate]
        return before


class Hold:
    """What one call has of its quotas: places that it waits for, holds, or has used. `costs` are places by gate."""

    __slots__ = ("_changes", "_is_counting", "costs", "is_held", "lacks", "line", "number", "pause")

    def __init__(self, line: Line, costs: Mapping[Gate, int]) -> None:
        self.line = line
        self.costs = costs
        self.number = next(_numbers)
        self.is_held = False
        self._is_counting = False
        # The gate that has room last, as it was seen when the call looked last.
        self.lacks: Gate | None = None
        self.pause: asyncio.Future[None] | None = None
        self._changes = 0

    def wake(self) -> None:
        """End its pause."""
        if self.pause is not None:
            self.pause.cancel()

    def begin_look(self) -> None:
        """Forget what changed before."""
        self._changes = sum(gate.changes for gate in self.costs)

    @property
    def must_look_again(self) -> bool:
        """Whether places have come free since it began to look."""
        return self._changes != sum(gate.changes for gate in self.costs)

    def charges(self) -> list[Charge]:
        """Return what the call costs."""
        return [charge for gate, cost in self.costs.items() for charge in gate.charges(cost)]

    def reserve(self) -> None:
        """Hold the places from now on."""
        self.is_held = True
        for gate, cost in self.costs.items():
            gate.held += cost

    def begin_counting(self) -> None:
        """Keep the places until the counter has answered, whoever leaves before that."""
        self._is_counting = True

    def end_counting(self, *, is_counted: bool) -> None:
        """Exchange the places for what was counted, or give them back."""
        self._is_counting = False
        if is_counted:
            for gate, cost in self.costs.items():
                gate.counted += cost
        self._free(wakes=not is_counted)

    def give_back(self) -> None:
        """Give back what is held and is not being counted."""
        if not self._is_counting:
            self._free(wakes=True)

    def _free(self, *, wakes: bool) -> None:
        if not self.is_held:
            return
        self.is_held = False
        for gate, cost in self.costs.items():
            gate.held -= cost
        if wakes:
            for gate in self.costs:
                gate.change()


class Question:
    """What a call asks the counter before it is let through: for its places behind those held, and those before it.

    More places than a limit has come free in several windows: what is asked for is the last of them, and the windows
    before it are added. That is exact while every call costs one place and those before it go as soon as they may.
    """

    def __init__(self, hold: Hold) -> None:
        self.charges: list[Charge] = []
        self._asked: list[tuple[Gate, Limit, int, int, int]] = []
        for gate, cost in hold.costs.items():
            before = hold.line.costs_before(hold, gate)
            for charge in gate.charges(cost):
                needed = charge.cost + before
                windows, places = divmod(needed + gate.held - 1, charge.limit.amount)
                self.charges.append(Charge(charge.key, charge.limit, places + 1))
                self._asked.append((gate, charge.limit, windows, needed, gate.counted))

    def is_outdated(self, rooms: Sequence[Room]) -> bool:
        """Whether others of this process have taken, since it was asked, what the answer says is free."""
        return any(
            room.left < needed + gate.held + gate.counted - counted
            for room, (gate, _, _, needed, counted) in zip(rooms, self._asked, strict=True)
        )

    def read(self, rooms: Sequence[Room]) -> tuple[float, Gate | None]:
        """Return the time to wait, and the gate that it is for."""
        wait_s, lacks = 0.0, None
        for room, (gate, limit, windows, _, _) in zip(rooms, self._asked, strict=True):
            gate_wait_s = room.wait_s + windows * limit.window_s
            if gate_wait_s > wait_s:
                wait_s, lacks = gate_wait_s, gate
        return wait_s, lacks
