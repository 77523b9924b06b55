"""Starts a runner: pushes as JSON lines in, what its caller saw as JSON lines out."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

ANSWER_TIMEOUT_S: Final = 60

Seen = Mapping[str, Any]


class Runner:
    """A running runner. It makes its pushes over one channel, in turn unless it was told otherwise."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def start_push(self, name: str, request: Mapping[str, Any], timeout_s: float | None = None) -> None:
        """Tell it to make a push."""
        assert self._process.stdin is not None
        line = json.dumps({"name": name, "request": request, "timeout_s": timeout_s})
        self._process.stdin.write(line.encode() + b"\n")

    async def outcome(self) -> Seen:
        """Wait for the outcome of the next push."""
        assert self._process.stdout is not None
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            line = await self._process.stdout.readline()
        assert line, "the runner ended before its answer"
        seen: Seen = json.loads(line)
        return seen

    async def push(self, name: str, request: Mapping[str, Any], timeout_s: float | None = None) -> Seen:
        """Make a push and wait for its outcome."""
        self.start_push(name, request, timeout_s)
        return await self.outcome()


@asynccontextmanager
async def running(
    command: Iterable[str], target: str, in_flight: int = 1, *, tls: Path | None = None
) -> AsyncIterator[Runner]:
    """Run it inside the block, with so many pushes at a time; it must end by itself when its input ends.

    `tls` is a folder with ca.pem, cert.pem and key.pem, for mutual TLS.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        target,
        str(in_flight),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | ({"PUSH_TLS": str(tls)} if tls else {}),
    )
    try:
        yield Runner(process)
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
