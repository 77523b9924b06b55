"""The stream that proves whether the body may have left."""

import asyncio

import pytest

from sidecar.transport.body import BodyStream, RefusedError, RevokedError


async def allow() -> None:
    pass


async def read(stream: BodyStream) -> list[bytes]:
    return [chunk async for chunk in stream]


async def test_body_is_given_whole_and_noted() -> None:
    stream = BodyStream(b"body", allow)
    assert await read(stream) == [b"body"]
    assert stream.was_asked
    assert stream.asked_at > 0
    assert stream.asked_at_ns > 0


async def test_second_pass_finds_nothing_and_the_hook_runs_once() -> None:
    calls: list[bool] = []

    async def hook() -> None:
        calls.append(stream.was_asked)

    stream = BodyStream(b"body", hook)
    assert await read(stream) == [b"body"]
    assert await read(stream) == []
    assert calls == [False]


async def test_empty_body_counts_as_asked() -> None:
    stream = BodyStream(b"", allow)
    assert await read(stream) == [b""]
    assert stream.was_asked


async def test_revoked_before_it_is_asked_for_gives_nothing() -> None:
    async def hook() -> None:
        pytest.fail("nothing is to be done for a body that will not leave")

    stream = BodyStream(b"body", hook)
    assert stream.revoke()
    with pytest.raises(RevokedError):
        await read(stream)
    assert not stream.was_asked
    assert stream.revoke(), "still not sent"
    assert await read(stream) == [], "not at the second attempt either"
    assert not stream.was_asked


async def test_revoked_while_the_hook_runs_gives_nothing() -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    async def hook() -> None:
        entered.set()
        await go.wait()

    stream = BodyStream(b"body", hook)
    reading = asyncio.create_task(read(stream))
    await entered.wait()
    assert not stream.was_asked
    assert stream.revoke()
    go.set()
    with pytest.raises(RevokedError):
        await reading
    assert not stream.was_asked


async def test_revoked_after_it_was_given_is_too_late() -> None:
    stream = BodyStream(b"body", allow)
    await read(stream)
    assert not stream.revoke()
    assert stream.was_asked


async def test_failing_hook_keeps_the_body_back_for_good() -> None:
    async def hook() -> None:
        raise RuntimeError("the caller is gone")

    stream = BodyStream(b"body", hook)
    with pytest.raises(RefusedError):
        await read(stream)
    assert not stream.was_asked
    assert await read(stream) == []
    refusal = stream.take_refusal()
    assert str(refusal) == "the caller is gone"
    assert refusal.__traceback__ is None, "its frames hold the stream"
    assert stream.refusal is None


async def test_hook_cut_short_keeps_the_body_back_for_good() -> None:
    entered = asyncio.Event()

    async def hook() -> None:
        entered.set()
        await asyncio.Event().wait()

    stream = BodyStream(b"body", hook)
    reading = asyncio.create_task(read(stream))
    await entered.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not stream.was_asked
    assert await read(stream) == []


async def test_large_body_is_given_in_pieces_after_one_hook() -> None:
    calls: list[bool] = []

    async def hook() -> None:
        calls.append(True)

    body = b"a" * 65_536 + b"b" * 65_536 + b"c"
    stream = BodyStream(body, hook)
    assert await read(stream) == [b"a" * 65_536, b"b" * 65_536, b"c"]
    assert await read(stream) == []
    assert calls == [True]


async def test_second_pass_gives_nothing_of_a_body_that_was_begun() -> None:
    stream = BodyStream(b"a" * 200_000, allow)
    assert await anext(aiter(stream)) == b"a" * 65_536
    assert await read(stream) == []
    assert stream.was_asked


async def test_revoked_large_body_gives_no_piece() -> None:
    stream = BodyStream(b"a" * 200_000, allow)
    assert stream.revoke()
    with pytest.raises(RevokedError):
        await read(stream)
    assert await read(stream) == []
