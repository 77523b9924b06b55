"""The bytes of a request, and what is made of an answer's."""

import asyncio
import gzip
import ssl
from collections.abc import Awaitable, Callable

import pytest

from tests.soak.resources import rss_bytes
from tests.support.certificates import Authority
from tests.support.raw_client import BODY, HEADERS, RawClient, Result
from tests.support.raw_server import (
    OK,
    RawConnection,
    RawRequest,
    RawServer,
    serve_forever,
    serving,
    turns,
)


async def answered_with(answer: bytes, tls: ssl.SSLContext, authority: Authority) -> tuple[Result, RawServer]:
    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send(answer)

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        return await client.push(), server


async def test_request_is_exactly_what_was_asked_for(tls: ssl.SSLContext, authority: Authority) -> None:
    async with serving(serve_forever, tls) as server, RawClient(server.port, authority.ca_file) as client:
        await client.push()
        await client.push()
        assert len(server.requests) == 2
        for request in server.requests:
            assert request.line == "POST /v3/push/app HTTP/1.1"
            assert sorted(request.headers) == sorted(
                {**HEADERS, "host": f"127.0.0.1:{server.port}", "content-length": str(len(BODY))}.items()
            )
            assert request.body == BODY


async def test_prefix_of_the_base_url_is_kept(tls: ssl.SSLContext, authority: Authority) -> None:
    path = "/gateway/a%2Fb/v3/push/app"
    async with serving(serve_forever, tls) as server, RawClient(server.port, authority.ca_file, path=path) as client:
        await client.push()
        assert server.requests[0].line == f"POST {path} HTTP/1.1"


@pytest.mark.parametrize("size", [0, 1, 4096, 70_000, 900_000])
async def test_body_of_any_size_goes_out_whole(size: int, tls: ssl.SSLContext, authority: Authority) -> None:
    body = bytes(index % 251 for index in range(size))
    async with serving(serve_forever, tls) as server, RawClient(server.port, authority.ca_file) as client:
        result = await client.push(body=body)
        assert result.reply is not None
        assert result.was_asked
        assert server.requests[0].body == body
        assert ("content-length", str(size)) in server.requests[0].headers
        assert "transfer-encoding" not in [name for name, _ in server.requests[0].headers]


async def test_no_cookie_is_kept(tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        while True:
            await connection.read_request()
            await connection.answer(headers="set-cookie: session=1; Path=/\r\n")

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file, host="localhost") as client:
        await client.push()
        await client.push()
        assert "cookie" not in [name for request in server.requests for name, _ in request.headers]


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
async def test_redirect_is_an_answer_and_not_followed(status: str, tls: ssl.SSLContext, authority: Authority) -> None:
    async with serving(serve_forever, tls) as other:

        async def script(connection: RawConnection) -> None:
            await connection.read_request()
            await connection.answer(b"moved", status=status, headers=f"location: https://127.0.0.1:{other.port}/\r\n")

        async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
            result = await client.push()
            assert result.reply is not None
            assert (result.reply.status, result.reply.body) == (int(status[:3]), b"moved")
            assert len(server.requests) == 1
        assert other.connections == []


async def test_compressed_answer_is_not_unpacked(tls: ssl.SSLContext, authority: Authority) -> None:
    packed = gzip.compress(b'{"ret_code":0}')
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n".encode()
    result, _ = await answered_with(head + packed, tls, authority)
    assert result.reply is not None
    assert result.reply.body == packed
    assert result.reply.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, b"", id="empty"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", id="no-content"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n<html>", 200, b"<html>", id="ends-with-the-connection"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            200,
            b"{}",
            id="chunked",
        ),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n"
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            200,
            b"{}",
            id="after-1xx",
        ),
        pytest.param(
            b"HTTP/1.1 500 \xe5\x86\x85\xe9\x83\xa8\r\nx-note: \xff\xfe\r\n"
            b"content-type: text/html; charset=gbk\r\ncontent-length: 2\r\n\r\n\xc4\xe3",
            500,
            b"\xc4\xe3",
            id="other-charset",
        ),
    ],
)
async def test_answer_is_read_as_bytes(
    answer: bytes, status: int, body: bytes, tls: ssl.SSLContext, authority: Authority
) -> None:
    result, _ = await answered_with(answer, tls, authority)
    assert result.reply is not None
    assert (result.reply.status, result.reply.body) == (status, body)


async def test_answers_headers_have_lower_case_names(tls: ssl.SSLContext, authority: Authority) -> None:
    answer = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 0\r\n\r\n"
    result, _ = await answered_with(answer, tls, authority)
    assert result.reply is not None
    assert dict(result.reply.headers) == {"retry-after": "7", "x-a": "1, 2", "content-length": "0"}


async def test_answer_at_the_size_limit_is_read(tls: ssl.SSLContext, authority: Authority) -> None:
    body = b"x" * 100_000  # the limit of RawClient
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + body
    result, _ = await answered_with(answer, tls, authority)
    assert result.reply is not None
    assert result.reply.body == body


async def test_answer_one_byte_over_the_limit_is_not_read(tls: ssl.SSLContext, authority: Authority) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n" + b"x" * 100_001
    result, _ = await answered_with(answer, tls, authority)
    assert (result.cause, result.was_asked) == ("response_too_large", True)


async def test_elapsed_time_runs_from_the_body_to_the_answers_end(tls: ssl.SSLContext, authority: Authority) -> None:
    result, _ = await answered_with(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", tls, authority)
    assert result.reply is not None
    assert 0 < result.reply.elapsed_s < 10


PUSH_WAS = [
    pytest.param("200 OK", b'{"ret_code":0}', id="accepted"),
    pytest.param("401 Unauthorized", b"no", id="refused"),
]


@pytest.mark.parametrize(("status", "body"), PUSH_WAS)
@pytest.mark.parametrize(
    ("headers", "cause"),
    [
        pytest.param("x-long: " + "x" * 60_000 + "\r\n", None, id="line-of-60000-bytes"),
        pytest.param("x-many: 1\r\n" * 900, None, id="900-headers"),
        pytest.param("x-long: " + "x" * 65_536 + "\r\n", "response_invalid", id="line-over-the-limit"),
        pytest.param("x-many: 1\r\n" * 1000, "response_invalid", id="headers-over-the-limit"),
    ],
)
async def test_large_head_costs_no_answer(
    headers: str, cause: str | None, status: str, body: bytes, tls: ssl.SSLContext, authority: Authority
) -> None:
    async def script(connection: RawConnection) -> None:
        while True:
            await connection.read_request()
            await connection.answer(body, status=status, headers=headers)

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        for is_reused in (False, cause is None):
            result = await client.push()
            assert (result.cause, result.was_asked, result.is_reused) == (cause, True, is_reused)
            if result.reply is not None:
                assert (result.reply.status, result.reply.body) == (int(status[:3]), body)


async def test_limits_of_an_answer_are_the_configurations(tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.answer(headers="x-many: 1\r\n" * 20)

    for limits, cause in [
        ({"max_headers": 21}, None),
        ({"max_headers": 20}, "response_invalid"),
        ({"max_head_bytes": 400}, None),
        ({"max_head_bytes": 200}, "response_invalid"),
        ({"max_response_bytes": 14}, None),
        ({"max_response_bytes": 13}, "response_too_large"),
    ]:
        async with serving(script, tls) as server, RawClient(server.port, authority.ca_file, **limits) as client:  # type: ignore[arg-type]
            assert (await client.push()).cause == cause, limits


async def test_answer_may_come_byte_by_byte(tls: ssl.SSLContext, authority: Authority) -> None:
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nx-trailer: 1\r\n\r\n"

    async def script(connection: RawConnection) -> None:
        while True:
            await connection.read_request()
            for byte in answer:
                await connection.send(bytes([byte]))
                await turns(2)

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        for is_reused in (False, True):
            result = await client.push()
            assert result.reply is not None
            assert (result.reply.body, result.is_reused) == (b"{}", is_reused)
            assert dict(result.reply.headers) == {"transfer-encoding": "chunked"}


async def test_drip_within_the_read_limit_is_waited_for(tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.25)
            await connection.send(b"x")

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file, read_timeout_s=1.5) as client:
        result = await client.push()
        assert result.reply is not None
        assert result.reply.body == b"x" * 8


# How an answer without a length may end.
async def closes(connection: RawConnection) -> None:
    connection.close()


async def resets(connection: RawConnection) -> None:
    connection.reset()


async def cuts(connection: RawConnection) -> None:
    """End the stream below TLS: whoever is between may do so, and the answer may have gone on."""
    connection.send_fin_now()
    await connection.read_eof()


@pytest.mark.parametrize("how", [closes, resets, cuts])
@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"], ids=["1.1", "1.0"])
async def test_answer_without_a_length_is_whole_only_if_its_stream_ended_in_good_order(
    head: bytes,
    how: Callable[[RawConnection], Awaitable[None]],
    tls: ssl.SSLContext,
    authority: Authority,
    request: pytest.FixtureRequest,
) -> None:
    async def script(connection: RawConnection) -> None:
        if connection.index == 0:
            await connection.read_request()
            await connection.send(head + OK)
            await turns()
            await how(connection)
        await serve_forever(connection)

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        result = await client.push()
        if how is closes:
            assert result.reply is not None
            assert result.reply.body == OK
        elif how is cuts and "uvloop" not in request.node.name:
            pass  # asyncio's own loop does not tell a cut stream from one that ended
        else:
            assert (result.cause, result.was_asked) == ("response_cut", True)
        assert not (await client.push()).is_reused


async def test_whole_answer_counts_although_a_reset_follows(tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.serve_one()
        connection.reset()

    async with serving(script, tls) as server:
        for _ in range(5):
            async with RawClient(server.port, authority.ca_file) as client:
                assert (await client.push()).cause is None


async def test_answer_to_half_a_request_ends_the_connection(tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        if connection.index == 0:
            await connection.read_head()
            await connection.answer(b"too large", status="413 Content Too Large")
            await connection.read_eof()
        await serve_forever(connection)

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        result = await client.push(body=b"x" * 20_000_000)
        assert result.reply is not None
        assert (result.reply.status, result.reply.body) == (413, b"too large")
        assert (client.pool.active, client.pool.idle) == (0, 0)
        assert not (await client.push()).is_reused


async def test_large_body_is_not_copied_as_a_whole(tls: ssl.SSLContext, authority: Authority) -> None:
    """What the peer has not taken yet is held once: as the body itself."""
    size = 64 * 1024 * 1024
    body = bytes(size)
    go = asyncio.Event()
    grown: list[int] = []

    async def script(connection: RawConnection) -> None:
        await connection.read_head()
        before = rss_bytes()
        await turns(200)
        grown.append(rss_bytes() - before)
        go.set()
        await connection.read_eof()

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file) as client:
        push = client.start(body=body)
        await go.wait()
        assert grown[0] < size / 4
        push.cancel()
        await asyncio.wait({push})
        await server.wait_all_closed()


async def test_peer_that_reads_a_large_body_slowly_is_not_silent(tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        head = await connection.read_head()
        left = int(dict(RawRequest(head, b"").headers)["content-length"])
        while left:
            left -= len(await connection.read_some(min(left, 2_000_000)))
            await asyncio.sleep(0.01)
        await connection.answer()

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file, read_timeout_s=1.2) as client:
        assert (await client.push(body=bytes(20_000_000))).cause is None


async def test_peer_that_stops_reading_a_large_body_is_silent(tls: ssl.SSLContext, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.read_head()
        await asyncio.Event().wait()

    async with serving(script, tls) as server, RawClient(server.port, authority.ca_file, read_timeout_s=0.3) as client:
        result = await client.push(body=bytes(16_000_000))
        assert (result.cause, result.was_asked) == ("read_timeout", True)
