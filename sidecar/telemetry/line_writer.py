"""Writes lines to a descriptor in a thread of its own: who has something to say never waits for who reads it.

It owns the queue, its bounds, and the account of what was dropped. What a line says is the caller's.
"""

import io
import os
import select
import time
from _thread import allocate_lock, start_new_thread
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from threading import RLock
from typing import TextIO

# What may wait: some seconds of the access log of a busy sidecar.
MAX_LINES = 10_000
MAX_BYTES = 4 * 1024 * 1024
# How long the end of the process waits for what is not written yet.
FLUSH_TIMEOUT_S = 1.0
# After a line was written, lines of so long are gathered: to wake the thread costs the event loop as much as a write.
_GATHER_S = 0.005
# Up to this size a write to a pipe is never mixed with those of another process (PIPE_BUF of Linux).
_MAX_WRITE_BYTES = 4096

Write = Callable[[bytes], int]
"""As `os.write`: returns how many bytes were written, raises `OSError`."""


class LineWriter:
    """Takes lines without ever waiting, and writes them in their order.

    When too many wait, the next ones are dropped until half of the room is free again, then one line tells how many.
    Lines whose write failed count as dropped, too; each later line is a new try.
    """

    def __init__(
        self,
        write: Write,
        *,
        tell: Callable[[int], str] = "{} lines dropped".format,
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Write by `write`; `tell` makes the line about dropped ones, without its end."""
        self._write = write
        self._tell = tell
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        # Entered again where the garbage collector, in the midst of `put`, destroys something that has a line to log.
        self._lock = RLock()
        # A number stands where so many lines were dropped.
        self._queue: deque[bytes | int] = deque()
        self._lines = 0
        self._bytes = 0
        self._dropped_last = 0
        self._is_started = False
        self._is_idle = True
        self._wake = allocate_lock()
        self._wake.acquire()
        self._waiting: list[Callable[[], object]] = []
        self._has_given_up = False
        # Of the thread alone.
        self._untold = 0
        self._is_torn = False
        self._is_failing = False
        # How many lines nobody will ever see.
        self.dropped = 0

    def put(self, line: str) -> None:
        """Take a line without its end, or drop it."""
        text = f"{line}\n".encode(errors="backslashreplace")
        with self._lock:
            if not self._has_room(len(text)):
                self._dropped_last += 1
                self.dropped += 1
                return
            if self._dropped_last:
                self._queue.append(self._dropped_last)
                self._dropped_last = 0
            self._queue.append(text)
            self._lines += 1
            self._bytes += len(text)
            if self._is_idle:
                self._is_idle = False
                self._start()

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> bool:
        """Wait until every line is written or has failed, a moment at most; returns whether that is so.

        After one wait in vain there is no other.
        """
        with self._lock:
            if self._is_idle:
                return True
            if self._has_given_up:
                return False
            waiting = allocate_lock()
            waiting.acquire()
            self._waiting.append(waiting.release)
        is_done = waiting.acquire(timeout=timeout_s)
        self._has_given_up = not is_done
        return is_done

    def _has_room(self, size_bytes: int) -> bool:
        share = 2 if self._dropped_last else 1
        return self._lines < self._max_lines / share and self._bytes + size_bytes <= self._max_bytes / share

    def _start(self) -> None:
        if self._is_started:
            self._wake.release()
        else:
            self._is_started = True
            # A bare one, which the end of the process does not wait for: its write may never end.
            start_new_thread(self._run, ())

    def _run(self) -> None:
        while True:
            while self._write_all():
                time.sleep(_GATHER_S)
            self._wake.acquire()

    def _write_all(self) -> bool:
        """Write what waits; returns whether there was anything. If not, the next line must wake the thread."""
        has_written = False
        while True:
            with self._lock:
                batch = self._take()
                # What is still to be told waits for the next line: else a failure that lasts would be tried for ever.
                if not batch and (self._is_failing or not self._untold):
                    for tell in self._waiting:
                        tell()
                    self._waiting.clear()
                    self._is_idle = not has_written
                    return has_written
            has_written = True
            self._is_failing = not self._write_batch(batch)

    def _take(self) -> list[bytes]:
        """Take the next lines that are written at once."""
        batch: list[bytes] = []
        size = 0
        while self._queue:
            head = self._queue[0]
            if isinstance(head, int):
                if batch:
                    break
                self._untold += head
            elif batch and size + len(head) > _MAX_WRITE_BYTES:
                break
            else:
                batch.append(head)
                size += len(head)
            self._queue.popleft()
        if not batch:
            # Nothing came after what was dropped: it is told all the same.
            self._untold += self._dropped_last
            self._dropped_last = 0
        self._lines -= len(batch)
        self._bytes -= size
        return batch

    def _write_batch(self, batch: list[bytes]) -> bool:
        """Write lines, behind the one about those that were dropped before them; returns whether that succeeded."""
        told = f"{self._tell(self._untold)}\n".encode(errors="backslashreplace") if self._untold else b""
        # What a failed write has left of a line ends here.
        head = (b"\n" if self._is_torn else b"") + told
        text = b"".join((head, *batch))
        written = 0
        with suppress(OSError):
            while written < len(text):
                written += self._write(text[written:] if written else text)
        if written:
            self._is_torn = text[written - 1 : written] != b"\n"
        if written >= len(head):
            self._untold = 0
        ends = accumulate(map(len, batch), initial=len(head))
        next(ends)
        if lost := sum(end > written for end in ends):
            with self._lock:
                self.dropped += lost
            self._untold += lost
        return written == len(text)


class LineStream(io.TextIOBase):
    """Stands in for standard error: what anybody prints there is put as lines, so that nobody waits for a reader."""

    def __init__(self, put: Callable[[str], None], stream: TextIO) -> None:
        """Put lines by `put`; `stream` is what this stands in for."""
        self._put = put
        self._stream = stream
        self._lock = RLock()
        self._rest = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute there
        """How text becomes bytes."""
        return "utf-8"

    def writable(self) -> bool:
        """Yes."""
        return True

    def isatty(self) -> bool:
        """Whether a person looks on."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor that the lines go to."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Take a text; a line is put when its end has come."""
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._put(line)
        return len(text)


def write_to(stream: TextIO) -> Write:
    """Return what writes to a stream's descriptor; to the stream itself where it has none, as in a test.

    The stream is passed by: whoever waits in it holds a lock of it, and the interpreter wants that lock at its end.
    """
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return lambda text: _write_text(stream, text)
    return lambda text: _write_bytes(descriptor, text)


def _write_text(stream: TextIO, text: bytes) -> int:
    stream.write(text.decode())
    stream.flush()
    return len(text)


def _write_bytes(descriptor: int, text: bytes) -> int:
    while True:
        try:
            return os.write(descriptor, text)
        except BlockingIOError:  # another process that has it, too, wants it so
            writable = select.poll()
            writable.register(descriptor, select.POLLOUT)
            writable.poll()
