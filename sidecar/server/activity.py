"""Counts the calls that are being served, so that a stop need not wait for peers that have none."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Activity:
    """How many calls are being served."""

    def __init__(self) -> None:
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a call while the block lasts."""
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if self._calls == 0:
                self._idle.set()

    async def wait_until_idle(self) -> None:
        """Wait until no call is being served."""
        await self._idle.wait()
