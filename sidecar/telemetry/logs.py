"""Log lines: one JSON object each, or plain text for people. Fields come by `extra`; nothing else is written.

What is written of the lines of libraries is library_logs.py's.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from sidecar.config import LogConfig
from sidecar.telemetry.library_logs import LibraryLines, is_ours

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


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
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, event, and the extra fields as key=value."""
        fields = "".join(f" {key}={value}" for key, value in _extra(record).items())
        where = f"\n    {_where(record)}" if record.exc_info else ""
        return f"{_time(record)} {record.levelname:<7} {record.getMessage()}{fields}{where}"


class LogHandler(logging.StreamHandler[TextIO]):
    """Writes our records as they are, and of those of libraries what can be shown."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._libraries = LibraryLines()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or what can be shown of it."""
        shown = record if is_ours(record) else self._libraries.reduce(record)
        if shown is not None:
            super().emit(shown)


def set_up(config: LogConfig) -> None:
    """Send every log line of the process to standard error."""
    handler = LogHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if config.format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.level.upper())


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
