"""Waits for what another task or process does, without a fixed sleep."""

import asyncio
from collections.abc import Callable

import aiohttp

# Only a failing test waits so long, whatever else the machine does.
PATIENCE_S = 30


async def until(is_true: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Wait until something is true, looking every 5 ms; fails after the time-out."""
    async with asyncio.timeout(timeout_s):
        while not is_true():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)


async def until_metric(admin_address: str, line: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait until a sidecar's `/metrics` has a line."""
    async with asyncio.timeout(timeout_s), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"http://{admin_address}/metrics") as answer:
                if line in await answer.text():
                    return
            await asyncio.sleep(0.005)
