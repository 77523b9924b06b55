"""The bytes of a request, and what is made of an answer's."""

import gzip
import ssl

import pytest

from tests.support.certificates import Authority
from tests.support.raw_client import BODY, HEADERS, RawClient, Result
from tests.support.raw_server import RawConnection, RawServer, serve_forever, serving


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
