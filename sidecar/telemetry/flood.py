"""Lets so many equal lines a minute through, and counts the others. Decides; writes nothing."""

import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

INTERVAL_S = 60.0

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class _Minute:
    """What there was since the first line of this minute."""

    began_at: float
    written: int = 0
    suppressed: int = 0


class Flood(Generic[K]):
    """Counts lines by what makes them equal. Not thread-safe."""

    def __init__(self, max_lines: int, now: Callable[[], float] = time.monotonic) -> None:
        """Let `max_lines` a minute through, of each key."""
        self._max_lines = max_lines
        self._now = now
        self._minutes: dict[K, _Minute] = {}

    def admit(self, key: K) -> int | None:
        """Return None for a line that is not to be written, else how many were not and have not been told of yet."""
        minute = self._minutes.get(key)
        told = 0
        if minute is None or self._is_over(minute):
            told = minute.suppressed if minute else 0
            minute = self._minutes[key] = _Minute(self._now())
        if minute.written >= self._max_lines:
            minute.suppressed += 1
            return None
        minute.written += 1
        return told

    def take(self, *, at_once: bool = False) -> Iterator[tuple[K, int]]:
        """Give out how many lines were not written, once: of the minutes that are over, or of all."""
        for key, minute in list(self._minutes.items()):
            if at_once or self._is_over(minute):
                del self._minutes[key]
                if minute.suppressed:
                    yield key, minute.suppressed

    def _is_over(self, minute: _Minute) -> bool:
        return self._now() - minute.began_at >= INTERVAL_S
