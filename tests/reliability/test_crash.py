"""`kill -9` at each step of a push with a request id, a restart on the same store, and the same id again.

The vendor's own record decides: at most one push, and what the caller is told of it is true.
"""

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from sidecar.simulator import Simulator
from tests.support.waiting import until

from .conftest import Kept, Served, gate_before, pushes, served

ID = "order-1"


async def killed(sidecar: Served, calls: asyncio.Task) -> None:
    """Kill the process, and take its caller's error: whatever gRPC made of it, it is no answer of ours."""
    sidecar.process.send_signal(signal.SIGKILL)
    await asyncio.wait({calls})
    assert calls.exception() is not None


async def test_killed_before_the_first_byte_the_id_is_free_after_its_lease(
    tmp_path: Path, vendor: Simulator, kept: Kept
) -> None:
    async with gate_before(vendor) as gate:
        async with served(tmp_path, vendor, kept, base_url=gate.url) as first:
            call = asyncio.create_task(first.push("sim-1", ID))
            await gate.reached()
            await first.counted("new")
            await killed(first, call)
        gate.open()
        async with served(tmp_path, vendor, kept, base_url=gate.url) as second:
            answer = await second.push("sim-1", ID)
            assert not answer.replayed
            assert (await second.push("sim-1", ID)).push_id == answer.push_id
    assert pushes(vendor, "sim-1") == 1


async def test_killed_after_the_body_the_id_reads_as_maybe_for_good(
    tmp_path: Path, vendor: Simulator, kept: Kept
) -> None:
    token = "fault-hang:sim-1"
    async with served(tmp_path, vendor, kept) as first:
        call = asyncio.create_task(first.push(token, ID))
        await until(lambda: any(record.is_complete for record in vendor.records))
        await killed(first, call)
    async with served(tmp_path, vendor, kept) as second:
        for _ in range(2):
            failure = await second.fail(token, ID)
            assert (failure.code.name, failure.reason, failure.sent) == ("UNKNOWN", "OUTCOME_UNKNOWN", "maybe")
        assert (await second.fail("sim-2", ID)).reason == "REQUEST_ID_REUSED"
    assert vendor.received == 1
    assert pushes(vendor, token) == 1


async def test_killed_between_the_answer_and_its_record_the_id_reads_as_maybe(
    tmp_path: Path, vendor: Simulator, kept: Kept
) -> None:
    token = "fault-latency-0.7:sim-1"
    async with served(tmp_path, vendor, kept) as first:
        call = asyncio.create_task(first.push(token, ID))
        await until(lambda: any(record.is_complete for record in vendor.records))
        async with held(kept, tmp_path):
            await first.answered()
            # The caller may have the answer by now, and the record is what counts.
            first.process.send_signal(signal.SIGKILL)
            await asyncio.wait({call})
    async with served(tmp_path, vendor, kept) as second:
        failure = await second.fail(token, ID)
        assert (failure.reason, failure.sent) == ("OUTCOME_UNKNOWN", "maybe")
    assert (vendor.received, pushes(vendor, token)) == (1, 1)


async def test_killed_after_the_answer_the_answer_is_given_again(tmp_path: Path, vendor: Simulator, kept: Kept) -> None:
    async with served(tmp_path, vendor, kept) as first:
        answer = await first.push("sim-1", ID)
        first.process.send_signal(signal.SIGKILL)
    async with served(tmp_path, vendor, kept) as second:
        again = await second.push("sim-1", ID)
    assert (answer.replayed, again.replayed) == (False, True)
    again.replayed = False
    assert again == answer
    assert pushes(vendor, "sim-1") == 1


@asynccontextmanager
async def held(kept: Kept, directory: Path) -> AsyncIterator[None]:
    """Let no step be made in the store, inside the block."""
    if kept.redis is not None:
        client = Redis.from_url(kept.redis.url)
        await client.execute_command("CLIENT", "PAUSE", "30000", "WRITE")
        try:
            yield
        finally:
            await client.execute_command("CLIENT", "UNPAUSE")
            await client.aclose()
        return
    other = sqlite3.connect(directory / "ids.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()
