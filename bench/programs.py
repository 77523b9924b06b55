"""Builds the Go programs, and starts and stops processes. What they are for belongs to `targets`."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

READY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 15.0


class BenchError(Exception):
    """The benchmark cannot go on; the text says why and what would help."""


@dataclass(frozen=True)
class Running:
    """A started program: its process id, and what its line of readiness said."""

    pid: int
    ready: Mapping[str, str]
    process: "subprocess.Popen[bytes]"


def build_go_programs() -> Path:
    """Build everything under `bench/go` into the user's cache, and return the folder of the programs."""
    if shutil.which("go") is None:
        raise BenchError("The benchmark needs Go 1.26 or newer (https://go.dev/dl).")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "push-sidecar" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    built = subprocess.run(
        ["go", "build", "-o", f"{folder}{os.sep}", "./cmd/..."],
        cwd=ROOT / "bench" / "go",
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        raise BenchError(f"go build failed:\n{built.stderr}")
    return folder


@contextmanager
def started(
    command: Sequence[str | Path], *, log: Path, ready_key: str, env: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Start a program, wait until it prints a line of JSON with `ready_key`, and stop it at the end.

    Its output goes to the file `log`: a pipe that nobody empties would stop the program after a while.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Running(process.pid, _wait_until_ready(process, log, ready_key), process)
        if process.poll() is not None:
            raise BenchError(f"{command[0]} ended in the middle of the run:\n{_tail(log)}")
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process, with force if it does not go by itself."""
    if process.poll() is None:
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
