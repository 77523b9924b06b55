"""Exit codes of the commands. Imported before anything else, so it imports nothing itself."""

EXIT_OK = 0  # accepted
EXIT_REFUSED = 1  # refused, or not sent
EXIT_USAGE = 2  # wrong use or configuration
EXIT_UNKNOWN = 3  # the push may have gone out
