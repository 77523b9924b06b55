"""Log lines: one JSON object each, or plain text for people. Fields come by `extra`; nothing else is written.

Which of our lines are written is own_logs.py's, and what of those of libraries library_logs.py's.
"""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sidecar.config import LogConfig
from sidecar.telemetry.library_logs import LibraryLines, is_ours
from sidecar.telemetry.line_writer import LineStream, LineWriter, write_to
from sidecar.telemetry.own_logs import OwnLines

# The loggers of the access log: `log.access` turns them on and off.
ACCESS = "sidecar.access"
ACCESS_ANSWERED = f"{ACCESS}.answered"
ACCESS_FAILED = f"{ACCESS}.failed"
_NEVER = logging.CRITICAL + 1

# How often is looked for lines that were not written and have not been told of, in seconds.
SUMMARY_INTERVAL_S = 5.0

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# Made once: `json.dumps` with arguments of its own makes an encoder a line.
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, event, and the extra fields."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = _where(record)
        return _encode(line)


class TextFormatter(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, event, and the extra fields as key=value."""
        fields = "".join(f" {key}={value}" for key, value in _extra(record).items())
        where = f"\n    {_where(record)}" if record.exc_info else ""
        return f"{_time(record)} {record.levelname:<7} {record.getMessage()}{fields}{where}"


class LogHandler(logging.Handler):
    """Writes of our records some of each kind a minute, and of those of libraries what can be shown.

    `write` takes a line without its end; it must not wait, since the event loop calls it.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        own: OwnLines | None = None,
        libraries: LibraryLines | None = None,
        *,
        flush: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__()
        self._write = write
        self._own = own or OwnLines()
        self._libraries = libraries or LibraryLines()
        self._flush = flush

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or what can be shown of it, if it is to be written."""
        try:
            shown = (self._own if is_ours(record) else self._libraries).reduce(record)
            if shown is not None:
                self._write(self.format(shown))
        except Exception as bug:  # noqa: BLE001  # `logging` would print what the record was filled with
            fields = {"at": f"{record.filename}:{record.lineno}", "exception": type(bug).__name__}
            shown = self._own.reduce(_line("bug in a log line", fields, logging.ERROR))
            if shown is not None:
                self._write(self.format(shown))

    def flush(self) -> None:
        """Wait a moment until what was taken is written: `logging` calls this at the end of the process."""
        self._flush()

    def tell_suppressed(self, *, at_once: bool = False) -> None:
        """Write how many lines were not written, once: of the minutes that are over, or of all."""
        self.acquire()
        try:
            for lines in (self._own, self._libraries):
                for fields in lines.take_suppressed(at_once=at_once):
                    self._write(self.format(_line("lines suppressed", fields)))
        finally:
            self.release()

    def describe_dropped(self, count: int) -> str:
        """Return the line that tells how many lines were dropped."""
        return self.format(_line("log lines dropped", {"dropped": count}))


def _line(event: str, fields: Mapping[str, object], level: int = logging.WARNING) -> logging.LogRecord:
    """Make a record of the log's own, which no limit applies to."""
    named = {"name": "sidecar", "msg": event, "levelno": level, "levelname": logging.getLevelName(level)}
    return logging.makeLogRecord({**named, **fields})


@asynccontextmanager
async def logging_to_stderr(config: LogConfig) -> AsyncIterator[LineWriter]:
    """Send every log line of the process to standard error, and tell of those that are not written.

    Nobody waits for who reads them, and neither does the end of the block for longer than a moment.
    """
    stream = sys.stderr

    def describe(count: int) -> str:
        return handler.describe_dropped(count)

    lines = LineWriter(write_to(stream), tell=describe)
    handler = set_up(config, lines.put, flush=lines.flush)
    # Who writes past the log, as `warnings` and the interpreter itself do, must not wait either.
    sys.stderr = LineStream(lines.put, stream)

    async def tell() -> None:
        while True:
            await asyncio.sleep(SUMMARY_INTERVAL_S)
            handler.tell_suppressed()

    telling = asyncio.create_task(tell())
    try:
        yield lines
    finally:
        telling.cancel()
        handler.tell_suppressed(at_once=True)
        sys.stderr = stream
        # Nothing else is under way any more: the loop may wait.
        lines.flush()


def set_up(
    config: LogConfig, write: Callable[[str], object], *, flush: Callable[[], object] = lambda: None
) -> LogHandler:
    """Send every log line of the process to `write`, which is for standard error."""
    # Who wants a line for each push wants them all.
    handler = LogHandler(write, OwnLines(unlimited=ACCESS if config.access == "all" else None), flush=flush)
    is_text = config.format == "text" or (config.format == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if is_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.level.upper())
    logging.getLogger(ACCESS_ANSWERED).setLevel(logging.NOTSET if config.access == "all" else _NEVER)
    logging.getLogger(ACCESS_FAILED).setLevel(_NEVER if config.access == "none" else logging.NOTSET)
    return handler


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _where(record: logging.LogRecord) -> str:
    """Return an exception's type and place: its text may quote a push, so it is left out."""
    kind, _, trace = record.exc_info or (None, None, None)
    frames = []
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{kind.__name__ if kind else 'exception'} at {' > '.join(frames)}"
