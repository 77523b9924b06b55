"""The push tasks: ids for every push, and the stored texts that list pushes continue (S1 "push_id").

Must not live here: the clock, return codes.
"""

import itertools
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from sidecar.simulator.xg.rules import Json

_FIRST_ID: Final = 3_000_000_001
"""Above 2^31, like the ids in the documents' samples."""
_MAX_KEPT: Final = 10_000


@dataclass(slots=True)
class Task:
    """A stored text and how often it was used. `differing` counts continuations that brought another text."""

    push_id: str
    app_id: str
    expires_at: float
    message: Json = field(repr=False)
    calls: int = 0
    targets: int = 0
    differing: int = 0

    def use(self, message: Json, targets: int) -> None:
        """Count one call; the stored text is the one that is pushed."""
        self.calls += 1
        self.targets += targets
        if message != self.message:
            self.differing += 1

    def to_json(self) -> dict[str, object]:
        """Return the task as the admin endpoint gives it."""
        return {
            "push_id": self.push_id,
            "app_id": self.app_id,
            "expires_at": self.expires_at,
            "message": dict(self.message),
            "calls": self.calls,
            "targets": self.targets,
            "differing": self.differing,
        }


class TaskBook:
    """All tasks, the oldest dropped above 10000."""

    def __init__(self) -> None:
        self._ids = itertools.count(_FIRST_ID)
        self._tasks: OrderedDict[str, Task] = OrderedDict()

    def new_id(self) -> str:
        """Return an id that was not given before."""
        return str(next(self._ids))

    def create(self, app_id: str, message: Json, expires_at: float) -> Task:
        """Store a text under a new id."""
        task = Task(self.new_id(), app_id, expires_at, message)
        self._tasks[task.push_id] = task
        if len(self._tasks) > _MAX_KEPT:
            self._tasks.popitem(last=False)
        return task

    def find(self, app_id: str, push_id: str, now: float) -> Task | None:
        """Return the app's live task of that id."""
        task = self._tasks.get(push_id)
        if task is None or task.app_id != app_id or now >= task.expires_at:
            return None
        return task

    def all(self) -> list[Task]:
        """Return the tasks that are kept, expired ones included, oldest first."""
        return list(self._tasks.values())
