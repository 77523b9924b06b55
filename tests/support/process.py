"""`python -m sidecar serve` as a process of its own, on asyncio: its log lines, its addresses, its end."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

# The environment of the tests must not reach the process: only what a Python program needs.
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "COVERAGE_PROCESS_CONFIG", "TMPDIR")
ROOT = Path(__file__).parents[2]
# Only a failing test waits so long: a process has what it needs to start or to end, though others share its machine.
PATIENCE_S = 60


class ServeProcess:
    """A process that may serve. Its log must be JSON; other lines of standard error are kept in `text`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._changed = asyncio.Condition()
        self._is_at_end = False
        self.lines: list[dict[str, Any]] = []
        self.text = ""
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            line = raw.decode()
            async with self._changed:
                if line.startswith("{"):
                    self.lines.append(json.loads(line))
                else:
                    self.text += line
                self._changed.notify_all()
        async with self._changed:
            self._is_at_end = True
            self._changed.notify_all()

    async def wait_for(self, event: str, timeout: float = PATIENCE_S) -> dict[str, Any]:  # noqa: ASYNC109  # of a test
        """Wait for a log line and return it."""

        def found() -> dict[str, Any] | None:
            return next((line for line in self.lines if line["event"] == event), None)

        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: found() or self._is_at_end)
        line = found()
        assert line is not None, f"no {event!r} in:\n{self.lines}\n{self.text}"
        return line

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self, timeout: float = PATIENCE_S) -> int:  # noqa: ASYNC109  # of a test
        """Wait for the end; returns the exit status."""
        async with asyncio.timeout(timeout):
            await self._reader
            return await self._process.wait()

    async def stop(self) -> None:
        """Kill it if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
        await self.wait()


@asynccontextmanager
async def serve_process(
    config_file: Path, environment: Mapping[str, str] | None = None, *, is_ready: bool = True
) -> AsyncIterator[ServeProcess]:
    """Run it inside the block, and wait until it serves unless told otherwise."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "sidecar", "serve", "--config", str(config_file)),
        stderr=asyncio.subprocess.PIPE,
        env={**kept, **(environment or {})},
        cwd=ROOT,
    )
    running = ServeProcess(process)
    try:
        if is_ready:
            await running.wait_for("serving")
        yield running
    finally:
        await running.stop()


@asynccontextmanager
async def bare_process(
    *command: str, redirections: str = "", environment: Mapping[str, str] | None = None, **streams: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `python -m sidecar COMMAND` inside the block, its streams as `redirections` of a shell or `streams` say."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-m", "sidecar", *command),
        env={**kept, **(environment or {})},
        cwd=ROOT,
        **streams,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
