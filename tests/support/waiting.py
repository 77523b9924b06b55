"""Waits for what another task or process does, without a fixed sleep."""

import asyncio
from collections.abc import Callable


async def until(is_true: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait until something is true, looking every 5 ms; fails after the time-out."""
    async with asyncio.timeout(timeout_s):
        while not is_true():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)
