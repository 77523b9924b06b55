"""What this process or its machine ran out of, so that there was no connection. It says nothing of the vendor.

`EADDRNOTAVAIL` is not among them: a host whose local ports are used up is told so, but so is one without IPv6.
"""

import errno
from collections.abc import Iterable, Mapping

DESCRIPTORS = "descriptors"
SYSTEM_MEMORY = "system_memory"

# What the log tells an operator, by cause.
DETAILS: Mapping[str, str] = {
    DESCRIPTORS: "out of file descriptors: raise their limit (ulimit -n, LimitNOFILE) or lower max_in_flight",
    SYSTEM_MEMORY: "the system has no memory for a socket: give it more or lower max_in_flight",
}

_CAUSES = {
    errno.EMFILE: DESCRIPTORS,
    errno.ENFILE: DESCRIPTORS,
    errno.ENOBUFS: SYSTEM_MEMORY,
    errno.ENOMEM: SYSTEM_MEMORY,
}


def shortage_of(errors: Iterable[BaseException]) -> str | None:
    """Return the cause, if one of the errors tells of a shortage."""
    numbers = (error.errno for error in errors if isinstance(error, OSError))
    return next((_CAUSES[number] for number in numbers if number in _CAUSES), None)
