"""What a process holds: memory, files, objects. Linux, as the sidecar itself."""

import asyncio
import gc
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

MIB = 1024 * 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def rss_bytes(pid: int | str = "self") -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def open_files(pid: int | str = "self") -> int:
    """Return how many files, sockets included, a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def live_objects() -> Counter[str]:
    """Return how many objects of each type live in this process: a leak shows here before memory does."""
    gc.collect()
    return Counter(f"{type(found).__module__}.{type(found).__qualname__}" for found in gc.get_objects())


@asynccontextmanager
async def sampled_rss(pid: int, samples: list[int], every_s: float = 0.1) -> AsyncIterator[None]:
    """Sample the memory of a process inside the block."""

    async def sample() -> None:
        while True:
            samples.append(rss_bytes(pid))
            await asyncio.sleep(every_s)

    sampling = asyncio.create_task(sample())
    try:
        yield
    finally:
        sampling.cancel()
        samples.append(rss_bytes(pid))
