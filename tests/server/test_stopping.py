"""Steps of a stop have their time and no more."""

import asyncio
import gc

import pytest

from sidecar.server.stopping import stop_within


async def test_step_that_ends_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    done = []

    async def step() -> None:
        await asyncio.sleep(0)
        done.append(True)

    await stop_within(10, "health.listen", step())
    assert done == [True]
    assert caplog.records == []


async def test_step_that_does_not_end_is_left_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    left = asyncio.Event()

    async def step() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    await stop_within(0, "health.listen", step())
    (line,) = caplog.records
    assert (line.message, line.key) == ("stop goes on without waiting for a listener", "health.listen")
    await left.wait()


async def test_step_that_fails_says_so() -> None:
    async def step() -> None:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await stop_within(10, "health.listen", step())


async def test_step_that_fails_after_it_was_left_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    left = asyncio.Event()

    async def step() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
            raise OSError("broken")

    await stop_within(0, "health.listen", step())
    await left.wait()
    await asyncio.sleep(0)
    gc.collect()
    assert [record.message for record in caplog.records] == [
        "stop goes on without waiting for a listener", "a step of the stop failed",
    ]  # fmt: skip
    assert (caplog.records[1].step, caplog.records[1].error) == ("health.listen", "OSError")
