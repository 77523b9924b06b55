"""What is proved of a push, on raw sockets: a vendor that closes, resets or falls silent at every point of a call."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import pytest

from sidecar.errors import Sent, SidecarBug
from tests.support.certificates import Authority
from tests.support.raw_client import RawClient, Result
from tests.support.raw_server import OK, RawConnection, Script, hold, serve_forever, serving
from tests.support.waiting import until

Fault = Callable[[RawConnection], Awaitable[None]]


async def push_once(script: Script, tls: ssl.SSLContext | None, authority: Authority, **limits: float) -> Result:
    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file, **limits) as client:  # type: ignore[arg-type]
        return await client.push()


async def closes_at_once(connection: RawConnection) -> None:
    connection.close()


async def resets_at_once(connection: RawConnection) -> None:
    connection.reset()


async def closes_after_headers(connection: RawConnection) -> None:
    await connection.read_head()
    connection.close()


async def closes_after_request(connection: RawConnection) -> None:
    await connection.read_request()
    connection.close()


async def resets_after_request(connection: RawConnection) -> None:
    await connection.read_request()
    connection.reset()


async def falls_silent(connection: RawConnection) -> None:
    await connection.read_request()
    await connection.read_eof()


async def sends_half_an_answer(connection: RawConnection) -> None:
    await connection.read_request()
    await connection.send(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"ret_code":')
    connection.close()


async def resets_within_the_answer(connection: RawConnection) -> None:
    await connection.read_request()
    await connection.send(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"ret_code":')
    connection.reset()


async def sends_half_a_chunk(connection: RawConnection) -> None:
    await connection.read_request()
    await connection.send(b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40\r\n{"ret_code":')
    connection.close()


async def closes_within_the_headers(connection: RawConnection) -> None:
    await connection.read_request()
    await connection.send(b"HTTP/1.1 200 OK\r\ncontent-le")
    connection.close()


async def sends_garbage(connection: RawConnection) -> None:
    await connection.read_request()
    await connection.send(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
    await connection.read_eof()


async def drips(connection: RawConnection) -> None:
    await connection.read_request()
    await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        await connection.send(b"x")
        await asyncio.sleep(0.01)


async def sends_too_much(connection: RawConnection) -> None:
    await connection.read_request()
    await connection.answer(b"x" * 5_000_000)
    await connection.read_eof()


async def sends_without_end(connection: RawConnection) -> None:
    await connection.read_request()
    await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await connection.send(b"x" * 10_000)


async def sends_endless_headers(connection: RawConnection) -> None:
    await connection.read_request()
    await connection.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await connection.send(b"x-more: " + b"x" * 4000 + b"\r\n")


# fault, cause on a fresh connection, cause on a reused one; the body was asked for in all of them.
AFTER_ASKED = [
    pytest.param(closes_at_once, "connection_lost", None, id="close-after-handshake"),
    pytest.param(resets_at_once, "connection_lost", None, id="reset-after-handshake"),
    pytest.param(closes_after_headers, "connection_lost", "idle_connection_closed", id="close-after-headers"),
    pytest.param(closes_after_request, "connection_lost", "idle_connection_closed", id="close-after-request"),
    pytest.param(resets_after_request, "connection_lost", "idle_connection_closed", id="reset-after-request"),
    pytest.param(closes_within_the_headers, "connection_lost", "idle_connection_closed", id="close-in-answer-headers"),
    pytest.param(sends_half_an_answer, "response_cut", "response_cut", id="half-a-body"),
    pytest.param(resets_within_the_answer, "response_cut", "response_cut", id="reset-in-body"),
    pytest.param(sends_half_a_chunk, "response_cut", "response_cut", id="half-a-chunk"),
    pytest.param(sends_garbage, "response_invalid", "response_invalid", id="garbage"),
    pytest.param(sends_too_much, "response_too_large", "response_too_large", id="too-much"),
    pytest.param(sends_without_end, "response_too_large", "response_too_large", id="endless-body"),
    pytest.param(sends_endless_headers, "response_invalid", "response_invalid", id="endless-headers"),
]


@pytest.mark.parametrize(("fault", "cause", "_cause_when_reused"), AFTER_ASKED)
async def test_fault_after_the_body_was_asked_for_is_maybe_sent(
    fault: Fault, cause: str, _cause_when_reused: str | None, tls: ssl.SSLContext, authority: Authority
) -> None:
    result = await push_once(fault, tls, authority)
    assert (result.cause, result.was_asked, result.is_reused) == (cause, True, False)


@pytest.mark.parametrize(
    ("fault", "_cause_when_fresh", "cause"), [row for row in AFTER_ASKED if row.values[2] is not None]
)
async def test_fault_on_a_reused_connection_is_maybe_sent(
    fault: Fault, _cause_when_fresh: str, cause: str, tls: ssl.SSLContext, authority: Authority
) -> None:
    async def script(connection: RawConnection) -> None:
        if connection.index == 0:
            await connection.serve_one()
            await fault(connection)
        await serve_forever(connection)

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        assert (await client.push()).reply is not None
        result = await client.push()
        assert (result.cause, result.was_asked, result.is_reused) == (cause, True, True)
        # The broken connection is not used again, and nothing was sent twice.
        assert (await client.push()).reply is not None
        assert len(server.requests) <= 3
        assert len(server.connections) == 2


@pytest.mark.parametrize("is_reused", [False, True], ids=["fresh", "reused"])
async def test_silence_ends_at_the_read_limit(*, is_reused: bool, tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        if is_reused:
            await connection.serve_one()
        await falls_silent(connection)

    async with (
        serving(script, tls) as server,
        RawClient(server.port, authority.ca_file, read_timeout_s=0.2) as client,
    ):
        if is_reused:
            assert (await client.push()).reply is not None
        result = await client.push()
        assert (result.cause, result.was_asked, result.is_reused) == ("read_timeout", True, is_reused)
        await server.wait_all_closed()


async def test_slow_drip_ends_at_the_total_limit(tls: ssl.SSLContext, authority: Authority) -> None:
    result = await push_once(drips, tls, authority, total_timeout_s=0.5)
    assert (result.cause, result.was_asked) == ("total_timeout", True)


async def test_answer_before_the_hook_has_ended_is_not_believed(tls: ssl.SSLContext, authority: Authority) -> None:
    answered, asked = asyncio.Event(), asyncio.Event()

    async def speaks_first(connection: RawConnection) -> None:
        await asked.wait()
        await connection.answer(OK)
        answered.set()
        assert await connection.read_eof() == b"", "nothing was sent"

    async def hook() -> None:
        asked.set()
        await answered.wait()
        await until(lambda: client.pool.active == 0)

    async with serving(speaks_first, tls) as server, RawClient(server.port, authority.ca_file) as client:
        result = await client.push(hook)
        assert (result.reply, result.cause, result.was_asked) == (None, "unsolicited_answer", False)
        await server.wait_all_closed()


async def test_connection_lost_while_the_hook_runs_is_not_sent(tls: ssl.SSLContext, authority: Authority) -> None:
    asked = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        if connection.index == 0:
            await asked.wait()
        else:
            await serve_forever(connection)

    async def hook() -> None:
        asked.set()
        await until(lambda: client.pool.active == 0)

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        result = await client.push(hook)
        assert (result.cause, result.was_asked) == ("connection_lost", False)
        assert (await client.push()).reply is not None
        assert len(server.requests) == 1


async def test_connection_that_ends_in_the_kernel_while_the_hook_runs_gets_no_byte(
    tls: ssl.SSLContext, authority: Authority
) -> None:
    """The event loop has not seen it: what comes next to it would be taken for the push's own answer, or end it."""

    async def hook() -> None:
        server.connections[0].send_fin_now()

    async with serving(serve_forever, tls) as server, RawClient(server.port, authority.ca_file) as client:
        assert (await client.push()).reply is not None
        result = await client.push(hook)
        assert (result.cause is not None, result.was_asked, result.is_reused) == (True, False, True)
        assert len(server.requests) == 1


async def test_failing_hook_is_not_sent(tls: ssl.SSLContext, authority: Authority) -> None:
    seen: list[bytes] = []

    async def script(connection: RawConnection) -> None:
        seen.append(await connection.read_eof())

    async def hook() -> None:
        raise RuntimeError("the caller is gone")

    async with serving(script, tls) as server:
        async with RawClient(server.port, authority.ca_file) as client:
            result = await client.push(hook)
            assert (result.cause, result.was_asked) == ("early_headers", False)
            assert (client.pool.active, client.pool.idle) == (0, 1), "nothing was written: it is given back"
            await server.wait_open(at_least=1)
        await server.wait_all_closed()
    assert seen == [b""]


async def test_hook_runs_only_once_a_connection_is_there(tls: ssl.SSLContext, authority: Authority) -> None:
    order: list[str] = []

    async def script(connection: RawConnection) -> None:
        order.append("connected")
        await connection.read_request()
        order.append("body read")
        await connection.answer()

    async def hook() -> None:
        await asyncio.sleep(0)
        order.append("hook")

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        assert (await client.push(hook)).reply is not None
    assert order.index("hook") < order.index("body read")
    assert order.count("hook") == 1


async def test_held_place_is_given_back_after_every_fault(tls: ssl.SSLContext, authority: Authority) -> None:
    faults: list[Fault] = [row.values[0] for row in AFTER_ASKED]  # type: ignore[misc]

    async def script(connection: RawConnection) -> None:
        if connection.index < len(faults):
            await faults[connection.index](connection)
        await serve_forever(connection)

    async with (
        serving(script, tls) as server,
        RawClient(server.port, authority.ca_file, max_connections=1) as client,
    ):
        for _ in faults:
            assert (await client.push()).cause is not None
        assert (await client.push()).reply is not None


async def test_silent_listener_does_not_hold_the_close_up(tls: ssl.SSLContext, authority: Authority) -> None:
    async with serving(hold, tls) as server, RawClient(server.port, authority.ca_file) as client:
        push = client.start()
        await server.wait_open(at_least=1)
        push.cancel()
        with pytest.raises(asyncio.CancelledError):
            await push
        await server.wait_all_closed()


async def test_bug_of_ours_before_the_write_is_told_at_once_and_not_sent(
    tls: ssl.SSLContext, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(serve_forever, tls) as server, RawClient(server.port, authority.ca_file) as client:
        with pytest.raises(SidecarBug) as bug:
            await client.push(headers={"x-name": "\u4f60"})
        assert bug.value.sent is Sent.NO
        assert [record.getMessage() for record in caplog.records] == ["bug while writing a request"]
        assert (client.pool.active, client.pool.idle) == (0, 1)
        assert (await client.push()).cause is None
        assert len(server.requests) == len(server.connections) == 1
