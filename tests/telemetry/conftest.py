"""A collector, and sidecars that send their spans to it. Spans are there when the sidecar has stopped."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from sidecar.config import Config
from tests.support.collector import Collector, grpc_collector
from tests.support.running import Running, running_sidecar

Traced = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(autouse=True)
def no_otel_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def set_otel(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], dict[str, str]]:
    """Set variables where the SDK reads them, and return them for the sidecar."""

    def set_all(variables: dict[str, str]) -> dict[str, str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return variables

    return set_all


@pytest.fixture
def collector() -> Iterator[Collector]:
    with grpc_collector() as receiving:
        yield receiving


@pytest.fixture
def traced(
    configure: Callable[..., Config], collector: Collector, set_otel: Callable[[dict[str, str]], dict[str, str]]
) -> Traced:
    """Run a sidecar that sends to `collector`; `otel` has further variables, all else is for `configure`."""

    @asynccontextmanager
    async def run(otel: dict[str, str] | None = None, **changes: Any) -> AsyncIterator[Running]:
        environment = set_otel({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **(otel or {})})
        async with running_sidecar(configure(**changes), environment) as running:
            yield running

    return run
