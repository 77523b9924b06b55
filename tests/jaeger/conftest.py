"""One Jaeger for all, the callers of each language built once, and a sidecar's process for each test."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.simulator import Simulator
from tests.jaeger.callers import BUILDERS, Caller
from tests.support.jaeger import Jaeger, JaegerSpan
from tests.support.jaeger import jaeger as run_jaeger
from tests.support.process import serve_process
from tests.support.running import write_config

Serve = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with run_jaeger(tmp_path_factory.mktemp("jaeger")) as running:
        yield running


@pytest.fixture(scope="session")
def build_caller(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Caller]:
    """Build the caller of a language, once."""
    built: dict[str, Caller] = {}

    def build(language: str) -> Caller:
        if language not in built:
            built[language] = BUILDERS[language](tmp_path_factory.mktemp(language))
        return built[language]

    return build


@pytest.fixture
def serve(jaeger: Jaeger, vendor: Simulator, tmp_path: Path) -> Serve:
    """Serve in a process that sends its spans to Jaeger; `otel` has further variables, `app` keys of its app."""

    @asynccontextmanager
    async def run(otel: dict[str, str] | None = None, **app: Any) -> AsyncIterator[str]:
        config = write_config(tmp_path, vendor, app={"base_url": f"https://localhost:{vendor.port}", **app})
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_grpc,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            **(otel or {}),
        }
        async with serve_process(config, environment) as process:
            yield (await process.wait_for("serving"))["grpc"]
            process.send_signal(signal.SIGTERM)  # it sends the spans that it still has
            assert await process.wait() == 0

    return run


class Pusher:
    """Pushes by the caller of a language, and fetches what Jaeger has of it."""

    def __init__(self, caller: Caller, jaeger: Jaeger) -> None:
        self._caller = caller
        self._jaeger = jaeger

    async def push(self, target: str, token: str = "token1", *, is_refused: bool = False) -> str:  # noqa: S107  # a device
        return await asyncio.to_thread(self._caller.push, self._jaeger, target, token, is_refused=is_refused)

    async def trace(self, trace_id: str, spans: int) -> list[JaegerSpan]:
        """Wait until that many spans are there, and return them."""
        return await asyncio.to_thread(self._jaeger.wait_for_trace, trace_id, lambda found: len(found) >= spans)


@pytest.fixture
def pusher(build_caller: Callable[[str], Caller], jaeger: Jaeger, request: pytest.FixtureRequest) -> Pusher:
    """Push by the caller that the test asks for by a parameter, else by that of Python."""
    return Pusher(build_caller(getattr(request, "param", "python")), jaeger)
