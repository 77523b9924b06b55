"""What is written of the log lines of libraries: that there was one and where, and nothing that it was filled with.

A library may log what a caller or the vendor sent (gRPC does with metadata that is no text, asyncio with exceptions).
So no argument is ever formatted, a text is written only where it is one of the constants below, and what comes often
is counted, so that nobody can fill the log from outside.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator

from sidecar.telemetry.flood import Flood

OURS = "sidecar"
WITHHELD = "message of a library withheld"

# First lines as they stand in the libraries' sources, before any argument is filled in.
KNOWN = frozenset(
    {
        # asyncio, uvloop
        "Future exception was never retrieved",
        "Task exception was never retrieved",
        "Task was destroyed but it is pending!",
        "Unhandled exception in event loop",
        "Fatal error on SSL transport",
        "Fatal error on transport",
        "SSL connection is closed",
        "socket.accept() out of system resource",
        "socket.send() raised exception.",
        # aiohttp
        "Error handling request from %s",
        "Unhandled exception",
        # gRPC
        "Exception calling callback!",
        "Invalid encoding on %s",
        # OpenTelemetry
        "Could not convert TRACES_SAMPLER_ARG to float. Using default rate 1.0.",
        "Couldn't recognize sampler %s.",
        "Dropping span batch: serialized size %d bytes exceeds max_request_size %d bytes.",
        "Exception while exporting %s.",
        "Exporter already shutdown, ignoring batch",
        "Failed to encode span batch: %s",
        "Failed to export %s batch code: %s, reason: %s",
        "Failed to export %s batch due to timeout, max retries or shutdown.",
        "Failed to export %s to %s, error code: %s, error details: %s",
        "Queue full, dropping %s.",
        "Shutdown in progress, aborting retry.",
        "Transient error %s encountered while exporting %s batch, retrying in %.2fs.",
        "Transient error %s encountered while exporting %s to %s, retrying in %.2fs. Error details: %s",
    }
)
_ARGUMENT = re.compile(r"%[-+ #0-9.]*[a-zA-Z]")


class LibraryLines:
    """Makes of a library's record one that can be written. Not thread-safe: a handler calls it under its lock."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._flood: Flood[tuple[str, str]] = Flood(1, now)

    def reduce(self, record: logging.LogRecord) -> logging.LogRecord | None:
        """Return what is written of a record, or None where nothing is.

        Nothing is below a warning, nor within a minute of an equal line, which then tells how many there were.
        """
        if record.levelno < logging.WARNING:
            return None
        event = _event(record.msg)
        suppressed = self._flood.admit((record.name, event))
        if suppressed is None:
            return None
        reduced = logging.LogRecord(
            record.name, record.levelno, record.pathname, record.lineno, event, None, record.exc_info
        )
        reduced.created = record.created
        fields: dict[str, object] = {"logger": record.name, "at": f"{record.filename}:{record.lineno}"}
        if suppressed:
            fields["suppressed"] = suppressed
        vars(reduced).update(fields)
        return reduced

    def take_suppressed(self, *, at_once: bool = False) -> Iterator[dict[str, object]]:
        """Give out, once, the fields of lines that tell what was not written: of minutes that are over, or of all."""
        for (logger, event), count in self._flood.take(at_once=at_once):
            yield {"of": event, "logger": logger, "suppressed": count}


def is_ours(record: logging.LogRecord) -> bool:
    """Whether a record is the sidecar's own."""
    return record.name == OURS or record.name.startswith(f"{OURS}.")


def _event(message: object) -> str:
    first = message.partition("\n")[0] if isinstance(message, str) else ""
    return _ARGUMENT.sub("...", first) if first in KNOWN else WITHHELD
