"""Builds the Go programs, and starts and stops processes. What they are for belongs to `targets`."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

READY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 15.0
BUILT_WITHIN_S = 600.0  # the first time it fetches the modules


class BenchError(Exception):
    """The benchmark cannot go on; the text says why and what would help."""


@dataclass(frozen=True)
class Running:
    """A started program: its process id, and what its line of readiness said."""

    pid: int
    ready: Mapping[str, str]


def build_go_programs() -> Path:
    """Build everything under `bench/go`, and return the folder of the programs: this checkout's own."""
    if shutil.which("go") is None:
        raise BenchError("The benchmark needs Go 1.26 or newer (https://go.dev/dl).")
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    run(["go", "build", "-o", f"{folder}{os.sep}", "./cmd/..."], cwd=ROOT / "bench" / "go", within_s=BUILT_WITHIN_S)
    return folder


@contextmanager
def started(
    command: Sequence[str | Path], *, log: Path, ready_key: str, env: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Start a program, wait until it prints a line of JSON with `ready_key`, and stop it at the end.

    Its output goes to the file `log`: a pipe that nobody empties would stop the program after a while.
    """
    process = None
    try:
        with log.open("wb") as output, signals_held():
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        yield Running(process.pid, _wait_until_ready(process, log, ready_key))
        if process.poll() is not None:
            raise BenchError(f"{command[0]} ended in the middle of the run:\n{_tail(log)}")
    finally:
        if process is not None:
            stop(process)


def run(
    command: Sequence[str | Path],
    *,
    within_s: float,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return what it printed."""
    process = None
    try:
        with signals_held():
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        printed, complaints = process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{command[0]} did not end within {within_s:.0f} s") from None
    finally:
        if process is not None:
            stop(process)
    if process.returncode != 0:
        raise BenchError(f"{command[0]} failed:\n{complaints}")
    return printed


@contextmanager
def signals_held() -> Iterator[None]:
    """Deliver SIGINT and SIGTERM at the end of the block: a process whose start they interrupt would be lost."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    held: list[int] = []
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in usual:
        signal.signal(number, lambda came_now, _: held.append(came_now))
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        for came in held:
            signal.raise_signal(came)


def stop(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    """End a process, with force if it does not go by itself."""
    if process.poll() is not None:
        return
    with signals_held():
        process.terminate()
        try:
            process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path, key: str) -> Mapping[str, str]:
    end = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < end:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}"):
                said = json.loads(line)
                if key in said:
                    return {name: str(value) for name, value in said.items()}
        if process.poll() is not None:
            raise BenchError(f"{process.args!r} ended at once:\n{_tail(log)}")
        time.sleep(0.02)
    raise BenchError(f"{process.args!r} was not ready within {READY_WITHIN_S:.0f} s:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
