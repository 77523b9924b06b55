"""How the benchmark's programs end: always in words, and with everything stopped that they started."""

import signal
import sys
from collections.abc import Callable, Sequence
from functools import wraps

from rich.console import Console

from bench.programs import BenchError

Main = Callable[[Sequence[str] | None], int]


def ending_in_words(main: Main) -> Main:
    """Turn a `BenchError`, ctrl-C and SIGTERM into a sentence and an exit code."""

    @wraps(main)
    def run(argv: Sequence[str] | None) -> int:
        # SIGTERM ends the program as ctrl-C does, so that it stops what it started.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        messages = Console(stderr=True)
        try:
            return main(argv)
        except BenchError as error:
            messages.print(str(error), style="red", markup=False)
            return 1
        except KeyboardInterrupt:
            messages.print("interrupted; everything that was started is stopped")
            return 130

    return run
