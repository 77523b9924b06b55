"""Keep-alive: which connection a push goes on."""

import asyncio
import random
import ssl

import pytest

from tests.support.certificates import Authority
from tests.support.raw_client import RawClient
from tests.support.raw_server import OK, RawConnection, serve_forever, serving, turns
from tests.support.redis_server import free_port
from tests.support.waiting import until

CONNECT = ("connect.start", "tls.start", "tls.end", "connect.end")


async def test_connection_is_kept_for_the_next_push(tls: ssl.SSLContext, authority: Authority) -> None:
    async with serving(serve_forever, tls) as server, RawClient(server.port, authority.ca_file) as client:
        results = [await client.push() for _ in range(3)]
        assert [result.is_reused for result in results] == [False, True, True]
        assert results[0].events == (*CONNECT, "response.headers.received")
        assert results[1].events == ("response.headers.received",)
        assert len(server.connections) == 1


async def test_connections_are_counted_and_the_waits_for_them_told(tls: ssl.SSLContext, authority: Authority) -> None:
    is_answered = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await is_answered.wait()
        await connection.answer(OK)
        await serve_forever(connection)

    async with (
        serving(script, tls) as server,
        RawClient(server.port, authority.ca_file, max_connections=1) as client,
    ):
        pool = client.pool
        assert (pool.active, pool.idle) == (0, 0)
        first, second = client.start(), client.start()
        await until(lambda: len(server.requests) == 1)
        assert (pool.active, pool.idle) == (1, 0)
        assert (len(client.connects_s), client.waits_s) == (1, [])
        is_answered.set()
        assert [result.is_reused for result in await asyncio.gather(first, second)] == [False, True]
        assert (pool.active, pool.idle) == (0, 1)
        assert (len(client.connects_s), len(client.waits_s)) == (1, 1)
        assert min(client.connects_s + client.waits_s) > 0


async def test_connection_that_fails_is_told_of_as_none(authority: Authority) -> None:
    async with RawClient(free_port(), authority.ca_file) as client:
        assert (await client.push()).cause == "connect"
        assert client.connects_s == []
        assert (client.pool.active, client.pool.idle) == (0, 0)


async def test_idle_connection_is_closed_after_its_time(tls: ssl.SSLContext, authority: Authority) -> None:
    closed = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.serve_one()
        assert await connection.read_eof() == b""
        closed.set()

    async with (
        serving(script, tls) as server,
        RawClient(server.port, authority.ca_file, keepalive_idle_s=0.1) as client,
    ):
        assert (await client.push()).reply is not None
        await closed.wait()
        result = await client.push()
        assert (result.cause, result.is_reused) == (None, False)
        assert len(server.connections) == 2


@pytest.mark.parametrize("is_seen_by_the_loop", [False, True], ids=["in-the-kernel", "seen-by-the-loop"])
async def test_push_after_the_end_of_an_idle_connection_goes_on_a_new_one(
    *, is_seen_by_the_loop: bool, tls: ssl.SSLContext, authority: Authority
) -> None:
    async with serving(serve_forever, tls) as server, RawClient(server.port, authority.ca_file) as client:
        for index in range(20):
            assert (await client.push()).reply is not None
            server.connections[index].send_fin_now()
            if is_seen_by_the_loop:
                await turns()
            result = await client.push()  # not in a task: the connection is picked before the loop can turn
            assert (result.cause, result.is_reused, result.was_asked) == (None, False, True)
            assert result.events == (*CONNECT, "response.headers.received")
            assert len(server.connections) == index + 2
            assert len(server.requests) == 2 * (index + 1)


async def test_push_after_a_close_notify_goes_on_a_new_connection(tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.serve_one()
        connection.close()

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        for _ in range(20):
            # At once: the answer is there, its end may be anywhere between the peer and our loop.
            result = await client.push()
            assert (result.cause, result.is_reused) == (None, False)


async def test_many_ended_connections_are_all_passed_over(tls: ssl.SSLContext, authority: Authority) -> None:
    all_in = asyncio.Barrier(5)

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        if connection.index < 5:
            await all_in.wait()
        await connection.answer()
        await serve_forever(connection)

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        await asyncio.gather(*(client.start() for _ in range(5)))
        assert len(server.connections) == 5
        for connection in server.connections:
            connection.send_fin_now()
        result = await client.push()
        assert (result.cause, result.is_reused) == (None, False)
        assert len(server.connections) == 6


@pytest.mark.parametrize("turn_count", [0, 1, 2, 3, 20])
@pytest.mark.parametrize(
    "stray",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray", id="second-answer"),
        pytest.param(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", id="408"),
        pytest.param(b"garbage", id="garbage"),
    ],
)
async def test_answer_that_nobody_asked_for_is_never_taken_for_the_next_pushs(
    stray: bytes, turn_count: int, tls: ssl.SSLContext, authority: Authority
) -> None:
    answered, go, sent = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def script(connection: RawConnection) -> None:
        if connection.index == 0:
            await connection.serve_one()
            answered.set()
            await go.wait()
            await connection.send(stray)
            sent.set()
        await connection.read_request()
        await connection.answer(b"own")
        await connection.read_eof()

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        first = await client.push()
        assert first.reply is not None
        assert first.reply.body == OK
        go.set()
        await sent.wait()
        await turns(turn_count)
        second = await client.push()
        assert second.reply is not None
        assert second.reply.body == b"own"
        assert not second.is_reused


async def test_two_answers_at_once_end_the_connection(tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send(2 * b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nown")
        await connection.read_eof()

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        assert not (await client.push()).is_reused
        assert not (await client.push()).is_reused
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}", id="connection-close"),
        pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", id="http-1.0"),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", id="switching-protocols"
        ),
    ],
)
async def test_connection_that_cannot_be_kept_is_not_kept(
    answer: bytes, tls: ssl.SSLContext, authority: Authority
) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send(answer)
        await connection.read_eof()

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        assert (await client.push()).reply is not None
        assert not (await client.push()).is_reused
        assert len(server.connections) == 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", id="304"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: 1\r\n\r\n",
            id="chunked-with-trailers",
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}", id="http-1.0"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", id="after-an-interim-answer"
        ),
        pytest.param(b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\nno", id="500"),
    ],
)
async def test_connection_that_can_be_kept_is_kept(answer: bytes, tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        while True:
            await connection.read_request()
            await connection.send(answer)

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        results = [await client.push() for _ in range(3)]
        assert [(result.cause, result.is_reused) for result in results] == [(None, False), (None, True), (None, True)]
        assert len(server.requests) == 3


@pytest.mark.parametrize("is_waited_for", [False, True], ids=["nobody-waits", "one-waits"])
async def test_connection_of_a_caller_that_leaves_before_the_write_is_given_back(
    *, is_waited_for: bool, tls: ssl.SSLContext, authority: Authority
) -> None:
    reached = asyncio.Event()

    async def hook() -> None:
        reached.set()
        await asyncio.Event().wait()

    async with (
        serving(serve_forever, tls) as server,
        RawClient(server.port, authority.ca_file, max_connections=1) as client,
    ):
        assert (await client.push()).cause is None
        push = client.start(hook)
        await reached.wait()
        waiting = client.start() if is_waited_for else None
        await turns()
        push.cancel()
        await asyncio.wait({push})
        assert push.cancelled()
        if waiting is not None:
            result = await waiting
            assert (result.cause, result.is_reused) == (None, True), "it went to the one that waited"
        assert (client.pool.active, client.pool.idle) == (0, 1)
        assert len(server.connections) == 1


async def test_connection_that_ends_in_the_hook_frees_its_place(tls: ssl.SSLContext, authority: Authority) -> None:
    async def hook() -> None:
        server.connections[0].reset()
        await until(lambda: client.pool.active == 0)

    async with (
        serving(serve_forever, tls) as server,
        RawClient(server.port, authority.ca_file, max_connections=1) as client,
    ):
        assert (await client.push()).cause is None
        result = await client.push(hook)
        assert (result.cause, result.was_asked, result.is_reused) == ("idle_connection_closed", False, True)
        assert (await client.push()).cause is None
        assert (client.pool.active, client.pool.idle) == (0, 1)


async def test_no_more_connections_than_configured(tls: ssl.SSLContext, authority: Authority) -> None:
    async with serving(serve_forever, tls) as server, RawClient(server.port, authority.ca_file) as client:
        results = await asyncio.gather(*(client.start() for _ in range(50)))
        assert {result.cause for result in results} == {None}
        assert len(server.connections) <= 5
        assert any(event == "pool.wait.end" for result in results for event in result.events)


async def test_wait_for_a_place_in_the_pool_is_not_sent_and_has_the_limit_of_a_connect(
    tls: ssl.SSLContext, authority: Authority
) -> None:
    reached = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        reached.set()
        await connection.read_eof()

    async with (
        serving(script, tls) as server,
        RawClient(server.port, authority.ca_file, max_connections=1, connect_timeout_s=0.3) as client,
    ):
        holder = client.start()
        await reached.wait()
        result = await client.push()
        assert (result.cause, result.was_asked) == ("connect_timeout", False)
        holder.cancel()
        await asyncio.wait({holder})
        assert len(server.requests) == 1


async def test_pool_is_whole_after_many_cancelled_callers(tls: ssl.SSLContext, authority: Authority) -> None:
    rng = random.Random(20261122)  # noqa: S311  # a repeatable choice

    async def script(connection: RawConnection) -> None:
        while True:
            await connection.read_request()
            await turns(rng.randrange(8))
            await connection.answer()

    async def cancelled_push(client: RawClient) -> bool:
        task = client.start()
        await turns(rng.randrange(400))
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    async with serving(script, tls) as server:
        async with RawClient(server.port, authority.ca_file) as client:
            cancelled = await asyncio.gather(*(cancelled_push(client) for _ in range(200)))
            assert 20 < sum(cancelled) < 200, "some ended by themselves, many did not"
            assert len(server.requests) > 20, "some were cancelled while they were sent"
            after = await asyncio.gather(*(client.start() for _ in range(20)))
            assert [result.cause for result in after] == [None] * 20
            await server.wait_open(at_most=5)
        await server.wait_all_closed()
