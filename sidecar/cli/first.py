"""What a process does before anything else: it has its standard streams, and signals find somebody.

Nothing that takes time may be imported here: until then a signal ends the process as if it were killed, and one to
process 1 of a container is lost.
"""

import os
import signal
import sys

from sidecar.cli.exits import EXIT_OK

_STOPS = (signal.SIGTERM, signal.SIGINT)
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_missing_streams() -> None:
    """Open nothing (`/dev/null`) where a standard stream was closed.

    Else the next socket would get its number, and libuv ends a process that closes such a one.
    """
    for descriptor, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            stream = os.fdopen(descriptor, mode, encoding="utf-8", errors="backslashreplace", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def stop_while_starting() -> None:
    """Let a stop that comes now end the process in order: nothing is under way yet.

    It ends without a word to anybody: an exception could get lost in what is being imported.
    """
    for number in _STOPS:
        signal.signal(number, lambda *_: os._exit(EXIT_OK))
    # No file has been read yet.
    signal.signal(signal.SIGHUP, lambda *_: os._exit(EXIT_OK) if is_terminal_gone() else None)


def interrupt() -> None:
    """Let SIGTERM end a verb as Ctrl-C does, so that it says what became of its work.

    Not where Ctrl-C is ignored, as in a shell's background job: there SIGTERM ends it as it ends any program.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # By way of SIGINT, whose handler asyncio replaces: an exception in the midst of gRPC crashes the interpreter.
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


_terminals = [descriptor for descriptor in range(3) if os.isatty(descriptor)]


def is_terminal_gone() -> bool:
    """Whether a standard stream was a terminal that has been closed since."""
    return any(not os.isatty(descriptor) for descriptor in _terminals)
