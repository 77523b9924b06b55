"""What the sidecar has repeated, no caller's library repeats once more: RPCs and connects are counted, by language."""

from pathlib import Path

import aiohttp
import pytest

from sidecar.simulator import Simulator
from tests.interop.cases import android
from tests.interop.languages import Programs
from tests.interop.runner import running
from tests.support.process import serve_process
from tests.support.raw_server import RawConnection, RawServer
from tests.support.running import write_config

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

PUSHES = 8
ATTEMPTS = 2


async def served(admin: str) -> float:
    """Return how many RPCs the sidecar has served."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{admin}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("rpc_server_call_duration_seconds_count{"))


async def refuse(connection: RawConnection) -> None:
    """Be dead: end each connection before TLS."""
    connection.reset()


@pytest.mark.parametrize(
    ("breaker", "connects"),
    [
        pytest.param({"min_calls": 1000}, PUSHES * ATTEMPTS, id="closed"),
        pytest.param({"min_calls": 1, "open_s": 600}, 1, id="open"),
    ],
)
async def test_push_to_a_dead_vendor_is_one_rpc(
    programs: Programs, simulator: Simulator, tmp_path: Path, breaker: dict[str, int], connects: int
) -> None:
    async with RawServer(refuse, None) as dead:
        config = write_config(
            tmp_path,
            simulator,
            app={
                "base_url": f"https://127.0.0.1:{dead.port}",
                "retry": {"max_attempts": ATTEMPTS, "initial_backoff_s": 0.001, "budget_ratio": 1},
            },
            breaker=breaker,
        )
        async with serve_process(config) as process:
            at = await process.wait_for("serving")
            async with running(programs.runner, at["grpc"]) as runner:
                for number in range(PUSHES):
                    seen = await runner.push(f"push {number}", android(token="token1"))
                    assert (seen["code"], seen["error"]["reason"]) == ("UNAVAILABLE", "NOT_SENT")
                    assert seen["error"]["sent"] == "no"
            assert await served(at["admin"]) == PUSHES
        assert len(dead.connections) == connects
