"""Many large requests at once, legal and refused ones: the process stays within the memory that its manifests allow."""

import asyncio
from collections import Counter
from pathlib import Path

import grpc
import pytest

from pushsidecar.xg.v1 import PushRequest
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Fault, Kind, Simulator
from tests.support.failures import failure_of
from tests.support.process import serve_process
from tests.support.running import android, write_config

MIB = 1024 * 1024
# deploy/kubernetes: limits.memory.
LIMIT_BYTES = 256 * MIB
ROUNDS = 2


def padded(request: PushRequest, size: int) -> PushRequest:
    """Return a request with a field of `size` bytes that this release does not know: legal, and kept by protobuf."""
    header = b"\xfa\x7f"  # field 2047, length-delimited
    length = b""
    left = size
    while left > 0x7F:
        length += bytes([left & 0x7F | 0x80])
        left >>= 7
    return PushRequest.FromString(request.SerializeToString() + header + length + bytes([left]) + b"x" * size)


def accounts() -> PushRequest:
    """Build a list of as many and as long accounts as are allowed, each character of four bytes."""
    return android(account_list={"accounts": [f"sim-{number:03}" + "\U0001f4f1" * 248 for number in range(1000)]})


REQUESTS = {
    "accepted": (padded(android(), 4_100_000), 30),
    "refused_by_a_rule": (padded(android(token=""), 4_100_000), 30),
    "list_that_is_too_long": (android(token_list={"tokens": [f"t{number:060}" for number in range(66_000)]}), 30),
    "accounts_of_the_largest_size": (accounts(), 100),
}


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process had resident at once."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


@pytest.mark.parametrize(("kind", "connections"), [("accepted", 30), *((kind, 1) for kind in REQUESTS)])
async def test_large_requests_at_once_stay_within_the_memory_of_the_manifests(
    kind: str, connections: int, vendor: Simulator, tmp_path: Path
) -> None:
    vendor.script(Fault(kind=Kind.SLOW, latency_s=0.2, times=None))
    request, times = REQUESTS[kind]
    # The callers' own connections: else those of one process to one address are one.
    options = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))
    told: Counter[str] = Counter()
    async with serve_process(write_config(tmp_path, vendor)) as process:
        address = (await process.wait_for("serving"))["grpc"]
        channels = [grpc.aio.insecure_channel(address, options) for _ in range(connections)]
        stubs = [PushServiceStub(channel) for channel in channels]

        async def push(number: int) -> None:
            try:
                await stubs[number % connections].Push(request, timeout=60)
                told["OK"] += 1
            except grpc.aio.AioRpcError as error:
                failure = failure_of(error)
                told[f"{failure.reason}/{failure.sent}"] += 1

        for _ in range(ROUNDS):
            await asyncio.gather(*(push(number) for number in range(times)))
        peak = peak_bytes(process.pid)
        for stub in stubs:
            assert (await stub.Push(android(), timeout=10)).attempts == 1, "it serves as before"
        await asyncio.gather(*(channel.close() for channel in channels))
    figures = f"peak {peak / MIB:.0f} MiB, {dict(told)}"
    print(figures)  # noqa: T201  # pytest shows it when the test fails
    assert peak < LIMIT_BYTES, figures
    # By a maximum of its own a field may be refused; nothing else is told, and nothing that may have been sent.
    assert set(told) <= {"OK", "OVERLOADED/no", "INVALID_REQUEST/no"}, figures
    assert told["OK"] > 0 or told["INVALID_REQUEST/no"] > 0, figures
