"""Lines of libraries: how often they are written, and which texts are known to hold nothing."""

import ast
import importlib.util
import logging
from pathlib import Path

import pytest

from sidecar.telemetry.flood import INTERVAL_S
from sidecar.telemetry.library_logs import KNOWN, WITHHELD, LibraryLines, is_ours
from tests.support.clock import Clock

QUEUE_FULL = "Queue full, dropping %s."


def record(
    message: object = QUEUE_FULL, *arguments: object, name: str = "otel.sdk", level: int = 30
) -> logging.LogRecord:
    return logging.LogRecord(name, level, "/lib/export.py", 7, message, arguments, None)


def shown(lines: LibraryLines, *of: logging.LogRecord) -> list[dict[str, object]]:
    written = [lines.reduce(each) for each in of]
    keys = ("msg", "logger", "at", "suppressed")
    return [{key: vars(each)[key] for key in keys if key in vars(each)} for each in written if each is not None]


def test_known_text_is_written_without_its_arguments() -> None:
    lines = LibraryLines(Clock())
    assert shown(lines, record(QUEUE_FULL, "planted")) == [
        {"msg": "Queue full, dropping ....", "logger": "otel.sdk", "at": "export.py:7"}
    ]
    transient = "Transient error %s encountered while exporting %s to %s, retrying in %.2fs. Error details: %s"
    assert shown(lines, record(transient, 1, 2, 3, 4.0, 5))[0]["msg"] == (
        "Transient error ... encountered while exporting ... to ..., retrying in ...s. Error details: ..."
    )


@pytest.mark.parametrize(
    "message",
    ["planted", "Queue full, dropping planted.", f"{QUEUE_FULL} planted", "", "\nUnhandled exception", 7, None],
)
def test_other_text_is_withheld(message: object) -> None:
    assert shown(LibraryLines(Clock()), record(message)) == [
        {"msg": WITHHELD, "logger": "otel.sdk", "at": "export.py:7"}
    ]


def test_equal_lines_are_written_once_a_minute_with_how_many_there_were() -> None:
    clock = Clock()
    lines = LibraryLines(clock)
    flood = [record(f"planted {number}") for number in range(500)]
    assert [line.get("suppressed") for line in shown(lines, *flood)] == [None]
    clock.now += INTERVAL_S - 0.001
    assert shown(lines, record("planted")) == []
    clock.now += 0.001
    assert [line.get("suppressed") for line in shown(lines, *flood)] == [500]
    clock.now += INTERVAL_S
    assert [line.get("suppressed") for line in shown(lines, record("x"))] == [499]
    clock.now += INTERVAL_S
    assert [line.get("suppressed") for line in shown(lines, record("x"))] == [None]


def test_a_flood_hides_no_other_line() -> None:
    lines = LibraryLines(Clock())
    assert len(shown(lines, *(record("planted") for _ in range(5)))) == 1
    assert len(shown(lines, record(), record("planted", name="other"))) == 2


def test_nothing_below_a_warning_is_written() -> None:
    assert shown(LibraryLines(Clock()), record(level=logging.INFO), record(level=logging.DEBUG)) == []


@pytest.mark.parametrize(
    ("name", "ours"), [("sidecar", True), ("sidecar.app", True), ("sidecars", False), ("root", False), ("grpc", False)]
)
def test_which_loggers_are_ours(name: str, ours: bool) -> None:
    assert is_ours(record(name=name)) is ours


def test_known_texts_of_opentelemetry_stand_in_its_sources() -> None:
    """A release that words them otherwise is seen here: its lines would be withheld."""
    texts = set()
    for package in ("opentelemetry.sdk", "opentelemetry.exporter"):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        for folder in spec.submodule_search_locations or ():
            for path in Path(folder).rglob("*.py"):
                nodes = ast.walk(ast.parse(path.read_text()))
                texts |= {
                    node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
                }
    exporting = {text for text in KNOWN if "export" in text.lower()}
    assert len(exporting) >= 7
    assert exporting <= texts
