"""`push-sidecar wait`: what it waits for, what it says, and its exit codes."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import grpc
import pytest

from sidecar.__main__ import main
from sidecar.config import HealthConfig
from sidecar.server.health import LIVENESS, HealthServer
from tests.support.redis_server import free_port

SERVICE = "pushsidecar.xg.v1.PushService"


@pytest.fixture
async def health() -> AsyncIterator[HealthServer]:
    """Give the health listener of a sidecar that is up and not ready."""
    server = HealthServer(HealthConfig(listen="127.0.0.1:0"), [SERVICE])
    await server.start()
    yield server
    await server.stop()


async def wait(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["wait", *arguments])


@pytest.mark.parametrize("arguments", [(), ("--service", SERVICE)], ids=["as a whole", "a service"])
async def test_ready_sidecar_ends_the_wait_with_0(
    health: HealthServer, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    health.set_ready(is_ready=True)
    assert await wait("--target", health.address, *arguments) == 0
    output = capsys.readouterr()
    first, last = output.err.splitlines()
    assert first.startswith(f"push-sidecar wait: for the sidecar at {health.address} to be ready")
    assert first.endswith(", at most 60 s")
    assert last.startswith("push-sidecar wait: ready after ")
    assert output.out == ""


async def test_it_waits_until_a_sidecar_that_is_up_is_ready(health: HealthServer) -> None:
    waiting = asyncio.create_task(wait("--target", health.address, "--timeout", "30"))
    done, _ = await asyncio.wait({waiting}, timeout=0.5)
    assert not done
    health.set_ready(is_ready=True)
    assert await waiting == 0


async def test_it_waits_for_a_sidecar_that_is_not_there_yet() -> None:
    address = f"127.0.0.1:{free_port()}"
    waiting = asyncio.create_task(wait("--target", address, "--timeout", "30"))
    done, _ = await asyncio.wait({waiting}, timeout=0.5)
    assert not done
    health = HealthServer(HealthConfig(listen=address), [])
    await health.start()
    health.set_ready(is_ready=True)
    assert await waiting == 0
    await health.stop()


async def test_alive_is_not_ready_and_can_be_asked_for(health: HealthServer) -> None:
    assert await wait("--target", health.address, "--service", LIVENESS) == 0


async def test_a_sidecar_that_does_not_become_ready_ends_it_with_1(
    health: HealthServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await wait("--target", health.address, "--timeout", "0.3") == 1
    assert "not ready after 0.3 s: it is up and takes no calls" in capsys.readouterr().err


@pytest.mark.parametrize("listens", [False, True], ids=["refused", "silent"])
async def test_nobody_who_answers_ends_it_with_1(*, listens: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if listens:
            listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert await wait("--target", address, "--timeout", "1.5") == 1
    assert "not ready after 1.5 s: nobody answers there" in capsys.readouterr().err


async def test_a_name_that_the_sidecar_does_not_have_ends_it_at_once(
    health: HealthServer, capsys: pytest.CaptureFixture[str]
) -> None:
    health.set_ready(is_ready=True)
    assert await wait("--target", health.address, "--service", "nobody") == 2
    assert "the sidecar has no service 'nobody'" in capsys.readouterr().err


async def test_the_port_for_callers_ends_it_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    server = grpc.aio.server()
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    assert await wait("--target", address) == 2
    assert "answers no health checks" in capsys.readouterr().err
    await server.stop(None)


@pytest.mark.parametrize(
    "arguments", [("--target", "here"), ("--target", "unix:/run/push.sock"), ("--timeout", "0"), ("--timeout", "nan")]
)
def test_wrong_use_ends_it_with_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["wait", *arguments])
    assert stop.value.code == 2
    assert "must be" in capsys.readouterr().err


async def test_a_proxy_of_the_network_is_not_asked(
    health: HealthServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    health.set_ready(is_ready=True)
    for name in ("http_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert await wait("--target", health.address, "--timeout", "5") == 0


def test_interrupt_ends_it_with_1_and_without_a_traceback() -> None:
    command = [sys.executable, "-m", "sidecar", "wait", "--target", f"127.0.0.1:{free_port()}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(2)
        rest = process.stderr.read()
        assert process.wait() == 1
    assert first.startswith("push-sidecar wait: for")
    assert rest == "push-sidecar wait: interrupted\n"
