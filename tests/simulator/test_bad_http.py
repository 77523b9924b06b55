"""A request that breaks HTTP's own rules is refused by a status, without a 500, a traceback or a delivery."""

import asyncio
import gzip
import json
import logging
import os
import subprocess
import sys

import pytest

from sidecar.simulator import Simulator

PUSH = (
    b'{"audience_type":"token","token_list":["token1"],"platform":"android","message_type":"notify",'
    b'"message":{"title":"t","content":"c"}}'
)


async def exchange(sim, raw, later=b""):
    """Send bytes, and more once they are answered 100 Continue; return the answer's status, head and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    try:
        writer.write(raw)
        if later:
            assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(later)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        return int(head.split(b" ")[1]), head, await asyncio.wait_for(reader.readexactly(length), 5)
    finally:
        writer.close()
        await writer.wait_closed()


def head(*lines, path="/v3/push/app"):
    credentials = "Basic c2ltdWxhdGVkLWFuZHJvaWQtYXBwOm5vdC1hLXNlY3JldC1hbmRyb2lk"
    usual = (f"POST {path} HTTP/1.1", "Host: x", f"Authorization: {credentials}", "Content-Type: application/json")
    return "\r\n".join((*usual, *lines, "", "")).encode("latin-1")


def whole(body, *lines, path="/v3/push/app"):
    return head(*lines, f"Content-Length: {len(body)}", path=path) + body


@pytest.fixture
async def plain(caplog):
    """Run a simulator without TLS, and make sure that it logs nothing."""
    with caplog.at_level(logging.INFO):
        async with Simulator(tls=False, body_timeout_s=0.05) as sim:
            yield sim
    assert caplog.text == ""


CODED = {
    "gzip over plain bytes": (PUSH, "gzip"),
    "gzip, cut": (gzip.compress(PUSH)[:-12], "gzip"),
    "gzip with a false checksum": (gzip.compress(PUSH)[:-8] + bytes(8), "gzip"),
    "gzip, sound": (gzip.compress(PUSH), "gzip"),
    "deflate over plain bytes": (PUSH, "deflate"),
    "br over plain bytes": (PUSH, "br"),
    "zstd over plain bytes": (PUSH, "zstd"),
    "unknown": (PUSH, "nonsense"),
}


@pytest.mark.parametrize(("body", "coding"), CODED.values(), ids=CODED.keys())
async def test_content_coding_is_refused_and_recorded(plain, body, coding):
    status, answered, answer = await exchange(plain, whole(body, f"Content-Encoding: {coding}"))
    assert (status, json.loads(answer)) == (415, {"error": "the body must have no content coding"})
    assert b"Accept-Encoding: identity\r\n" in answered
    (record,) = plain.records
    assert (record.status, record.reason) == (415, "the body must have no content coding")
    assert (record.is_complete, record.raw, record.was_delivered) == (True, body, False)


async def test_later_header_does_not_hide_an_earlier_coding(plain):
    lines = ("Content-Encoding: gzip", "Content-Encoding: identity")
    assert (await exchange(plain, whole(PUSH, *lines)))[0] == 415
    assert plain.records[0].headers["content-encoding"] == "gzip, identity"


async def test_admin_call_with_a_false_coding_is_no_json(plain):
    status, _, answer = await exchange(plain, whole(b"\x1f\x8b{}", "Content-Encoding: gzip", path="/_sim/faults"))
    assert (status, json.loads(answer)) == (400, {"error": {"field": "body", "rule": "must be JSON"}})


NOT_HTTP = {
    "chunk size": head("Transfer-Encoding: chunked") + b"zz\r\nabc\r\n0\r\n\r\n",
    "end of a chunk": head("Transfer-Encoding: chunked") + b"3\r\nabcdef\r\n0\r\n\r\n",
    "trailer": head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\nnope\r\n\r\n",
    "length is a word": head("Content-Length: abc") + PUSH,
    "length is negative": head("Content-Length: -5") + PUSH,
    "two lengths": head(f"Content-Length: {len(PUSH)}", "Content-Length: 3") + PUSH,
    "length too great": head("Content-Length: 99999999999999999999999") + PUSH,
    "length and chunks": head("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "length too small": head("Content-Length: 10") + PUSH,
    "header too long": head("X-Long: " + "a" * 20_000, "Content-Length: 0"),
    "path": head("Content-Length: 0", path="/\xff"),
}


@pytest.mark.parametrize("raw", NOT_HTTP.values(), ids=NOT_HTTP.keys())
async def test_what_is_not_http_is_400(plain, raw):
    assert (await exchange(plain, raw))[0] == 400
    assert plain.deliveries == []


@pytest.mark.parametrize("charset", ["nonsense", "", "utf-16", "\xff"])
async def test_charset_that_is_not_there_is_refused_and_recorded(plain, charset):
    raw = whole(PUSH).replace(b"application/json", f"application/json; charset={charset}".encode("latin-1"))
    assert (await exchange(plain, raw))[0] == 415
    assert (plain.records[0].status, plain.records[0].is_complete) == (415, True)


@pytest.mark.parametrize("path", ["/v3/push/app", "/_sim/faults"])
async def test_body_that_does_not_end_is_408(plain, path):
    status, answered, answer = await exchange(plain, head("Content-Length: 1000", path=path) + b"only this")
    assert status == 408
    assert b"Connection: close\r\n" in answered
    assert "the body did not come whole within 0.05 s" in str(json.loads(answer))


async def test_chunks_that_go_wrong_after_the_head_are_refused_and_recorded(plain):
    raw = head("Transfer-Encoding: chunked", "Expect: 100-continue")
    status, _, _ = await exchange(plain, raw, later=b"zz\r\n")
    assert status in {400, 408}  # of aiohttp's parser in Python, of the one in C
    (record,) = plain.records
    assert (record.status, record.is_complete, record.was_delivered) == (status, False, False)


async def test_body_that_does_not_end_is_recorded(plain):
    await exchange(plain, head("Content-Length: 1000") + b"only this")
    (record,) = plain.records
    assert (record.status, record.is_complete, record.was_delivered) == (408, False, False)
    assert record.reason == "the body did not come whole within 0.05 s"


async def test_record_with_bytes_that_are_no_text_can_be_shown(plain):
    raw = whole(PUSH, "X-Odd: \xff")
    assert (await exchange(plain, raw))[0] == 200
    status, _, shown = await exchange(plain, b"GET /_sim/requests HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 200
    assert json.loads(shown)["requests"][0]["headers"]["x-odd"] == "\udcff"


# aiohttp's parser in Python, which is used where the one in C is not built, tells the handler of bad chunks.
PURE_PYTHON = """
import asyncio
from sidecar.simulator import Simulator

async def main():
    async with Simulator(tls=False) as sim:
        for path in (b"/v3/push/app", b"/_sim/faults"):
            reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
            writer.write(b"POST " + path + b" HTTP/1.1\\r\\nHost: x\\r\\nExpect: 100-continue\\r\\n")
            writer.write(b"Transfer-Encoding: chunked\\r\\n\\r\\n")
            await reader.readuntil(b"\\r\\n\\r\\n")
            writer.write(b"zz\\r\\n")
            print((await reader.readline()).decode().strip())
            writer.close()
        print([(record.status, record.reason) for record in sim.records])

asyncio.run(main())
"""


def test_bad_chunks_are_400_and_recorded_with_the_parser_in_python():
    done = subprocess.run(
        [sys.executable, "-c", PURE_PYTHON],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"},
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "HTTP/1.1 400 Bad Request",
        "HTTP/1.1 400 Bad Request",
        "[(400, 'the body is not framed as HTTP/1.1 asks')]",
    ]
