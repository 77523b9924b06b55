"""The examples of every language against a real sidecar; the first code of each README is a part of its example."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from sidecar.simulator import Simulator
from tests.interop.languages import CLIENTS, Programs
from tests.support.process import serve_process

pytestmark = pytest.mark.timeout(900)

FIRST_CODE = re.compile(r"^## One push\n.*?^```(?:go|java|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["tcp", "unix"])
async def target(
    request: pytest.FixtureRequest, write: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """Give the address of a sidecar, on a port or on a socket."""
    folder = tmp_path_factory.mktemp("socket")
    listen = "127.0.0.1:0" if request.param == "tcp" else f"unix:{folder / 'push.sock'}"
    async with serve_process(write(listen=listen)) as process:
        yield (await process.wait_for("serving"))["grpc"]


async def run(command: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run, (*command, *arguments), capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.asyncio(loop_scope="module")
async def test_example_pushes(programs: Programs, target: str, simulator: Simulator, language: str) -> None:
    token = f"sim-example-{language}-{len(simulator.records)}"
    result = await run(programs.example, target, token)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"push_id [0-9]{10,20}\n", result.stdout)
    (record,) = [record for record in simulator.records if token in record.text]
    assert record.was_delivered


@pytest.mark.parametrize(
    ("token", "reason", "outcome"),
    [
        ("nobody", "TARGET_UNKNOWN", "nothing was pushed"),
        ("", "INVALID_REQUEST", "nothing was pushed"),
        ("fault-ret-10204", "VENDOR_INTERNAL", "it may have gone out"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_example_says_what_went_wrong(
    programs: Programs, target: str, token: str, reason: str, outcome: str
) -> None:
    result = await run(programs.example, target, token)
    assert (result.returncode, result.stdout) == (1, "")
    assert reason in result.stderr
    assert result.stderr.endswith(f" - {outcome}\n")
    assert "again" not in result.stderr


@pytest.mark.parametrize("arguments", [(), ("127.0.0.1:50051",), ("127.0.0.1:50051", "token1", "more")], ids=len)
@pytest.mark.asyncio(loop_scope="module")
async def test_example_without_a_target_and_a_token_says_how_to_call_it(
    programs: Programs, arguments: tuple[str, ...]
) -> None:
    result = await run(programs.example, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(
        r"usage: .*\bTARGET TOKEN  \(TARGET: 127\.0\.0\.1:50051 or unix:/run/push-sidecar/push\.sock\)\n", result.stderr
    )


def test_first_code_of_the_readme_is_in_the_example(programs: Programs, language: str) -> None:
    """Line by line and in order, without indentation and lines of comment."""
    found = FIRST_CODE.search((CLIENTS / language / "README.md").read_text())
    assert found is not None
    lines = [line for line in code_of(found[1]) if not line.startswith(("#", "//"))]
    assert lines
    rest = iter(code_of(programs.example_source.read_text()))
    missing = [line for line in lines if line not in rest]
    assert missing == []


def code_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("path", sorted(CLIENTS.glob("*/README.md")), ids=lambda path: path.parent.name)
def test_readme_names_one_socket(path: Path) -> None:
    sockets = set(re.findall(r"unix:(/[\w./-]+)", path.read_text())) - {"/path"}
    assert sockets == {"/run/push-sidecar/push.sock"}
