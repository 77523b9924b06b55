"""Fixtures for tests of the provider."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from .world import Build, World, build_world


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    """Build worlds that are closed at the end of the test; takes what `build_world` takes."""
    worlds: list[World] = []

    def make(**how: Any) -> World:
        worlds.append(build_world(**how))
        return worlds[-1]

    yield make
    for world in worlds:
        world.provider.stop()
        await world.provider.aclose()
