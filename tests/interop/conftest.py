"""A vendor and a sidecar for all cases, and the programs of each language, built once."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sidecar.simulator import Quota, Simulator
from tests.interop.languages import LANGUAGES, Programs, build
from tests.support.running import FREE_PORT, write_config

NOBODY_LISTENS = "https://127.0.0.1:9"


@pytest.fixture(scope="session")
def build_programs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Programs]:
    """Build the programs of a language, once."""
    built: dict[str, Programs] = {}

    def build_once(language: str) -> Programs:
        if language not in built:
            built[language] = build(language, tmp_path_factory.mktemp(language))
        return built[language]

    return build_once


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    """Name the language whose caller is tested."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def programs(language: str, build_programs: Callable[[str], Programs]) -> Programs:
    """Give the programs of the language."""
    return build_programs(language)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def simulator() -> AsyncIterator[Simulator]:
    """Give a simulated vendor without a quota."""
    async with Simulator(quota=Quota(limit=None)) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory, simulator: Simulator) -> Callable[..., Path]:
    """Write a configuration with the apps of the cases; takes the `server` section's keys."""

    def write_one(**server: Any) -> Path:
        folder = tmp_path_factory.mktemp("sidecar")
        (folder / "ios-secret").write_text(simulator.ios.secret_key)
        ios = {
            "platform": "ios",
            "app_id": simulator.ios.app_id,
            "secret_key_file": str(folder / "ios-secret"),
        }
        return write_config(
            folder,
            simulator,
            app={"read_timeout_s": 60, "total_timeout_s": 90},
            apps={
                "narrow": {**ios, "max_in_flight": 1, "max_queue": 0, "read_timeout_s": 600, "total_timeout_s": 900},
                "nowhere": {**ios, "base_url": NOBODY_LISTENS},
            },
            server={"listen": FREE_PORT, "shutdown_grace_s": 1000, **server},
        )

    return write_one
