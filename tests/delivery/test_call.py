"""The early headers: asked for until they are sent, and never taken for sent when they were not."""

import asyncio

import pytest

from sidecar.errors import Sent
from tests.support.fake_vendor import Caller


async def test_early_headers_are_sent_once_a_call() -> None:
    caller = Caller()
    call = caller.call()
    assert caller.commits == 0
    await call.before_first_byte()
    await call.before_first_byte()
    assert caller.commits == 1


async def test_failed_early_headers_fail_every_attempt() -> None:
    async def fail() -> None:
        raise ConnectionError

    caller = Caller(fail)
    call = caller.call()
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await call.before_first_byte()
    assert caller.commits == 2


async def test_early_headers_whose_wait_was_cut_short_are_asked_for_again() -> None:
    is_stuck = True

    async def stick_once() -> None:
        nonlocal is_stuck
        if is_stuck:
            is_stuck = False
            await asyncio.Event().wait()

    caller = Caller(stick_once)
    call = caller.call()
    first = asyncio.create_task(call.before_first_byte())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    await call.before_first_byte()
    assert caller.commits == 2


async def test_call_starts_unsent() -> None:
    assert Caller().call().sent is Sent.NO
