"""Who waits until no call is being served."""

import asyncio

from sidecar.server.activity import Activity


async def test_nobody_is_waited_for_where_there_was_no_call() -> None:
    async with asyncio.timeout(5):
        await Activity().wait_until_idle()


async def test_all_who_wait_go_on_when_the_last_call_has_ended() -> None:
    activity = Activity()
    activity.begin()
    activity.begin()
    waits = [asyncio.create_task(activity.wait_until_idle()) for _ in range(2)]
    await asyncio.sleep(0)
    activity.end()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)
    activity.end()
    async with asyncio.timeout(5):
        await asyncio.gather(*waits)


async def test_call_after_an_idle_time_is_waited_for_too() -> None:
    activity = Activity()
    activity.begin()
    activity.end()
    activity.begin()
    wait = asyncio.create_task(activity.wait_until_idle())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not wait.done()
    activity.end()
    async with asyncio.timeout(5):
        await wait
