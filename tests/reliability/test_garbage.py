"""A call that has ended leaves at once, however it ended: the garbage collector has nothing of it to find."""

import asyncio
import gc
import logging
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from sidecar.delivery.call import Call
from sidecar.errors import NotSent
from sidecar.simulator import Fault, Kind, Match, Simulator
from tests.conftest import StartSidecar
from tests.server.test_handler import serving
from tests.support.garbage import uncollected
from tests.support.running import Running, android
from tests.support.waiting import until

NOBODY_LISTENS = "https://127.0.0.1:9"
# gRPC keeps the last one or two until others come.
CALLS = 4
# What ends just after an answer has nothing that could be asked for.
WIND_UP_S = 0.02

# How a push ends, and what makes it end so. A request id gets a number; the second push repeats the first.
ENDINGS: Mapping[str, dict[str, Any]] = {
    "accepted": {},
    "accepted, with an id": {"request_id": "ok"},
    "a rule broken": {"token": "t" * 65},
    "app unknown": {"app": "store"},
    "refused by the vendor": {"token": "fault-ret-10103"},
    "refused by the vendor, with an id": {"token": "fault-ret-10103", "request_id": "refused"},
    "vendor busy, asked again": {"token": "fault-ret-10201"},
    "quota spent": {"token": "quota-spent"},
    "no verdict": {"token": "fault-http-503"},
    "answer lost": {"token": "fault-reset-after-body"},
    "answer lost, given again": {"token": "fault-reset-after-body", "request_id": "lost"},
    "answer cut": {"token": "fault-half-body"},
    "not sent, tried again": {"app": "nowhere"},
    "not sent, with an id": {"app": "nowhere", "request_id": "not-sent"},
    "deadline before a late answer": {"token": "fault-latency-0.3:late"},
    "deadline before a late failure": {"token": "fault-latency-0.3,fault-half-body:late"},
    "hang-up": {"token": "fault-latency-0.3:gone"},
}
TIMEOUT_S = {"deadline before a late answer": 0.15, "deadline before a late failure": 0.15}


async def make(running: Running, ending: str, number: int) -> None:
    """Make a push that ends so, and wait until the sidecar is done with it."""
    fields = {"app": "shop", **ENDINGS[ending]}
    if "request_id" in fields:
        fields["request_id"] += f"-{number // 2}"
    call = running.stub.Push(android(**fields), timeout=TIMEOUT_S.get(ending, 10))
    if ending == "hang-up":
        await asyncio.sleep(0.1)
        call.cancel()
    await asyncio.wait({asyncio.ensure_future(call.code())})
    metrics = running.sidecar.metrics.registry
    await until(lambda: metrics.get_sample_value("push_sidecar_in_flight", {"app": "shop"}) == 0)
    await asyncio.sleep(WIND_UP_S)


async def test_ended_pushes_leave_nothing_to_the_garbage_collector(
    start_sidecar: StartSidecar, vendor: Simulator
) -> None:
    vendor.script(Fault(kind=Kind.HTTP, status=429, match=Match(token="quota-spent"), times=100))
    running = await start_sidecar(
        apps={"nowhere": {"base_url": NOBODY_LISTENS}}, breaker={"min_calls": 1000}, app={"quota_retry_after_s": 0.001}
    )
    left: dict[str, Counter[str]] = {}
    for ending in ENDINGS:
        await make(running, ending, 0)  # caches are filled
        with uncollected() as found:
            for number in range(1, 1 + CALLS):
                await make(running, ending, number)
        if found:
            left[ending] = found
    assert left == {}


@pytest.fixture
def without_logs() -> Iterator[None]:
    """Let nobody keep the traceback of a bug: pytest keeps every line."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("without_logs")
async def test_bug_of_ours_leaves_nothing_to_the_garbage_collector() -> None:
    async def broken(request: StringValue, _call: Call) -> StringValue:
        attempt = asyncio.ensure_future(fail())
        await asyncio.wait({attempt})
        attempt.result()
        return request

    async def fail() -> None:
        raise KeyError

    async with serving(broken) as served:
        with uncollected() as found:
            for _ in range(CALLS):
                await served.call().code()
            await asyncio.sleep(WIND_UP_S)
    assert served.counted("SIDECAR_BUG", "no") == CALLS
    assert found == {}


REQUEST_CHARS = 1 << 20


async def test_memory_of_refused_calls_falls_without_a_collection() -> None:
    async def refuse(_request: StringValue, _call: Call) -> StringValue:
        attempt = asyncio.ensure_future(fail())
        await asyncio.wait({attempt})
        return attempt.result()

    async def fail() -> StringValue:
        raise NotSent("not sent", cause="connect")

    async with serving(refuse) as served:
        do = served.channel.unary_unary("/test.v1.TestService/Do")
        body = StringValue(value="x" * REQUEST_CHARS).SerializeToString()

        async def refused(times: int) -> None:
            for _ in range(times):
                with pytest.raises(grpc.aio.AioRpcError):
                    await do(body, timeout=10)

        await refused(2)
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            await refused(20)
            await asyncio.sleep(WIND_UP_S)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
    assert held < 3 * REQUEST_CHARS
