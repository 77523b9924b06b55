"""Standard output and standard error that may be full, closed, or unable to write a character.

It changes no exit code: what became of a push is told by the code even where nothing can be written.
"""

import io
import os
import sys
from typing import TextIO


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
