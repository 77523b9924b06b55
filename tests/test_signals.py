"""What signals do to a process: from its first moment on, while it serves, and a second time while it drains."""

import asyncio
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Simulator
from tests.support.failures import failure_of
from tests.support.process import KEPT_VARIABLES, ROOT, ServeProcess, bare_process, serve_process
from tests.support.running import android, write_config
from tests.support.waiting import until

STOPS = [signal.SIGTERM, signal.SIGINT]
# The last of those that get a handler at the start.
LAST = signal.SIGHUP
# The second stop: two seconds, and what a busy machine adds.
SOON_S = 6.0


class On:
    """A process that serves, and a caller of it."""

    def __init__(self, process: ServeProcess, channel: grpc.aio.Channel) -> None:
        self.process = process
        self.push = PushServiceStub(channel).Push


@asynccontextmanager
async def serving(vendor: Simulator, directory: Path, **changes: Any) -> AsyncIterator[On]:
    async with serve_process(write_config(directory, vendor, **changes)) as process:
        line = await process.wait_for("serving")
        async with grpc.aio.insecure_channel(line["grpc"], (("grpc.enable_retries", 0),)) as channel:
            yield On(process, channel)


# From the first moment on.


def has_handler(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal, as the kernel says."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    raise AssertionError(pid)


@pytest.mark.parametrize("number", STOPS)
@pytest.mark.parametrize(
    "verb", [("serve", "--simulate"), ("simulate", "--listen", "127.0.0.1:0")], ids=["serve", "simulate"]
)
async def test_stop_in_the_first_moment_ends_with_0_and_without_a_word(
    verb: tuple[str, ...], number: signal.Signals
) -> None:
    async with bare_process(*verb, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE) as process:
        await until(lambda: has_handler(process.pid, LAST))
        process.send_signal(number)
        out, err = await asyncio.wait_for(process.communicate(), 20)
        assert (process.returncode, out, err) == (0, b"", b"")


@pytest.mark.parametrize("delay_s", [0.1, 0.3, 0.6, 1.0, 1.5])
async def test_stop_while_it_starts_ends_with_0_and_without_a_traceback(
    vendor: Simulator, tmp_path: Path, delay_s: float
) -> None:
    """At any moment of the start, whichever that is on this machine."""
    config = write_config(tmp_path, vendor)
    async with bare_process("serve", "--config", str(config), stderr=asyncio.subprocess.PIPE) as process:
        await until(lambda: has_handler(process.pid, LAST))
        await asyncio.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0
        assert b"Traceback" not in err


async def test_hangup_while_it_starts_changes_nothing(vendor: Simulator, tmp_path: Path) -> None:
    async with serve_process(write_config(tmp_path, vendor), is_ready=False) as process:
        await until(lambda: has_handler(process.pid, LAST))
        async with asyncio.timeout(20):
            while not process.lines:
                process.send_signal(signal.SIGHUP)
                await asyncio.sleep(0.01)
        await process.wait_for("serving", timeout=20)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
async def test_process_1_takes_a_stop_from_its_first_moment(vendor: Simulator, tmp_path: Path) -> None:
    """The kernel drops a signal to process 1 that has no handler for it."""
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    unshare = await asyncio.create_subprocess_exec(
        *("unshare", "--pid", "--fork", "--kill-child", sys.executable, "-m", "sidecar"),
        *("serve", "--config", str(write_config(tmp_path, vendor))),
        env=environment, cwd=ROOT, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
        await until(lambda: bool(children.read_text().split()))
        child = int(children.read_text().split()[0])
        await until(lambda: has_handler(child, LAST))
        os.kill(child, signal.SIGTERM)
        _, err = await asyncio.wait_for(unshare.communicate(), 20)
        assert (unshare.returncode, err) == (0, b"")
    finally:
        if unshare.returncode is None:
            unshare.kill()
            await unshare.wait()


@pytest.mark.parametrize("number", STOPS)
async def test_other_verbs_end_with_their_code_and_without_a_traceback(number: signal.Signals) -> None:
    command = ("wait", "--target", "127.0.0.1:1", "--timeout", "60")
    async with bare_process(*command, stderr=asyncio.subprocess.PIPE) as process:
        assert process.stderr is not None
        await asyncio.wait_for(process.stderr.readline(), 20)
        process.send_signal(number)
        _, err = await asyncio.wait_for(process.communicate(), 20)
        assert (process.returncode, err) == (1, b"push-sidecar wait: interrupted\n")


# While it serves.


async def test_hangup_reads_the_files_again_now_and_disturbs_no_call(vendor: Simulator, tmp_path: Path) -> None:
    async with serving(vendor, tmp_path, secrets={"reload_interval_s": 3600}) as on:
        in_flight = on.push(android("fault-latency-2"), timeout=10)
        await until(lambda: vendor.received == 1)
        (tmp_path / "secret").write_text("a new secret")
        on.process.send_signal(signal.SIGHUP)
        line = await on.process.wait_for("files were read again")
        assert (line["files"], line["changed"], line["unusable"]) == (2, ["secret shop"], [])
        events = [entry["event"] for entry in on.process.lines]
        assert events.index("secret changed") < events.index("files were read again")
        assert (await in_flight).attempts == 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await on.push(android(), timeout=10)
        assert failure_of(caught.value).reason == "CREDENTIALS_REFUSED"
        on.process.send_signal(signal.SIGTERM)
        assert await on.process.wait() == 0


def test_simulator_is_not_ended_by_a_hangup() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", "simulate", "--listen", "127.0.0.1:0"], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"The simulator is up")
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_terminal_that_is_closed_ends_it_in_order() -> None:
    """Who tries it at a terminal and closes the window leaves nothing running."""
    terminal, other_end = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", "simulate", "--listen", "127.0.0.1:0"],
        cwd=ROOT, stdin=other_end, stdout=other_end, stderr=other_end, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(other_end)
        said = b""
        while b"Stop it" not in said:
            said += os.read(terminal, 1024)
        os.close(terminal)
        # Its terminal is not the one that controls it, so that the kernel sends nothing.
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0


# A second stop.


@pytest.mark.parametrize("number", STOPS)
async def test_second_stop_ends_the_drain_soon_and_says_what_that_may_cost(
    vendor: Simulator, tmp_path: Path, number: signal.Signals
) -> None:
    async with serving(vendor, tmp_path) as on:
        in_flight = on.push(android("fault-latency-15"), timeout=30)
        await until(lambda: vendor.received == 1)
        on.process.send_signal(signal.SIGTERM)
        await on.process.wait_for("stopping")
        began = time.monotonic()
        on.process.send_signal(number)
        assert await on.process.wait() == 128 + number
        assert time.monotonic() - began < SOON_S
        line = await on.process.wait_for("stop cut short")
        assert (line["level"], line["in_flight"]) == ("warning", 1)
        assert line["cost"] == "pushes in flight may have gone out, and their callers read maybe"
        assert on.process.lines[-1]["event"] == "stopped", "the rest of the stop was in order"
        assert on.process.text == ""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await in_flight
        # The library's own word: without our ErrorInfo a push is maybe.
        assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert "grpc-status-details-bin" not in dict(caught.value.trailing_metadata() or ())


async def test_second_stop_without_calls_costs_nothing(vendor: Simulator, tmp_path: Path) -> None:
    async with serving(vendor, tmp_path) as on:
        os.kill(on.process.pid, signal.SIGTERM)
        os.kill(on.process.pid, signal.SIGINT)
        assert await on.process.wait() in {0, 128 + signal.SIGTERM, 128 + signal.SIGINT}
        for line in on.process.lines:
            assert line["event"] != "stop cut short" or line["cost"] == "nothing"


async def test_id_of_a_push_that_was_cut_stays_sending_and_is_never_pushed_again(
    vendor: Simulator, tmp_path: Path
) -> None:
    changes = {"idempotency": {"store": "sqlite", "sqlite_file": str(tmp_path / "ids.db")}}
    request = android("fault-latency-15", request_id="order-1")
    async with serving(vendor, tmp_path, **changes) as on:
        in_flight = on.push(request, timeout=30)
        await until(lambda: vendor.received == 1)
        on.process.send_signal(signal.SIGTERM)
        await on.process.wait_for("stopping")
        on.process.send_signal(signal.SIGTERM)
        assert await on.process.wait() == 128 + signal.SIGTERM
        with pytest.raises(grpc.aio.AioRpcError):
            await in_flight
    async with serving(vendor, tmp_path, **changes) as on:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await on.push(request, timeout=3)
        failure = failure_of(caught.value)
        assert failure.sent == "maybe"
    assert vendor.received == 1
