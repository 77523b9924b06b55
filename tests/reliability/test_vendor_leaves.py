"""A vendor whose connections end just after the TLS handshake: every caller gets its answer, and gets it at once."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import grpc
import pytest

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Simulator
from tests.support.certificates import Authority
from tests.support.failures import failure_of
from tests.support.process import serve_process
from tests.support.raw_server import RawConnection, RawServer
from tests.support.running import android, write_config

PUSHES = 500
PATIENCE_S = 20
# Far more than three attempts take, also on a busy machine, and less than any limit of the sidecar's.
AT_ONCE_S = 5
# The process and its vendor must race: one after the other they never meet.
CALLERS = 2


@pytest.mark.parametrize("has_id", [False, True], ids=["without-id", "with-id"])
async def test_vendor_that_leaves_after_the_handshake_costs_no_caller_its_answer(
    vendor: Simulator, tmp_path: Path, has_id: bool
) -> None:
    authority = Authority(tmp_path)
    seen: Counter[tuple[str, str]] = Counter()
    took_s: list[float] = []

    async def leave(connection: RawConnection) -> None:
        connection.close()

    async with RawServer(leave, authority.server_context()) as leaving:
        config = write_config(
            tmp_path,
            vendor,
            app={
                "base_url": f"https://127.0.0.1:{leaving.port}",
                "ca_file": str(authority.ca_file),
                "retry": {"initial_backoff_s": 0.01},
            },
            idempotency={"store": "sqlite", "sqlite_file": str(tmp_path / "ids.db")},
            breaker={"min_calls": 1_000_000},
        )
        async with serve_process(config) as process:
            address = (await process.wait_for("serving"))["grpc"]
            async with grpc.aio.insecure_channel(address, (("grpc.enable_retries", 0),)) as channel:
                stub = PushServiceStub(channel)
                numbers = iter(range(PUSHES))

                async def caller() -> None:
                    for number in numbers:
                        request = android(request_id=f"id-{number}" if has_id else "")
                        began = time.monotonic()
                        with pytest.raises(grpc.aio.AioRpcError) as error:
                            await stub.Push(request, timeout=PATIENCE_S)
                        took_s.append(time.monotonic() - began)
                        failure = failure_of(error.value)
                        seen[failure.reason, failure.sent] += 1

                await asyncio.gather(*(caller() for _ in range(CALLERS)))
    assert seen.total() == PUSHES
    assert max(took_s) < AT_ONCE_S
    # Some bodies had been given out when the end was seen.
    assert set(seen) <= {("NOT_SENT", "no"), ("OUTCOME_UNKNOWN", "maybe")}
