"""Fixtures for tests of the whole: a simulated vendor, and sidecars before it."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from sidecar.cli.event_engine import leave_event_engine

# Before gRPC is imported: sidecars in this process have the poller that `serve` takes.
leave_event_engine(os.environ)

from sidecar.config import Config  # noqa: E402
from sidecar.simulator import Simulator  # noqa: E402
from tests.support.running import Running, build_config, running_sidecar  # noqa: E402
from tests.support.side_by_side import GroupScheduling, put_groups_first  # noqa: E402

Configure = Callable[..., Config]
StartSidecar = Callable[..., Awaitable[Running]]

STATED = "stated"
# How long an example takes is the machine's affair.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture
def state(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Put a line into the summary of the run: what may differ from run to run, and is to be seen in each."""

    def put(line: str) -> None:
        request.node.user_properties.append((STATED, line))  # a worker's report takes them to the summary

    return put


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was stated."""
    reports = (report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind))
    lines = [line for report in reports for name, line in report.user_properties if name == STATED]
    if lines:
        terminalreporter.section("what may differ from run to run", sep="-")
        for line in lines:
            terminalreporter.write_line(line)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    """Schedule by groups when several processes run the tests."""
    return GroupScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the groups in such a process."""
    if hasattr(config, "workerinput"):
        put_groups_first(items)


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
