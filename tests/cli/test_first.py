"""What a process does before anything else, and how it ends where nothing in it works any more."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.process import ROOT

PIPE_BYTES = 4096

HUNG = """
import asyncio, time
from sidecar.cli.signals import Signals

async def main():
    with Signals(hurry_s=0.2):
        print("ready", flush=True)
        time.sleep(60)

asyncio.run(main())
"""
CRASHING = """
import faulthandler, os
from sidecar.cli.streams import crash_descriptor
faulthandler.enable(crash_descriptor())
os.abort()
"""
STARTING = """
import signal, sys

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
BEFORE = [signal.getsignal(number) for number in NUMBERS]

class Watch:
    def find_spec(self, name, *_):
        if name in {"argparse", "sidecar.cli.streams", "sidecar.cli.serve", "sidecar.cli.check", "uvloop"}:
            print(name, *(signal.getsignal(number) is not old for number, old in zip(NUMBERS, BEFORE)))

sys.meta_path.insert(0, Watch())
sys.argv = ["push-sidecar", VERB, "--version"]
from sidecar.__main__ import main
main()
"""


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """Give the end of a pipe that takes nothing more, and that nobody reads."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.write(writing, b"x" * PIPE_BYTES)
    yield writing
    os.close(reading)
    os.close(writing)


def test_second_stop_ends_a_process_whose_loop_hangs() -> None:
    with subprocess.Popen([sys.executable, "-c", HUNG], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        while process.poll() is None and time.monotonic() - began < 20:
            # Equal signals that come together are one.
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
        assert process.wait(10) in {128 + signal.SIGINT, 128 + signal.SIGTERM}


def test_crash_that_nobody_reads_is_a_crash(full_pipe: int) -> None:
    with subprocess.Popen([sys.executable, "-c", CRASHING], cwd=ROOT, stderr=full_pipe) as process:
        assert process.wait(60) == -signal.SIGABRT


def test_crash_says_where() -> None:
    done = subprocess.run([sys.executable, "-c", CRASHING], cwd=ROOT, stderr=subprocess.PIPE, check=False, timeout=20)
    assert done.returncode == -signal.SIGABRT
    assert b"Fatal Python error: Aborted" in done.stderr


def test_main_imports_nothing_before_signals_have_their_handlers() -> None:
    program = "import sys, sidecar.__main__; print(*sorted(name for name in sys.modules))"
    loaded = subprocess.check_output([sys.executable, "-S", "-E", "-c", program], cwd=ROOT, text=True).split()
    ours = [name for name in loaded if name.startswith("sidecar")]
    assert ours == ["sidecar", "sidecar.__main__", "sidecar.cli", "sidecar.cli.exits", "sidecar.cli.first"]
    assert not {"asyncio", "argparse", "typing", "logging", "uvloop", "grpc"} & set(loaded)


@pytest.mark.parametrize("verb", ["serve", "simulate"])
def test_handlers_are_there_before_the_verbs_are_imported(verb: str) -> None:
    program = STARTING.replace("VERB", repr(verb))
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    imported = [line for line in done.stdout.splitlines() if line.startswith(("sidecar.", "argparse", "uvloop"))]
    assert "sidecar.cli.serve" in {line.partition(" ")[0] for line in imported}
    assert [line for line in imported if not line.endswith(" True True True")] == []
