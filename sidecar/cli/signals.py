"""What signals mean to a verb that runs until it is told to stop: stop, end soon, read the files again.

Must not live here: how that is done.
"""

import asyncio
import atexit
import os
import signal
import time
from _thread import start_new_thread
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Self

from sidecar.cli.exits import EXIT_OK
from sidecar.cli.first import is_terminal_gone

# After a second stop, how long the process may still take.
HURRY_S = 2.0
_STOPS = (signal.SIGTERM, signal.SIGINT)
# What shells say of a process that a signal has ended.
_EXIT_BY_SIGNAL = 128


def _nothing() -> None:
    """Do nothing."""


def _ignore_stops() -> None:
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)


class Signals:
    """Takes SIGTERM, SIGINT and SIGHUP while its block lasts. After it, nothing is left that could be stopped in order.

    `stop` is set by the first SIGTERM or SIGINT. `exit_code` is what the process ends with.
    """

    def __init__(self, *, hurry_s: float = HURRY_S) -> None:
        """Build it inside the event loop."""
        self._loop = asyncio.get_running_loop()
        self._hurry_s = hurry_s
        self._hurry: Callable[[], object] = _nothing
        self._look: Callable[[], object] = _nothing
        self._is_look_due = False
        self._is_stopping = False
        self.stop = asyncio.Event()
        self.exit_code = EXIT_OK

    def __enter__(self) -> Self:
        """Begin. Handlers of Python's own, since the loop takes its own away before the process ends."""
        for number in _STOPS:
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_hangup)
        return self

    def __exit__(self, *_: object) -> None:
        """End: a stop that comes now ends the process at once, without another exit code."""
        for number in _STOPS:
            signal.signal(number, lambda *_: os._exit(self.exit_code))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # In its very last moment the interpreter takes its handlers away, and a signal would kill it.
        atexit.register(_ignore_stops)

    def listen(self, *, hurry: Callable[[], object], look: Callable[[], object] = _nothing) -> None:
        """Call `hurry` when the stop is to end soon, `look` when files are to be read again. Both in the loop."""
        self._hurry, self._look = hurry, look
        if self._is_look_due:
            look()
        if self.exit_code != EXIT_OK:
            hurry()

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        # Between any two steps of the program: nothing that takes a lock may be done here.
        if not self._is_stopping:
            self._is_stopping = True
            self._call(self.stop.set)
        elif self.exit_code == EXIT_OK:
            self.exit_code = _EXIT_BY_SIGNAL + number
            # A thread that nothing waits for: it also ends a process whose loop hangs.
            with suppress(RuntimeError):  # there may be no more threads
                start_new_thread(self._exit_soon, ())
            self._call(self._hurry)

    def _on_hangup(self, _number: int, frame: FrameType | None) -> None:
        if not is_terminal_gone():
            self._is_look_due = True
            self._call(self._look)
        elif not self._is_stopping:
            self._on_stop(signal.SIGHUP, frame)

    def _call(self, function: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function)

    def _exit_soon(self) -> None:
        time.sleep(self._hurry_s)
        os._exit(self.exit_code)
