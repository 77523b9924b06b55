"""How often our own lines are written: some of each kind a minute, so that a flood of one failure fills no disk.

A kind is what happened, where and why: the event, the app and the reason; never what a push holds.
"""

import logging
import time
from collections.abc import Callable, Iterator

from sidecar.telemetry.flood import Flood

MAX_LINES_A_MINUTE = 10

# What tells kinds apart, of a line's fields. Each has few values.
_KIND = ("app", "listener", "reason", "cause", "step", "kind")

_Kind = tuple[tuple[str, object], ...]


class OwnLines:
    """Decides which of them are written. Not thread-safe: a handler calls it under its lock."""

    def __init__(self, *, unlimited: str | None = None, now: Callable[[], float] = time.monotonic) -> None:
        """Limit all but those of the logger `unlimited` and below."""
        self._unlimited = unlimited
        self._flood: Flood[_Kind] = Flood(MAX_LINES_A_MINUTE, now)

    def reduce(self, record: logging.LogRecord) -> logging.LogRecord | None:
        """Return the record, with how many of its kind were not written before it, or None where it is not."""
        if self._unlimited is not None and record.name.startswith(self._unlimited):
            return record
        suppressed = self._flood.admit(_kind(record))
        if suppressed is None:
            return None
        if suppressed:
            record.suppressed = suppressed
        return record

    def take_suppressed(self, *, at_once: bool = False) -> Iterator[dict[str, object]]:
        """Give out, once, the fields of lines that tell what was not written: of minutes that are over, or of all."""
        for kind, count in self._flood.take(at_once=at_once):
            yield {name: value for name, value in kind if name != "at"} | {"suppressed": count}


def _kind(record: logging.LogRecord) -> _Kind:
    fields = vars(record)
    # Different bugs have the same event: where it was written from tells them apart, and where it was raised.
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = (record.lineno, (trace.tb_frame.f_code, trace.tb_lineno) if trace is not None else None)
    named = tuple((name, fields[name]) for name in _KIND if name in fields)
    return (("of", record.getMessage()), ("at", at), *named)
