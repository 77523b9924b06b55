"""A store that is away for a while, before a real sidecar: what callers are told, and that nothing is left behind."""

import asyncio
import os
import signal
import sqlite3
from pathlib import Path

import grpc
import pytest

from sidecar.simulator import Simulator
from tests.support.failures import failure_of
from tests.support.redis_server import redis_server
from tests.support.running import android, build_config, running_sidecar

from .conftest import Kept, served

LOCKED_OUT = 200


async def test_locked_database_costs_the_calls_of_its_time_and_no_stop(tmp_path: Path, vendor: Simulator) -> None:
    path = tmp_path / "ids.db"
    async with served(
        tmp_path, vendor, Kept({"idempotency": {"store": "sqlite", "sqlite_file": str(path)}})
    ) as process:
        await process.push("sim-1", "first")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        calls = (process.push("sim-2", f"locked-{number}", timeout_s=0.5) for number in range(LOCKED_OUT))
        for told in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(told, grpc.aio.AioRpcError)
            # "" is made by the caller's own library, where its clock was first.
            assert failure_of(told).sent in {"no", ""}
        process.process.send_signal(signal.SIGTERM)
        # Each of the steps that are left would wait two seconds for the lock.
        await process.process.wait(timeout=30)
        other.rollback()
        other.close()
    assert vendor.received == 1


async def test_id_of_a_call_that_was_refused_is_free_when_redis_is_back(tmp_path: Path, vendor: Simulator) -> None:
    with redis_server(tmp_path) as server:
        kept = Kept({"idempotency": {"store": "redis", "lease_s": 600}, "redis": {"url": server.url}})
        async with served(tmp_path, vendor, kept) as process:
            await process.push("sim-1", "first")
            os.kill(server.pid, signal.SIGSTOP)
            try:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await process.push("sim-2", "second", timeout_s=10)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            told = failure_of(refused.value)
            assert (told.reason, told.sent) == ("STORE_UNAVAILABLE", "no")
            assert not (await process.push("sim-2", "second", timeout_s=30)).replayed
    assert vendor.received == 2


async def test_redis_that_hangs_delays_paced_calls_only_until_that_is_known(tmp_path: Path, vendor: Simulator) -> None:
    with redis_server(tmp_path) as server:
        kept = Kept(
            {
                "pacing": {"storage": "redis"},
                "redis": {"url": server.url, "timeout_s": 1.0},
            }
        )
        async with served(tmp_path, vendor, kept, quotas={"single": "1000/hour"}) as process:
            await process.push("sim-1", "")
            os.kill(server.pid, signal.SIGSTOP)
            try:
                with pytest.raises(grpc.aio.AioRpcError) as late:
                    await process.push("sim-2", "", timeout_s=0.5)
                assert (failure_of(late.value).reason, failure_of(late.value).sent) == ("DEADLINE", "no")
                await process.push("sim-3", "", timeout_s=30)
                for _ in range(10):  # with less time than one question to Redis may take
                    await process.push("sim-4", "", timeout_s=0.9)
            finally:
                os.kill(server.pid, signal.SIGCONT)
    assert vendor.received == 12


async def test_database_that_is_deleted_refuses_ids_until_a_restart_and_costs_no_other_push(
    tmp_path: Path, vendor: Simulator
) -> None:
    path = tmp_path / "ids.db"
    kept = Kept({"idempotency": {"store": "sqlite", "sqlite_file": str(path)}})
    async with served(tmp_path, vendor, kept) as process:
        await process.push("sim-1", "first")
        for file in tmp_path.glob("ids.db*"):
            file.unlink()
        for request_id in ("first", "second"):
            failure = await process.fail("sim-1", request_id)
            assert (failure.reason, failure.sent) == ("STORE_UNAVAILABLE", "no")
        await process.push("sim-1", "")
        assert list(tmp_path.glob("ids.db*")) == [], "a new file would not know the first push"
    assert vendor.received == 2
    async with served(tmp_path, vendor, kept) as process:
        assert not (await process.push("sim-1", "second")).replayed


async def test_flood_of_ids_of_one_app_leaves_room_for_another(tmp_path: Path, vendor: Simulator) -> None:
    config = build_config(tmp_path, vendor, apps={"other": {}}, idempotency={"max_bytes": 65536})
    async with running_sidecar(config) as running:
        for number in range(200):
            try:
                await running.push(android(app="shop", request_id=str(number)))
            except grpc.aio.AioRpcError as error:
                failure = failure_of(error)
                break
        assert (failure.reason, failure.sent) == ("OVERLOADED", "no")
        assert "idempotency.max_app_share" in failure.message
        for other in range(number // 2):
            await running.push(android(app="other", request_id=str(other)))
