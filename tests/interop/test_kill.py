"""`kill -9` of the sidecar in mid-call, and a restart at once: no caller's retry policy makes a second push."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.simulator import Record, Simulator
from tests.interop.cases import android
from tests.interop.languages import Programs
from tests.interop.runner import running
from tests.support.process import serve_process
from tests.support.running import FREE_PORT

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(params=["tcp", "unix"])
def listen(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give what the first sidecar listens at."""
    return FREE_PORT if request.param == "tcp" else f"unix:{tmp_path / 'push.sock'}"


async def test_exactly_one_push_although_the_sidecar_was_killed(
    programs: Programs, simulator: Simulator, write: Callable[..., Path], language: str, listen: str
) -> None:
    token = f"fault-hang:{language}-{listen.partition(':')[0]}"

    def pushes() -> list[Record]:
        return [record for record in simulator.records if token in record.text]

    async with serve_process(write(listen=listen)) as first:
        address = (await first.wait_for("serving"))["grpc"]
        async with running(programs.runner, address) as runner:
            await runner.push("warm up", android(token="token1"))
            # Long enough for every retry that a policy could make.
            runner.start_push("killed", android(token=token), timeout_s=30)
            async with asyncio.timeout(30):
                while not any(record.is_complete for record in pushes()):  # noqa: ASYNC110  # nothing tells of it
                    await asyncio.sleep(0.01)
            first.send_signal(signal.SIGKILL)
            async with serve_process(write(listen=address)) as second:
                assert (await second.wait_for("serving"))["grpc"] == address
                killed = await runner.outcome()
                after = await runner.push("after", android(token="token1"))

    assert len(pushes()) == 1
    assert killed["code"] != "OK"
    assert (killed["error"]["sent"], killed["error"]["reason"]) == ("maybe", "")
    assert (after["code"], after["error"]) == ("OK", None)
