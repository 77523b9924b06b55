"""Callers that push at a constant rate, whatever becomes of their pushes, and what they saw."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import grpc
from google.rpc.error_details_pb2 import RetryInfo

from pushsidecar.xg.v1 import PushRequest
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator.record import Record
from tests.support.failures import failure_of
from tests.support.running import android

# What a caller was told: OK, or the reason of the sidecar's error; these two where it came from his own library.
HUNG_UP, NOT_OURS = "(hung up)", "(not the sidecar's)"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of one call. `sent` is `yes` for an OK, and `maybe` where the sidecar did not say."""

    token: str
    reason: str
    sent: str
    latency_s: float
    retry_after_s: float | None = None
    attempts: int = 0


def new_token(prefix: str = "sim-") -> str:
    """Return a registered token that no other call has."""
    return f"{prefix}{next(_numbers)}"


async def push(
    stub: PushServiceStub,
    token: str,
    *,
    timeout_s: float = 10.0,
    hang_up_s: float | None = None,
    app: str = "shop",
    request_id: str = "",
) -> Ending:
    """Make one push, and hang up after a while if so told."""
    started = time.perf_counter()
    request: PushRequest = android(token, app=app, request_id=request_id)
    call = stub.Push(request, timeout=timeout_s)
    hanging_up = None
    if hang_up_s is not None:
        hanging_up = asyncio.get_running_loop().call_later(hang_up_s, call.cancel)
    try:
        response = await call
    except grpc.aio.AioRpcError as error:
        failure = failure_of(error)
        after_s = _retry_after_s(failure.status.details if failure.status else ())
        attempts = int(failure.metadata.get("attempts", 0))
        latency_s = time.perf_counter() - started
        return Ending(token, failure.reason or NOT_OURS, failure.sent or "maybe", latency_s, after_s, attempts)
    except asyncio.CancelledError:
        if not call.cancelled():
            raise
        return Ending(token, HUNG_UP, "maybe", time.perf_counter() - started)
    finally:
        if hanging_up is not None:
            hanging_up.cancel()
    return Ending(token, "OK", "yes", time.perf_counter() - started, None, response.attempts)


async def push_at_rate(
    stub: PushServiceStub, rate_per_s: float, duration_s: float, *, app: str = "shop", timeout_s: float = 10.0
) -> list[Ending]:
    """Push at a rate that does not wait for answers; returns when every call has ended."""
    calls: list[asyncio.Task[Ending]] = []
    started = time.perf_counter()
    for number in range(round(rate_per_s * duration_s)):
        if (wait_s := started + number / rate_per_s - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        calls.append(asyncio.create_task(push(stub, new_token(), app=app, timeout_s=timeout_s)))
    return await asyncio.gather(*calls)


def quantile(seconds: Iterable[float], share: float) -> float:
    """Return the value below which that share of all lies."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def reasons_of(endings: Iterable[Ending]) -> Counter[str]:
    """Count the endings by what was told."""
    return Counter(f"{ending.reason}/{ending.sent}" for ending in endings)


def check_promises(endings: Iterable[Ending], records: Iterable[Record]) -> None:
    """Hold what the callers were told against what the vendor received: OK once, `no` never, all at most once."""
    received: Counter[str] = Counter()
    for record in records:
        assert record.is_complete, f"a request was cut: {record}"
        received[json.loads(record.raw)["token_list"][0]] += 1
    for ending in endings:
        times = received[ending.token]
        if ending.sent == "yes":
            assert times == 1, f"received {times} times: {ending}"
        elif ending.sent == "no":
            assert times == 0, f"received {times} times: {ending}"
        else:
            assert times <= 1, f"received {times} times: {ending}"


def _retry_after_s(details: Iterable) -> float | None:
    found = RetryInfo()
    for detail in details:
        if detail.Unpack(found):
            return found.retry_delay.ToMilliseconds() / 1000
    return None
