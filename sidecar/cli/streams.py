"""Standard output and standard error that may be full, closed, or unable to write a character.

It changes no exit code: what became of a push is told by the code even where nothing can be written.
"""

import io
import os
import stat
import sys
from typing import TextIO

from sidecar.telemetry.line_writer import LineWriter, write_to


def allow_every_character() -> None:
    """Let a character that a stream's encoding does not have be written escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Write a line to standard error, if that is possible."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # full, closed, or none at all
        pass


def write_soon(text: str, stream: TextIO) -> None:
    """Write a text and its end, if that is possible; wait for its reader a moment at most."""
    lines = LineWriter(write_to(stream))
    lines.put(text)
    lines.flush()


def crash_descriptor() -> int:
    """Return where a crash is written: standard error, by a way that does not wait for a reader, if there is one.

    A process that crashes and cannot say so would not end. The descriptor itself is shared with others, who may count
    on waiting; opened anew, it is ours. It stays open.
    """
    descriptor = 2
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        try:
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # no /proc, nobody reads, or it was opened by another user
            pass
    return descriptor


def give_up_unwritten() -> None:
    """Drop what a stream could not write: the interpreter would try it again at its end, and exit with status 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            _discard(stream)


def _discard(stream: TextIO) -> None:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
