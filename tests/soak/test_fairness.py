"""Two apps, and the vendor of one hangs: the pushes of the other are neither refused nor slower."""

import asyncio
from pathlib import Path

from pushsidecar.xg.v1 import IosNotification, PushRequest
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Fault, Kind, Match, Simulator
from tests.conftest import StartSidecar
from tests.soak.load import push_at_rate, quantile, reasons_of
from tests.soak.scale import scaled_s
from tests.support.waiting import until

RATE_PER_S = 30.0
DURATION_S = scaled_s(10, least_s=2)
# The same app alone and beside the other, in one run on one machine: no slower but for the machine's own noise. What
# waited for the other would wait for a minute.
FACTOR, NOISE_S = 3.0, 0.1
PLACES, QUEUE = 8, 8


async def push_to_sick(stub: PushServiceStub) -> None:
    """Push to the app whose vendor hangs, until it is cancelled or turned away."""
    request = PushRequest(token="sim-1", ios_notification=IosNotification(title="t"), app="sick")
    await stub.Push(request, timeout=60)


async def test_app_whose_vendor_hangs_does_not_delay_another(
    start_sidecar: StartSidecar, vendor: Simulator, tmp_path: Path
) -> None:
    sick = vendor.ios
    vendor.script(Fault(kind=Kind.HANG, match=Match(app_id=sick.app_id), times=None))
    secret = tmp_path / "sick-secret"
    secret.write_text(sick.secret_key)
    limits = {"max_in_flight": PLACES, "max_queue": QUEUE}
    running = await start_sidecar(
        apps={"sick": {"platform": "ios", "app_id": sick.app_id, "secret_key_file": str(secret), **limits}}
    )
    alone = await push_at_rate(running.stub, RATE_PER_S, DURATION_S)

    hanging = [asyncio.create_task(push_to_sick(running.stub)) for _ in range(PLACES + QUEUE + 5)]
    gauge = running.sidecar.metrics.registry.get_sample_value
    await until(lambda: gauge("push_sidecar_queued", {"app": "sick"}) == QUEUE)
    assert gauge("push_sidecar_in_flight", {"app": "sick"}) == PLACES
    beside = await push_at_rate(running.stub, RATE_PER_S, DURATION_S)
    assert gauge("push_sidecar_in_flight", {"app": "sick"}) == PLACES, "it was hanging all the time"
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)

    assert reasons_of(alone) == {"OK/yes": len(alone)}
    assert reasons_of(beside) == {"OK/yes": len(beside)}
    for share in (0.5, 0.95):
        before_s, with_s = (quantile((end.latency_s for end in ends), share) for ends in (alone, beside))
        print(f"quantile {share}: alone {before_s * 1000:.2f} ms, beside {with_s * 1000:.2f} ms")  # noqa: T201
        assert with_s < FACTOR * before_s + NOISE_S
