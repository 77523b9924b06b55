"""httpx over the pool, and any httpx transport in the pool's place: both tell by the same object what was written."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from sidecar.transport.adapter import HttpxClient, PoolTransport
from sidecar.transport.client import Limits
from sidecar.transport.exchange import Exchange, TransportFailure
from tests.support.certificates import Authority
from tests.support.raw_client import RawClient
from tests.support.raw_server import OK, RawConnection, RawServer, hold, serve_forever, serving, turns
from tests.support.redis_server import free_port
from tests.support.waiting import until

LIMITS = Limits(connect_timeout_s=30, read_timeout_s=30, total_timeout_s=60)


@asynccontextmanager
async def client_of(server: RawServer, authority: Authority, **limits: float) -> AsyncIterator[httpx.AsyncClient]:
    async with RawClient(server.port, authority.ca_file, **limits) as raw:  # type: ignore[arg-type]
        client = httpx.AsyncClient(transport=PoolTransport(raw.pool), base_url=f"https://127.0.0.1:{server.port}/v1/")
        client.headers["user-agent"] = "test"
        async with client:
            yield client


async def test_requests_of_httpx_go_over_the_pool(tls: ssl.SSLContext, authority: Authority) -> None:
    async with serving(serve_forever, tls) as server, client_of(server, authority) as client:
        got = await client.get("tokens", params={"a": "b c"}, headers={"x-one": "1"})
        assert (got.status_code, got.json(), got.headers["content-length"]) == (200, {"ret_code": 0}, "14")
        posted = await client.post("auth", json={"sign": "x"})
        assert posted.content == OK
        uploaded = await client.put("file", content=pieces())
        assert uploaded.status_code == 200
        assert len(server.connections) == 1
    first, second, third = server.requests
    assert first.line == "GET /v1/tokens?a=b+c HTTP/1.1"
    assert ("host", f"127.0.0.1:{server.port}") in first.headers
    assert ("x-one", "1") in first.headers
    assert first.body == b""
    assert (second.line, second.body) == ("POST /v1/auth HTTP/1.1", b'{"sign":"x"}')
    assert ("content-type", "application/json") in second.headers
    assert (third.line, third.body) == ("PUT /v1/file HTTP/1.1", b"one two")
    assert ("content-length", "7") in third.headers
    assert "transfer-encoding" not in dict(third.headers)


async def pieces() -> AsyncIterator[bytes]:
    yield b"one "
    yield b"two"


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            200,
            b"{}",
            id="chunked",
        ),
        pytest.param(b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", 302, b"", id="redirect"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", id="204"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end", id="until-the-end"),
    ],
)
async def test_answers_of_all_forms(
    answer: bytes, status: int, body: bytes, tls: ssl.SSLContext, authority: Authority
) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send(answer)

    async with serving(script, tls) as server, client_of(server, authority) as client:
        got = await client.get("x")
        assert (got.status_code, got.content) == (status, body)


async def test_no_connection_is_told_as_httpx_does_and_was_not_written(authority: Authority) -> None:
    exchange = Exchange()
    async with RawClient(free_port(), authority.ca_file) as raw:
        async with httpx.AsyncClient(transport=PoolTransport(raw.pool)) as client:
            with pytest.raises(httpx.ConnectError):
                await client.post("https://vendor.example/", extensions={"exchange": exchange})
        assert (raw.pool.active, raw.pool.idle) == (0, 0)
    assert (exchange.is_connected, exchange.is_written, exchange.may_have_left) == (False, False, False)


async def test_limit_of_a_connect(authority: Authority) -> None:
    exchange = Exchange()
    async with serving(hold) as server, client_of(server, authority) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get("x", timeout=httpx.Timeout(30, connect=0.2), extensions={"exchange": exchange})
        await server.wait_all_closed()
    assert not exchange.is_written


async def test_limit_of_a_read(tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.read_eof()

    exchange = Exchange()
    async with serving(script, tls) as server, client_of(server, authority) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("x", timeout=httpx.Timeout(30, read=0.2), extensions={"exchange": exchange})
        await server.wait_all_closed()
    assert (exchange.is_written, exchange.may_have_left, exchange.cause) == (True, True, "read_timeout")


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        pytest.param(b"garbage", "response invalid", id="garbage"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", "response cut", id="half-a-body"),
        pytest.param(b"", "connection lost", id="nothing"),
    ],
)
async def test_no_usable_answer(answer: bytes, cause: str, tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send(answer)

    exchange = Exchange()
    async with serving(script, tls) as server, client_of(server, authority) as client:
        with pytest.raises(httpx.RemoteProtocolError, match=cause):
            await client.get("x", extensions={"exchange": exchange})
    assert exchange.is_written


async def test_caller_that_leaves_ends_the_connection(tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.read_eof()

    async with serving(script, tls) as server, client_of(server, authority) as client:
        task = asyncio.create_task(client.get("x"))
        await until(lambda: len(server.requests) == 1)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        await server.wait_all_closed()


async def test_caller_that_leaves_in_the_turn_of_its_answer_leaves_the_connection_to_the_next(
    tls: ssl.SSLContext, authority: Authority
) -> None:
    """The connection has been given to another exchange by then, which is none of the caller's."""
    task: asyncio.Task[httpx.Response]

    def leave_at_the_end(size: int) -> None:
        if size:
            asyncio.get_running_loop().call_soon(task.cancel)

    async with (
        serving(serve_forever, tls) as server,
        RawClient(server.port, authority.ca_file, max_connections=1) as raw,
    ):
        transport = PoolTransport(raw.pool)
        first = Exchange(leave_at_the_end)
        request = httpx.Request("GET", "https://127.0.0.1/", extensions={"exchange": first})
        task = asyncio.create_task(transport.handle_async_request(request))
        await turns(2)
        result = await raw.push()
        await asyncio.wait({task})
        assert task.cancelled()
        assert first.reply is not None
        assert (result.cause, result.is_reused) == (None, True)
        assert (len(server.connections), raw.pool.idle) == (1, 1)


async def test_closed_transport_opens_no_connection(tls: ssl.SSLContext, authority: Authority) -> None:
    async with serving(serve_forever, tls) as server, RawClient(server.port, authority.ca_file) as raw:
        transport = PoolTransport(raw.pool)
        async with httpx.AsyncClient(transport=transport) as client:
            assert (await client.get("https://127.0.0.1/")).status_code == 200
        await server.wait_all_closed()
        with pytest.raises(httpx.ConnectError):
            await transport.handle_async_request(httpx.Request("GET", "https://127.0.0.1/"))
        assert len(server.connections) == 1


class Transport(httpx.AsyncBaseTransport):
    """One that does what a function does; httpx' own for that asks for the body first."""

    def __init__(self, act: Callable[[httpx.Request], Awaitable[httpx.Response]]) -> None:
        self._act = act

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._act(request)


async def exchange_over(transport: httpx.AsyncBaseTransport, *, silence_s: float = 30.0) -> Exchange:
    """Make one exchange through an httpx transport in the pool's place."""
    client = HttpxClient(transport, "https://vendor.example/push", LIMITS)
    loop = asyncio.get_running_loop()
    exchange = Exchange()
    assert not client.take(exchange)
    await client.connect(exchange, {"x-one": "1"}, 4, within_s=10)
    assert (exchange.is_connected, exchange.is_written, client.ended_by(exchange)) == (True, False, "")
    client.send(exchange, {"x-one": "1"}, b"body")
    until_s = loop.time() + 10
    assert await exchange.wait(loop, due_at=until_s, silence_s=silence_s, total_at=until_s)
    await client.aclose()
    return exchange


async def test_any_transport_of_httpx_may_stand_in_the_pools_place() -> None:
    requests: list[httpx.Request] = []

    async def vendor(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        assert await request.aread() == b"body"
        return httpx.Response(200, headers=[("X-A", "1"), ("X-A", "2")], content=b"{}")

    exchange = await exchange_over(httpx.MockTransport(vendor))
    assert exchange.reply is not None
    assert (exchange.reply.status, exchange.reply.body) == (200, b"{}")
    assert exchange.reply.headers["x-a"] == "1, 2"
    assert exchange.reply.elapsed_s > 0
    assert exchange.head_at_ns >= exchange.written_at_ns > 0
    assert [str(each.url) for each in requests] == ["https://vendor.example/push"]
    assert (requests[0].headers["x-one"], requests[0].headers["content-length"]) == ("1", "4")


async def test_pool_may_stand_in_its_own_place(tls: ssl.SSLContext, authority: Authority) -> None:
    async with serving(serve_forever, tls) as server, RawClient(server.port, authority.ca_file) as raw:
        exchange = await exchange_over(PoolTransport(raw.pool))
        assert exchange.reply is not None
        assert exchange.reply.body == OK
    assert server.requests[0].body == b"body"


async def test_answer_that_drips_is_no_silence() -> None:
    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for _ in range(6):
                await asyncio.sleep(0.1)
                yield b"x"

    async def vendor(request: httpx.Request) -> httpx.Response:
        await request.aread()
        return httpx.Response(200, stream=Drip())

    exchange = await exchange_over(httpx.MockTransport(vendor), silence_s=0.4)
    assert exchange.reply is not None
    assert exchange.reply.body == b"x" * 6


class Closing(httpx.ByteStream):
    """An answer that notes when it is closed."""

    was_closed = False

    async def aclose(self) -> None:
        self.was_closed = True


async def test_answer_before_the_body_was_asked_for_is_nobodys_and_is_closed() -> None:
    answer = Closing(b"{}")

    async def vendor(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=answer)

    client = HttpxClient(Transport(vendor), "https://vendor.example/push", LIMITS)
    exchange = Exchange()
    with pytest.raises(TransportFailure) as failure:
        await client.connect(exchange, {}, 4, within_s=10)
    await turns()
    assert (failure.value.cause, exchange.is_written, exchange.reply) == ("unsolicited_answer", False, None)
    assert answer.was_closed


async def test_failure_after_the_body_was_asked_for_ends_what_was_not_written() -> None:
    go = asyncio.Event()

    async def vendor(request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        asking = asyncio.ensure_future(anext(aiter(request.stream)))
        await go.wait()
        asking.cancel()
        raise httpx.ConnectTimeout("what it is called says nothing")

    client = HttpxClient(Transport(vendor), "https://vendor.example/push", LIMITS)
    exchange = Exchange()
    await client.connect(exchange, {}, 4, within_s=10)
    assert client.ended_by(exchange) == ""
    go.set()
    await turns()
    assert client.ended_by(exchange) == "connection_lost"
    assert not exchange.is_written
    client.give_back(exchange)


async def test_body_that_was_given_back_is_not_given_out() -> None:
    bodies: list[bytes] = []

    async def vendor(request: httpx.Request) -> httpx.Response:
        bodies.append(await request.aread())
        return httpx.Response(200)

    client = HttpxClient(Transport(vendor), "https://vendor.example/push", LIMITS)
    exchange = Exchange()
    await client.connect(exchange, {}, 4, within_s=10)
    client.give_back(exchange)
    await turns()
    assert bodies == []
    assert not exchange.is_written
