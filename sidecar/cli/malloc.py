"""Has glibc give large blocks back to the system as soon as they are free."""

import ctypes
import os

# From malloc.h.
_M_MMAP_THRESHOLD = -3

# Below a buffer of gRPC (64 KiB) and a piece of a body; small pushes need no block of this size.
THRESHOLD_BYTES = 32 * 1024


def return_large_blocks() -> None:
    """Keep blocks of `THRESHOLD_BYTES` and more out of the heap; does nothing where the environment says otherwise.

    By itself glibc moves them into the heap once the first was freed, where what is left between them keeps their
    memory: after each 30 requests of 4 MB some 100 MiB more.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    # Other C libraries have no such function, and their own ways.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, THRESHOLD_BYTES)
