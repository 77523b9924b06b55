"""Twice as many pushes as the vendor takes: those that are accepted keep their time, the others are told at once.

The capacity is the vendor's: so many places at so many milliseconds each. The load on it is what a tenth of a small
machine bears, though callers, vendor and sidecar share that machine: so the vendor is the limit, and not the machine.
"""

import asyncio
from pathlib import Path

import grpc
import pytest

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Fault, Kind, Simulator
from tests.soak.load import Ending, check_promises, new_token, push, push_at_rate, quantile, reasons_of
from tests.soak.resources import MIB, sampled_rss
from tests.soak.scale import scaled_s
from tests.support.process import serve_process
from tests.support.running import write_config

PLACES, QUEUE = 8, 8
LATENCY_S = 0.25
CAPACITY_PER_S = PLACES / LATENCY_S
DURATION_S = scaled_s(30, least_s=3)
# Who is accepted waits at most for those before him in the queue, so (PLACES + QUEUE) / PLACES = 2 times the unloaded
# time; the rest is room for a machine that is busy with this test's callers, too.
P99_FACTOR = 4.0
# Who is turned away waits for nothing: far below those that are accepted in the same load.
REFUSAL_SHARE = 0.5
RSS_BYTES = 64 * MIB


def accepted(endings: list[Ending]) -> list[float]:
    return [ending.latency_s for ending in endings if ending.reason == "OK"]


async def test_accepted_calls_keep_their_time_and_the_rest_is_told_at_once(vendor: Simulator, tmp_path: Path) -> None:
    vendor.script(Fault(kind=Kind.SLOW, latency_s=LATENCY_S, times=None))
    config = write_config(tmp_path, vendor, app={"max_in_flight": PLACES, "max_queue": QUEUE})
    async with serve_process(config) as process:
        address = (await process.wait_for("serving"))["grpc"]
        async with grpc.aio.insecure_channel(address, (("grpc.enable_retries", 0),)) as channel:
            stub = PushServiceStub(channel)
            unloaded = await push_at_rate(stub, CAPACITY_PER_S / 4, scaled_s(5, least_s=2))
            assert reasons_of(unloaded) == {"OK/yes": len(unloaded)}
            samples: list[int] = []
            async with sampled_rss(process.pid, samples):
                loaded = await push_at_rate(stub, 2 * CAPACITY_PER_S, DURATION_S)
            afterwards = await asyncio.gather(*(push(stub, new_token()) for _ in range(PLACES)))

    refused = [ending for ending in loaded if ending.reason == "OVERLOADED"]
    assert set(reasons_of(loaded)) == {"OK/yes", "OVERLOADED/no"}
    assert len(accepted(loaded)) > 0.5 * CAPACITY_PER_S * DURATION_S, "the vendor's capacity is used"
    assert all(ending.retry_after_s == pytest.approx(1.0) for ending in refused)
    unloaded_p99_s, loaded_p99_s = quantile(accepted(unloaded), 0.99), quantile(accepted(loaded), 0.99)
    refusal_s = quantile((ending.latency_s for ending in refused), 0.5)
    figures = (
        f"unloaded p99 {unloaded_p99_s:.3f} s, loaded p99 {loaded_p99_s:.3f} s, refusal p50 {refusal_s:.4f} s, "
        f"RSS {samples[0] / MIB:.0f} to {max(samples) / MIB:.0f} MiB, {reasons_of(loaded)}"
    )
    print(figures)  # noqa: T201  # pytest shows it when the test fails
    assert loaded_p99_s < P99_FACTOR * unloaded_p99_s, figures
    assert refusal_s < REFUSAL_SHARE * quantile(accepted(loaded), 0.5), figures
    assert max(samples) - samples[0] < RSS_BYTES, figures
    assert reasons_of(afterwards) == {"OK/yes": PLACES}
    assert quantile(accepted(afterwards), 0.5) < 2 * quantile(accepted(unloaded), 0.5), "it recovers at once"
    check_promises([*unloaded, *loaded, *afterwards], vendor.records)
