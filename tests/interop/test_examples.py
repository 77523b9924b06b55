"""The examples of every language, as they stand in their READMEs, against a real sidecar."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from sidecar.simulator import Simulator
from tests.interop.languages import Programs
from tests.support.process import serve_process

pytestmark = pytest.mark.timeout(900)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["tcp", "unix"])
async def target(
    request: pytest.FixtureRequest, write: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """Give the address of a sidecar, on a port or on a socket."""
    folder = tmp_path_factory.mktemp("socket")
    listen = "127.0.0.1:0" if request.param == "tcp" else f"unix:{folder / 'push.sock'}"
    async with serve_process(write(listen=listen)) as process:
        yield (await process.wait_for("serving"))["grpc"]


async def run(command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.asyncio(loop_scope="module")
async def test_example_pushes(programs: Programs, target: str, simulator: Simulator, language: str) -> None:
    token = f"sim-example-{language}-{len(simulator.records)}"
    result = await run(programs.example(target, token))
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"push_id [0-9]{10,20}\n", result.stdout)
    (record,) = [record for record in simulator.records if token in record.text]
    assert record.was_delivered


@pytest.mark.asyncio(loop_scope="module")
async def test_example_says_what_went_wrong(programs: Programs, target: str) -> None:
    result = await run(programs.example(target, "nobody"))
    assert (result.returncode, result.stdout) == (1, "")
    assert "TARGET_UNKNOWN" in result.stderr
