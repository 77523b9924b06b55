"""Standard streams that nobody reads, that are closed, full or broken: pushes go on, and the end is in order."""

import asyncio
import fcntl
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Simulator
from tests.support.process import bare_process
from tests.support.redis_server import free_port
from tests.support.running import android, write_config

# Of the smallest pipe: some lines fill it.
PIPE_BYTES = 4096
PUSHES = 60
STOP_TIMEOUT_S = 30


FREE_PORTS = {f"PUSH_SIDECAR_{name}__LISTEN": "127.0.0.1:0" for name in ("SERVER", "HEALTH", "ADMIN")}


async def until_taken(address: str) -> None:
    """Wait until somebody listens."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


class Bare:
    """A sidecar that is not known by its log: its callers' socket and its admin address are given to it."""

    def __init__(self, process: asyncio.subprocess.Process, socket: Path, admin: str) -> None:
        self.process = process
        self._admin = admin
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}")
        self._push = PushServiceStub(self._channel).Push

    async def push(self, times: int) -> None:
        for _ in range(times):
            await self._push(android(), timeout=10)

    async def get(self, path: str) -> str:
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"http://{self._admin}{path}") as got:
            assert got.status == 200
            return await got.text()

    async def dropped(self) -> int:
        found = re.search(r"^push_sidecar_log_lines_dropped_total (\d+)", await self.get("/metrics"), re.MULTILINE)
        assert found is not None
        return int(found[1])

    async def wait_until_it_serves(self) -> None:
        await asyncio.wait_for(self._channel.channel_ready(), 30)

    async def stop(self) -> int:
        await self._channel.close()
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT_S)


@asynccontextmanager
async def bare_sidecar(
    vendor: Simulator, directory: Path, redirections: str = "", **streams: Any
) -> AsyncIterator[Bare]:
    admin, socket = f"127.0.0.1:{free_port()}", directory / "push.sock"
    config = write_config(
        directory, vendor, server={"listen": f"unix:{socket}"}, admin={"listen": admin}, log={"access": "all"}
    )
    async with bare_process("serve", "--config", str(config), redirections=redirections, **streams) as process:
        bare = Bare(process, socket, admin)
        await bare.wait_until_it_serves()
        yield bare


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Give the two ends of the smallest pipe."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield reading, writing
    for end in (reading, writing):
        try:
            os.close(end)
        except OSError:
            continue


async def test_log_that_nobody_reads_stops_no_push_and_no_stop(
    vendor: Simulator, tmp_path: Path, pipe: tuple[int, int]
) -> None:
    reading, writing = pipe
    async with bare_sidecar(vendor, tmp_path, stderr=writing) as bare:
        os.close(writing)
        await bare.push(PUSHES)
        assert "alive" in await bare.get("/healthz")
        assert await bare.stop() == 0
        os.set_blocking(reading, False)
        held = os.read(reading, 2 * PIPE_BYTES).decode()
    first, *_ = held.splitlines()
    assert json.loads(first)["event"] == "serving"
    assert "stopped" not in held, "the pipe was not full"
    assert vendor.delivered == PUSHES


async def test_reader_who_comes_late_gets_every_line_in_order(
    vendor: Simulator, tmp_path: Path, pipe: tuple[int, int]
) -> None:
    reading, writing = pipe
    async with bare_sidecar(vendor, tmp_path, stderr=writing) as bare:
        os.close(writing)
        await bare.push(PUSHES)
        with os.fdopen(os.dup(reading)) as reader:
            lines = asyncio.create_task(asyncio.to_thread(reader.readlines))
            assert await bare.stop() == 0
            events = [json.loads(line)["event"] for line in await lines]
    assert events == ["serving", *["push answered"] * PUSHES, "stopping", "stopped"]


@pytest.mark.parametrize(
    "redirections",
    [">/dev/full 2>&1", "2>&-", "<&- >&- 2>&-"],
)
async def test_stream_that_is_full_or_closed_stops_no_push_and_no_stop(
    vendor: Simulator, tmp_path: Path, redirections: str
) -> None:
    devnull = asyncio.subprocess.DEVNULL
    async with bare_sidecar(vendor, tmp_path, redirections, stdout=devnull, stderr=devnull) as bare:
        await bare.push(3)
        # Not before its failed write is over.
        while "full" in redirections and await bare.dropped() < 4:  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.01)
        assert await bare.stop() == 0


async def test_pipe_whose_reader_has_gone_stops_no_push_and_no_stop_and_is_counted(
    vendor: Simulator, tmp_path: Path, pipe: tuple[int, int]
) -> None:
    reading, writing = pipe
    async with bare_sidecar(vendor, tmp_path, stderr=writing, stdout=writing) as bare:
        os.close(reading)
        await bare.push(3)
        while await bare.dropped() < 3:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)
        assert await bare.stop() == 0


@pytest.mark.parametrize("redirections", [">/dev/full 2>&1", ">&- 2>&-"])
@pytest.mark.parametrize("verb", ["serve", "simulate"])
async def test_verb_that_cannot_greet_serves_all_the_same(verb: str, redirections: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    command = ("serve", "--simulate") if verb == "serve" else ("simulate", "--listen", address)
    environment = {**FREE_PORTS, "PUSH_SIDECAR_SERVER__LISTEN": address}
    async with bare_process(*command, redirections=redirections, environment=environment) as process:
        await until_taken(address)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S) == 0


@pytest.mark.parametrize("verb", ["serve", "simulate"])
async def test_greeting_that_nobody_reads_holds_no_stop(verb: str, pipe: tuple[int, int]) -> None:
    _, writing = pipe
    os.write(writing, b"x" * PIPE_BYTES)
    address = f"127.0.0.1:{free_port()}"
    command = ("serve", "--simulate") if verb == "serve" else ("simulate", "--listen", address)
    environment = {**FREE_PORTS, "PUSH_SIDECAR_SERVER__LISTEN": address}
    async with bare_process(*command, environment=environment, stdout=writing, stderr=writing) as process:
        await until_taken(address)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S) == 0


FULL, CLOSED = ">/dev/full 2>&1", "<&- >&- 2>&-"


@pytest.mark.parametrize(
    ("redirections", "command", "status"),
    [
        (FULL, ("check", "--config", "CONFIG"), 0),
        (CLOSED, ("check", "--config", "CONFIG"), 0),
        (FULL, ("check", "--config", "/none"), 2),
        (FULL, ("serve", "--config", "/none"), 2),
        (CLOSED, ("serve", "--config", "/none"), 2),
        (CLOSED, ("wait", "--target", "127.0.0.1:1", "--timeout", "0.01"), 1),
        (FULL, ("--help",), 0),
        (CLOSED, ("--version",), 0),
        (FULL, ("nothing",), 2),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, tuple) else None,
)
async def test_exit_code_is_the_verbs_whatever_becomes_of_its_words(
    vendor: Simulator, tmp_path: Path, command: tuple[str, ...], status: int, redirections: str
) -> None:
    config = str(write_config(tmp_path, vendor))
    words = [config if word == "CONFIG" else word for word in command]
    async with bare_process(*words, redirections=redirections) as process:
        assert await asyncio.wait_for(process.wait(), 30) == status


async def test_refusal_to_start_that_nobody_reads_ends_the_process(pipe: tuple[int, int]) -> None:
    _, writing = pipe
    os.write(writing, b"x" * PIPE_BYTES)
    async with bare_process("serve", "--config", "/none", stderr=writing) as process:
        assert await asyncio.wait_for(process.wait(), 30) == 2
