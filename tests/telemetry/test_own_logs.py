"""Our own lines: a flood of one kind leaves a bounded number of them, and hides no other."""

import io
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.telemetry.flood import INTERVAL_S
from sidecar.telemetry.library_logs import LibraryLines
from sidecar.telemetry.logs import ACCESS, ACCESS_ANSWERED, ACCESS_FAILED, JsonFormatter, LogHandler
from sidecar.telemetry.own_logs import MAX_LINES_A_MINUTE, OwnLines
from tests.support.clock import Clock


class Log:
    """A handler whose lines are read back."""

    def __init__(self, *, unlimited: str | None = None) -> None:
        self.clock = Clock()
        self._stream = io.StringIO()
        own, libraries = OwnLines(unlimited=unlimited, now=self.clock), LibraryLines(self.clock)
        self.handler = LogHandler(lambda line: self._stream.write(f"{line}\n"), own, libraries)
        self.handler.setFormatter(JsonFormatter())

    def write(
        self,
        event: str,
        *,
        name: str = "sidecar.x",
        level: int = logging.WARNING,
        exc_info: Any = None,
        **fields: object,
    ) -> None:
        record = logging.LogRecord(name, level, "/x.py", 7, event, (), exc_info)
        vars(record).update(fields)
        self.handler.handle(record)

    def take(self) -> list[dict[str, Any]]:
        """Return the lines since the last look, without their times."""
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        self._stream.truncate(0)
        self._stream.seek(0)
        for line in lines:
            del line["time"]
        return lines


def raised(by: Callable[[], object]) -> Any:
    try:
        by()
    except ValueError:
        return sys.exc_info()
    return None


def here() -> None:
    raise ValueError


def there() -> None:
    raise ValueError


def test_a_flood_of_one_failure_leaves_a_bounded_number_of_lines_and_a_count() -> None:
    log = Log()
    for number in range(5000):
        log.write("push failed", app="shop", reason="NOT_SENT", trace_id=f"{number:032x}", duration_s=number)
    written = log.take()
    assert len(written) == MAX_LINES_A_MINUTE
    assert not any("suppressed" in line for line in written)
    log.clock.now += INTERVAL_S
    log.write("push failed", app="shop", reason="NOT_SENT")
    (line,) = log.take()
    assert line["suppressed"] == 5000 - MAX_LINES_A_MINUTE


@pytest.mark.parametrize(
    "other",
    [
        {"app": "shop", "reason": "OVERLOADED"},
        {"app": "news", "reason": "NOT_SENT"},
        {"app": "shop", "reason": "NOT_SENT", "cause": "tls"},
        {"app": "shop", "reason": "NOT_SENT", "event": "late vendor answer"},
        {"app": "shop", "step": "settle", "kind": "timeout", "event": "request id store failed"},
    ],
    ids=lambda other: "-".join(map(str, other.values())),
)
def test_a_flood_hides_no_line_of_another_kind(other: dict[str, str]) -> None:
    log = Log()
    for _ in range(50):
        log.write("push failed", app="shop", reason="NOT_SENT")
    log.take()
    log.write(**{"event": "push failed", **other})
    assert len(log.take()) == 1


def test_bugs_that_were_raised_elsewhere_are_other_kinds() -> None:
    log = Log()
    for _ in range(50):
        log.write("bug", app="shop", exc_info=raised(here))
    assert len(log.take()) == MAX_LINES_A_MINUTE
    log.write("bug", app="shop", exc_info=raised(there))
    assert len(log.take()) == 1


def test_what_was_not_written_is_told_when_nothing_follows() -> None:
    log = Log()
    for _ in range(25):
        log.write("push failed", app="shop", reason="NOT_SENT", trace_id="0af7")
        log.write("planted %s", name="library")
    log.take()
    log.handler.tell_suppressed()
    assert log.take() == []
    log.clock.now += INTERVAL_S
    log.handler.tell_suppressed()
    common = {"level": "warning", "event": "lines suppressed"}
    assert log.take() == [
        {**common, "of": "push failed", "app": "shop", "reason": "NOT_SENT", "suppressed": 25 - MAX_LINES_A_MINUTE},
        {**common, "of": "message of a library withheld", "logger": "library", "suppressed": 24},
    ]
    log.handler.tell_suppressed(at_once=True)
    assert log.take() == []


def test_at_the_end_it_is_told_at_once() -> None:
    log = Log()
    for _ in range(MAX_LINES_A_MINUTE + 1):
        log.write("push failed")
    log.take()
    log.handler.tell_suppressed(at_once=True)
    assert log.take() == [{"level": "warning", "event": "lines suppressed", "of": "push failed", "suppressed": 1}]


def test_who_wants_every_push_gets_every_push_and_a_limit_on_all_else() -> None:
    log = Log(unlimited=ACCESS)
    for _ in range(50):
        log.write("push answered", name=ACCESS_ANSWERED)
        log.write("push failed", name=ACCESS_FAILED, app="shop", reason="NOT_SENT")
        log.write("late vendor answer", app="shop", reason="OK")
    events = [line["event"] for line in log.take()]
    assert [events.count(event) for event in ("push answered", "push failed")] == [50, 50]
    assert events.count("late vendor answer") == MAX_LINES_A_MINUTE
