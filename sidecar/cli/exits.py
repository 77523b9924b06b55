"""Exit codes of the commands."""

from typing import Final

EXIT_OK: Final = 0  # accepted
EXIT_REFUSED: Final = 1  # refused, or not sent
EXIT_USAGE: Final = 2  # wrong use or configuration
EXIT_UNKNOWN: Final = 3  # the push may have gone out
