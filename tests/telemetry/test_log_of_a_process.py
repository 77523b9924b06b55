"""What a sidecar writes while pushes fail and succeed: bounded by default, complete where that is asked for."""

import signal
from pathlib import Path
from typing import Any

import grpc
import pytest

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Simulator
from sidecar.telemetry.own_logs import MAX_LINES_A_MINUTE
from tests.support.process import serve_process
from tests.support.running import android, write_config

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = (("traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-01"),)
FAILING, SUCCEEDING = 3 * MAX_LINES_A_MINUTE, 5


async def lines_of(vendor: Simulator, directory: Path, access: str) -> list[dict[str, Any]]:
    """Make pushes that fail for one reason, and some that do not; returns the whole log."""
    config = write_config(directory, vendor, log={"access": access, "format": "auto"})
    async with serve_process(config) as process:
        line = await process.wait_for("serving")
        async with grpc.aio.insecure_channel(line["grpc"]) as channel:
            stub = PushServiceStub(channel)
            for _ in range(FAILING):
                with pytest.raises(grpc.aio.AioRpcError):
                    await stub.Push(android("unknown-device"), timeout=10, metadata=TRACEPARENT)
            for _ in range(SUCCEEDING):
                await stub.Push(android(), timeout=10, metadata=TRACEPARENT)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert process.text == ""
        return process.lines


@pytest.mark.parametrize(
    ("access", "answered", "failed", "suppressed"),
    [
        ("failures", 0, MAX_LINES_A_MINUTE, FAILING - MAX_LINES_A_MINUTE),
        ("all", SUCCEEDING, FAILING, None),
        ("none", 0, 0, None),
    ],
)
async def test_pushes_have_the_lines_that_are_asked_for(
    access: str, answered: int, failed: int, suppressed: int | None, vendor: Simulator, tmp_path: Path
) -> None:
    lines = await lines_of(vendor, tmp_path, access)
    events = [line["event"] for line in lines]
    assert (events.count("push answered"), events.count("push failed")) == (answered, failed)
    assert events[-1] == "stopped" if suppressed is None else "lines suppressed"
    told = [line for line in lines if line["event"] == "lines suppressed"]
    assert [line["suppressed"] for line in told] == ([] if suppressed is None else [suppressed])
    if told:
        assert (told[0]["of"], told[0]["app"], told[0]["reason"]) == ("push failed", "shop", "TARGET_UNKNOWN")
    for line in lines:
        if line["event"].startswith("push "):
            assert {"app", "audience", "code", "duration_s", "span_id"} <= line.keys()
            assert line["trace_id"] == TRACE_ID
