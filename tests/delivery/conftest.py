"""Every test of this folder leaves no task behind, and no failure that nobody looked at."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.raw_server import turns


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    unnoticed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unnoticed.append(context))
    before = asyncio.all_tasks()
    yield
    await turns()
    gc.collect(1)  # what the test made is young; a whole collection takes longer than the test
    await turns(1)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert unnoticed == []
    assert {task for task in left if not task.done()} == set()
