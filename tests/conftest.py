"""Fixtures for tests of the whole: a simulated vendor, and sidecars before it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from sidecar.config import Config
from sidecar.simulator import Simulator
from tests.support.running import Running, build_config, running_sidecar

Configure = Callable[..., Config]
StartSidecar = Callable[..., Awaitable[Running]]

# How long an example takes is the machine's affair.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture
async def vendor() -> AsyncIterator[Simulator]:
    """Give a simulated vendor over real TLS."""
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
def configure(vendor: Simulator, tmp_path: Path) -> Configure:
    """Build a configuration of one Android app `shop`; `app={...}` and sections such as `server={...}` change it."""

    def build(**changes: Any) -> Config:
        return build_config(tmp_path, vendor, **changes)

    return build


@pytest.fixture
async def start_sidecar(configure: Configure) -> AsyncIterator[StartSidecar]:
    """Start sidecars that are stopped at the end of the test; takes what `configure` takes, and `environment`."""
    async with AsyncExitStack() as stack:

        async def start(environment: dict[str, str] | None = None, **changes: Any) -> Running:
            return await stack.enter_async_context(running_sidecar(configure(**changes), environment))

        yield start


@pytest.fixture
async def running(start_sidecar: StartSidecar) -> Running:
    """Give a sidecar with the default configuration."""
    return await start_sidecar()
