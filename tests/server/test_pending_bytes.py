"""What calls hold, from the first byte to every end that a call can have, over a whole sidecar."""

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo

from pushsidecar.xg.v1 import PushRequest
from sidecar.simulator import Fault, Kind, Simulator
from tests.conftest import StartSidecar
from tests.support.failures import Failure, failure_of
from tests.support.running import METHOD, Running, android
from tests.support.waiting import until

MAX_MESSAGE_BYTES = 100_000
LIMITS: dict[str, Any] = {
    "server": {"max_message_bytes": MAX_MESSAGE_BYTES, "max_pending_bytes": 350_000},
    "app": {"max_pending_bytes": 310_000, "overload_retry_after_s": 3, "total_timeout_s": 5},
}


def large(targets: int = 450, **fields: Any) -> PushRequest:
    """Build a push to accounts of 200 characters: about 200 bytes each in the request, and in the body."""
    return android(account_list={"accounts": [f"sim-{number:0196}" for number in range(targets)]}, **fields)


def pending(running: Running) -> tuple[float, float]:
    """Return what the process holds, and what the app does."""
    value = running.sidecar.metrics.registry.get_sample_value
    process, app = value("push_sidecar_process_pending_bytes"), value("push_sidecar_pending_bytes", {"app": "shop"})
    assert process is not None
    assert app is not None
    return process, app


async def nothing_pending(running: Running) -> None:
    await until(lambda: pending(running) == (0, 0))


async def hold(running: Running, vendor: Simulator, request: PushRequest) -> "asyncio.Task[Any]":
    """Start a push that its vendor does not answer, and wait until it was sent."""
    received = vendor.received
    task = asyncio.create_task(running.push(request, timeout_s=30))
    await until(lambda: vendor.received == received + 1)
    return task


async def end(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.wait({task})


def retry_after_s(failure: Failure) -> float:
    info = RetryInfo()
    assert failure.status is not None
    assert failure.status.details[1].Unpack(info)
    return info.retry_delay.ToMilliseconds() / 1000


async def test_request_the_process_has_no_room_for_is_refused_before_it_is_read(
    start_sidecar: StartSidecar, vendor: Simulator
) -> None:
    vendor.script(Fault(kind=Kind.HANG, times=None))
    running = await start_sidecar(**LIMITS)
    held = await hold(running, vendor, large())
    process, app = pending(running)
    assert 3 * 450 * 200 < process == app < 310_000, "the request twice, and the body"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.channel.unary_unary(f"/{METHOD}")(b"\xff" * 60_000, timeout=5)
    failure = failure_of(refused.value)
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert (failure.sent, retry_after_s(failure)) == ("no", 1.0)
    assert failure.message == "the calls in progress hold as many bytes as server.max_pending_bytes allows"
    await until(lambda: pending(running) == (process, app))
    await end(held)


async def test_body_the_app_has_no_room_for_is_refused_with_the_apps_own_words(
    start_sidecar: StartSidecar, vendor: Simulator
) -> None:
    vendor.script(Fault(kind=Kind.HANG, times=None))
    running = await start_sidecar(**LIMITS)
    held = await hold(running, vendor, large())
    before = pending(running)
    failure = await running.fail(large(75))
    assert (failure.reason, failure.sent, retry_after_s(failure)) == ("OVERLOADED", "no", 3.0)
    assert failure.message == "the calls in progress hold as many bytes as apps.shop.max_pending_bytes allows"
    assert vendor.received == 1
    await until(lambda: pending(running) == before)
    await end(held)


async def test_request_of_the_largest_size_fits_when_it_is_alone(start_sidecar: StartSidecar) -> None:
    least = {"max_pending_bytes": 3 * MAX_MESSAGE_BYTES}
    running = await start_sidecar(server={"max_message_bytes": MAX_MESSAGE_BYTES, **least}, app=least)
    request = large(490)
    assert 0.98 * MAX_MESSAGE_BYTES < request.ByteSize() <= MAX_MESSAGE_BYTES
    for _ in range(3):
        await running.push(request)
        await nothing_pending(running)


@pytest.mark.parametrize("targets", [1, 450], ids=["small", "large"])
@pytest.mark.parametrize("kind", ["accepted", "invalid", "validated", "vendor_refused", "unknown", "with_id"])
async def test_nothing_is_held_after_the_answer(
    start_sidecar: StartSidecar, vendor: Simulator, kind: str, targets: int
) -> None:
    running = await start_sidecar(**LIMITS)
    request = large(targets)
    if kind in {"accepted", "validated", "with_id"}:
        request.validate_only = kind == "validated"
        request.request_id = "order-1" if kind == "with_id" else ""
        await running.push(request)
        await running.push(request)
    elif kind == "invalid":
        request.android_notification.title = ""
        assert (await running.fail(request)).reason == "INVALID_REQUEST"
    else:
        vendor.script(Fault(kind=Kind.HTTP, status=403 if kind == "vendor_refused" else 500))
        assert (await running.fail(request)).sent == ("no" if kind == "vendor_refused" else "maybe")
    await nothing_pending(running)


@pytest.mark.parametrize("targets", [1, 450], ids=["small", "large"])
@pytest.mark.parametrize("is_hang_up", [False, True], ids=["deadline", "hang_up"])
async def test_call_whose_caller_has_gone_holds_its_bytes_until_the_vendor_has_answered(
    start_sidecar: StartSidecar, vendor: Simulator, *, is_hang_up: bool, targets: int
) -> None:
    vendor.script(Fault(kind=Kind.HANG))
    running = await start_sidecar(**{**LIMITS, "app": {**LIMITS["app"], "total_timeout_s": 2}})
    if is_hang_up:
        await end(await hold(running, vendor, large(targets)))
    else:
        assert (await running.fail(large(targets), timeout_s=1)).sent == "maybe"
    active = running.sidecar.metrics.registry.get_sample_value
    await until(lambda: active("rpc_server_active_calls", {"rpc_method": METHOD}) == 0)
    process, app = pending(running)
    assert process == app > 3 * 200 * targets, "the caller has gone, the vendor call goes on"
    await nothing_pending(running)


async def test_caller_that_leaves_before_its_push_was_sent_holds_nothing(
    start_sidecar: StartSidecar, vendor: Simulator
) -> None:
    vendor.script(Fault(kind=Kind.HANG, times=None))
    running = await start_sidecar(**{**LIMITS, "app": {**LIMITS["app"], "max_in_flight": 1}})
    held = await hold(running, vendor, large(1))
    before = pending(running)
    queued = asyncio.create_task(running.push(large(100), timeout_s=30))
    await until(lambda: pending(running) > before)
    await end(queued)
    await until(lambda: pending(running) == before)
    await end(held)
