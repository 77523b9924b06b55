"""Calls with one request id at the same time: one vendor call, and one answer for all."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidecar.simulator import Simulator
from tests.support.failures import failure_of
from tests.support.redis_server import RedisServer, redis_server
from tests.support.running import Running, android, build_config, running_sidecar

from .conftest import pushes

CALLS = 32


async def sidecars(stack: AsyncExitStack, directory: Path, vendor: Simulator, count: int, **more: Any) -> list[Running]:
    config = build_config(directory, vendor, app={"max_in_flight": 4}, **more)
    return [await stack.enter_async_context(running_sidecar(config)) for _ in range(count)]


async def check(running: list[Running], vendor: Simulator, token: str) -> None:
    answers = await asyncio.gather(
        *(running[number % len(running)].push(android(token, request_id="order-1")) for number in range(CALLS))
    )
    assert len({answer.push_id for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * (CALLS - 1)
    assert pushes(vendor, token) == 1


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_in_one_process(tmp_path: Path, vendor: Simulator, store: str) -> None:
    idempotency = {"store": store} | ({"sqlite_file": str(tmp_path / "ids.db")} if store == "sqlite" else {})
    async with AsyncExitStack() as stack:
        running = await sidecars(stack, tmp_path, vendor, 1, idempotency=idempotency)
        await check(running, vendor, "fault-latency-0.2:sim-1")


async def test_over_two_sidecars_on_one_redis(tmp_path: Path, vendor: Simulator) -> None:
    with redis_server(tmp_path) as server:
        async with AsyncExitStack() as stack:
            running = await sidecars(
                stack, tmp_path, vendor, 2, idempotency={"store": "redis"}, redis={"url": server.url}
            )
            await check(running, vendor, "fault-latency-0.2:sim-1")


async def test_quota_is_shared_by_two_sidecars_on_one_redis(tmp_path: Path, vendor: Simulator) -> None:
    with redis_server(tmp_path) as server:
        async with AsyncExitStack() as stack:
            running = await sidecars(stack, tmp_path, vendor, 2, pacing={"storage": "redis"}, redis={"url": server.url})
            ends = await asyncio.gather(*(broadcast(running[number % 2]) for number in range(40)))
    assert ends.count("OK") == 30, "what the vendor documents for an hour"
    assert ends.count("QUOTA_EXCEEDED") == 10
    assert vendor.received == 30


async def broadcast(running: Running) -> str:
    """Push to everybody; returns OK or the reason of the failure."""
    try:
        await running.push(android(all={}))
    except grpc.aio.AioRpcError as error:
        return failure_of(error).reason
    return "OK"


async def test_redis_that_dies_costs_the_calls_that_need_it_and_no_others(tmp_path: Path, vendor: Simulator) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        async with AsyncExitStack() as stack:
            (running,) = await sidecars(
                stack, tmp_path, vendor, 1, idempotency={"store": "redis"}, pacing={"storage": "redis"},
                redis={"url": server.url},
            )  # fmt: skip
            await running.push(android(request_id="1"))
            server.stop()
            failure = await running.fail(android(request_id="2"))
            assert (failure.code.name, failure.reason, failure.sent) == ("UNAVAILABLE", "STORE_UNAVAILABLE", "no")
            await running.push(android())
            await running.push(android(all={}))
            server.start()
            await running.push(android(request_id="2"))
    finally:
        server.stop()
