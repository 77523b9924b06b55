"""Log lines: one object each, with what was given and nothing else."""

import asyncio
import gc
import io
import json
import logging
import os
import sys
from collections.abc import Iterator

import pytest

from sidecar.config import LogConfig
from sidecar.telemetry.library_logs import WITHHELD
from sidecar.telemetry.line_writer import LineStream
from sidecar.telemetry.logs import (
    ACCESS_ANSWERED,
    ACCESS_FAILED,
    JsonFormatter,
    LogHandler,
    TextFormatter,
    logging_to_stderr,
    set_up,
)
from tests.support.waiting import until

TIME = r"2026-01-02T03:04:05.678+00:00"


def record(message: str = "push failed", *, exc_info: object = None, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("sidecar.x", logging.WARNING, "x.py", 1, message, (), exc_info)  # type: ignore[arg-type]
    made.created = 1767323045.678
    for key, value in extra.items():
        setattr(made, key, value)
    return made


def to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@pytest.fixture
def _root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in (ACCESS_ANSWERED, ACCESS_FAILED):
        logging.getLogger(name).setLevel(logging.NOTSET)


def failure() -> object:
    try:
        int("planted-secret")
    except ValueError:
        return sys.exc_info()
    return None


def test_json_line_has_time_level_event_and_the_fields() -> None:
    line = JsonFormatter().format(record(app="shop", attempts=2, trace_id="0af7"))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": TIME, "level": "warning", "event": "push failed", "app": "shop", "attempts": 2, "trace_id": "0af7",
    }  # fmt: skip


def test_json_line_can_hold_whatever_is_given() -> None:
    fields = json.loads(JsonFormatter().format(record("a\nb", other=object, text="\u4e2d\n\u2028")))
    assert (fields["event"], fields["other"], fields["text"]) == ("a\nb", "<class 'object'>", "\u4e2d\n\u2028")


def test_text_line_is_for_people() -> None:
    line = TextFormatter().format(record(app="shop", attempts=2))
    assert line == f"{TIME} WARNING push failed app=shop attempts=2"


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_exception_is_told_by_type_and_place_without_its_text(formatter: logging.Formatter) -> None:
    line = formatter.format(record(exc_info=failure()))
    assert "ValueError at test_logs.py:" in line
    assert "planted-secret" not in line


@pytest.mark.usefixtures("_root_as_before")
@pytest.mark.parametrize(("format_", "starts"), [("json", "{"), ("text", "20")])
def test_lines_of_the_whole_process_go_to_standard_error(
    capsys: pytest.CaptureFixture[str], format_: str, starts: str
) -> None:
    set_up(LogConfig(level="warning", format=format_), to_stderr)  # type: ignore[arg-type]
    logging.getLogger("sidecar.x").info("not written")
    logging.getLogger("sidecar.x").warning("written")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(starts)
    assert "not written" not in err
    assert err.count("\n") == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("_root_as_before")
@pytest.mark.parametrize(
    ("stream", "format_", "starts"),
    [
        (Terminal(), "auto", "20"),
        (Terminal(), "json", "{"),
        (io.StringIO(), "auto", "{"),
        (io.StringIO(), "text", "20"),
    ],
    ids=["terminal", "terminal-json", "pipe", "pipe-text"],
)
def test_who_looks_on_from_a_terminal_gets_text(
    stream: io.StringIO, format_: str, starts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    set_up(LogConfig(format=format_), to_stderr)  # type: ignore[arg-type]
    logging.getLogger("sidecar.x").info("written")
    assert stream.getvalue().startswith(starts)


@pytest.mark.usefixtures("_root_as_before")
@pytest.mark.parametrize(
    ("access", "level", "written"),
    [
        ("none", "debug", []),
        ("failures", "info", ["failed", "failed louder"]),
        ("failures", "warning", ["failed louder"]),
        ("all", "info", ["answered", "failed", "failed louder"]),
        ("all", "warning", ["failed louder"]),
    ],
)
def test_access_log_can_be_switched(
    access: str, level: str, written: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(LogConfig(access=access, level=level), to_stderr)  # type: ignore[arg-type]
    logging.getLogger(ACCESS_ANSWERED).info("answered")
    logging.getLogger(ACCESS_FAILED).info("failed")
    logging.getLogger(ACCESS_FAILED).warning("failed louder")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == written


@pytest.mark.usefixtures("_root_as_before")
async def test_what_was_not_written_is_told_in_time_and_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    monkeypatch.setattr("sidecar.telemetry.logs.SUMMARY_INTERVAL_S", 0.001)
    monkeypatch.setattr(LogHandler, "tell_suppressed", lambda _, *, at_once=False: told.append(at_once))
    async with logging_to_stderr(LogConfig()):
        await until(lambda: len(told) > 2)
    assert set(told[:-1]) == {False}
    assert told[-1]
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("_root_as_before")
async def test_what_is_printed_past_the_log_does_not_wait_for_a_reader_either(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sys.stderr
    async with logging_to_stderr(LogConfig()) as lines:
        logging.getLogger("sidecar.x").info("first")
        sys.stderr.write("second\n")
        assert isinstance(sys.stderr, LineStream)
    assert sys.stderr is before
    first, second = capsys.readouterr().err.splitlines()
    assert (json.loads(first)["event"], second, lines.dropped) == ("first", "second", 0)


@pytest.mark.usefixtures("_root_as_before")
async def test_lines_that_were_dropped_are_told_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        async with logging_to_stderr(LogConfig(level="warning")) as lines:
            os.close(reading)
            logging.getLogger("sidecar.x").warning("lost")
            assert lines.flush()
            reading, fresh = os.pipe()
            os.dup2(fresh, stream.fileno())
            os.close(fresh)
            logging.getLogger("sidecar.x").warning("written")
    with os.fdopen(reading) as reader:
        told, line = (json.loads(line) for line in reader)
    assert (told["event"], told["level"], told["dropped"]) == ("log lines dropped", "warning", 1)
    assert line["event"] == "written"


def test_line_that_cannot_be_made_is_told_by_its_place_without_what_it_was_filled_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    written: list[str] = []
    handler = LogHandler(written.append)
    handler.setFormatter(JsonFormatter())
    broken = record("%d pushes")
    broken.args = ("planted-secret",)
    handler.handle(broken)
    line = json.loads(written[0])
    del line["time"]
    assert line == {"level": "error", "event": "bug in a log line", "at": "x.py:1", "exception": "TypeError"}
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("_root_as_before")
@pytest.mark.parametrize("format_", ["json", "text"])
def test_line_of_a_library_shows_nothing_that_it_was_filled_with(
    capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    set_up(LogConfig(level="debug", format=format_), to_stderr)  # type: ignore[arg-type]
    for name in ("somebody.else", "sidecars", "grpc._cython.cygrpc", "asyncio", "root"):
        library = logging.getLogger(name)
        library.error("Invalid encoding on %s", b"planted-secret")
        library.error(f"planted-secret of {name}", extra={"value": "planted-secret"}, stack_info=True)
        library.error("Task exception was never retrieved\nfuture: planted-secret", exc_info=failure())  # type: ignore[arg-type]
        library.error(ValueError("planted-secret"))
        library.info("Transient error planted-secret")
    err = capsys.readouterr().err
    assert "planted-secret" not in err
    assert err.count("ValueError at test_logs.py:") == 5
    for name in ("sidecars", "grpc._cython.cygrpc"):
        assert name in err
    for event in ("Invalid encoding on ...", "Task exception was never retrieved", WITHHELD):
        assert err.count(event) == 5


@pytest.mark.usefixtures("_root_as_before")
async def test_exception_that_nobody_took_is_told_without_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    async def fail() -> None:
        raise ValueError("planted-secret")

    set_up(LogConfig(), to_stderr)
    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["logger"]) == ("Task exception was never retrieved", "asyncio")
    assert line["exception"].startswith("ValueError at test_logs.py:")
    assert "planted-secret" not in repr(line)
