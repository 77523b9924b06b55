"""A caller that makes calls and reads no answers, until its connection is full: it holds nobody else up."""

import time

import grpc
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from sidecar.simulator import Simulator
from tests.conftest import StartSidecar
from tests.support.raw_http2 import PUSH, Deaf
from tests.support.running import Running, android
from tests.support.waiting import until

PLACES = 16
TOTAL_TIMEOUT_S = 60
# Their answers are more than the kernel takes for a connection whose other end does not read, and cost little to make.
LOUD_CALLS = 400
REFLECTION = b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def in_flight(running: Running) -> float | None:
    return running.sidecar.metrics.registry.get_sample_value("push_sidecar_in_flight", {"app": "shop"})


async def test_caller_that_does_not_read_gives_its_places_back_and_pushes_nothing(
    start_sidecar: StartSidecar, vendor: Simulator
) -> None:
    running = await start_sidecar(
        app={"max_in_flight": PLACES, "max_queue": 0, "total_timeout_s": TOTAL_TIMEOUT_S},
        server={"shutdown_grace_s": TOTAL_TIMEOUT_S + 10},
    )
    metrics = running.sidecar.metrics.registry
    loud = ServerReflectionRequest(file_containing_symbol="pushsidecar.xg.v1.PushService")
    async with Deaf(running.sidecar.grpc_address) as deaf:
        for _ in range(LOUD_CALLS):
            await deaf.call(REFLECTION, loud.SerializeToString())
        for number in range(PLACES):
            await deaf.call(PUSH, android(f"deaf-{number}").SerializeToString())
        await until(lambda: in_flight(running) == PLACES)
        started = time.perf_counter()
        failure = await running.fail()
        assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        await until(lambda: in_flight(running) == 0)
        assert time.perf_counter() - started < TOTAL_TIMEOUT_S / 4
        await running.push()
        assert not any("deaf-" in record.text for record in vendor.records)
        labels = {"app": "shop", "cause": "early_headers"}
        assert metrics.get_sample_value("push_sidecar_attempt_failures_total", labels) == PLACES
        # Who reads after all learns that nothing was sent.
        await deaf.hear(b"grpc-retry-pushback-ms", PLACES)
