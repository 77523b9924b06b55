"""Waits for a time that a stop ends at once."""

import asyncio
from collections.abc import Awaitable, Callable


class Pauses:
    """The pauses that are under way; how many is their length."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._running: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    async def wait(self, seconds: float) -> None:
        """Wait for a time, or until `end`."""
        pause = asyncio.ensure_future(self._sleep(seconds))
        self._running.add(pause)
        try:
            await asyncio.wait({pause})
        finally:
            pause.cancel()
            self._running.discard(pause)

    def end(self) -> None:
        """End every pause that is under way."""
        for pause in self._running:
            pause.cancel()
