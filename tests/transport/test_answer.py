"""Answers as bytes, in whatever pieces they come: where each ends, what it says, and whether another may follow."""

from itertools import pairwise

import pytest

from sidecar.transport.answer import AnswerError, AnswerLimits, AnswerReader

LIMITS = AnswerLimits(max_head_bytes=65_536, max_headers=1000, max_body_bytes=100_000)

NEXT = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-next: 1\r\n\r\nnext"


def split(data: bytes) -> list[list[bytes]]:
    """Return data in one piece, byte by byte, and cut in two at every place."""
    pieces = [[data], [data[at : at + 1] for at in range(len(data))]]
    return pieces + [[data[:at], data[at:]] for at in range(1, len(data))]


def feed(reader: AnswerReader, pieces: list[bytes]) -> None:
    """Feed pieces; each comes before the answer is whole."""
    for piece in pieces:
        assert not reader.is_whole
        reader.feed(piece)


# What comes, and what it is: status, body, headers that are asked for, and whether another answer may follow.
ANSWERS = [
    pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}", {}, True, id="length"),
    pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, b"", {}, True, id="empty"),
    pytest.param(b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}", {}, True, id="no-reason"),
    pytest.param(b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}", {}, True, id="empty-line-first"),
    pytest.param(b"HTTP/1.1 200 OK\ncontent-length: 2\n\n{}", 200, b"{}", {}, True, id="lines-end-in-lf"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nx-a: 1\r\n 2\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}", {"x-a": "1 2"}, True, id="folded"
    ),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nx-empty:\r\nX-A: 1\r\nx-a:2\r\ncontent-length: 0\r\n\r\n",
        200,
        b"",
        {"x-empty": "", "x-a": "1, 2"},
        True,
        id="headers",
    ),
    pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", {}, True, id="204"),
    pytest.param(b"HTTP/1.1 204 No Content\r\ncontent-length: 9\r\n\r\n", 204, b"", {}, True, id="204-with-length"),
    pytest.param(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304, b"", {}, True, id="304-with-length"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        200,
        b"{}",
        {},
        True,
        id="chunked",
    ),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0A;name=value;x\r\n0123456789\r\n0;last\r\n\r\n",
        200,
        b"0123456789",
        {},
        True,
        id="chunk-extensions",
    ),
    pytest.param(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2 \r\n{}\r\n0\r\n\r\n",
        200,
        b"{}",
        {},
        True,
        id="space-after-the-chunks-length",
    ),
    pytest.param(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nRetry-After: 99\r\nX-T: 1\r\n\r\n",
        200,
        b"{}",
        {"retry-after": None, "x-t": None},
        True,
        id="trailers",
    ),
    pytest.param(
        b"HTTP/1.1 100 Continue\r\nx-early: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n"
        b"HTTP/1.1 199 Mine\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        200,
        b"{}",
        {"x-early": None, "link": None},
        True,
        id="interim",
    ),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}", {}, False, id="close"
    ),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive, Close\r\ncontent-length: 2\r\n\r\n{}",
        200,
        b"{}",
        {},
        False,
        id="close-in-a-list",
    ),
    pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}", {}, False, id="http-1.0"),
    pytest.param(
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}",
        200,
        b"{}",
        {},
        True,
        id="http-1.0-kept",
    ),
    pytest.param(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", 101, b"", {}, False, id="101"
    ),
    pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 101, b"", {}, False, id="101-without-a-word"),
]


@pytest.mark.parametrize(("data", "status", "body", "headers", "is_kept"), ANSWERS)
def test_answer_is_the_same_in_any_pieces(
    data: bytes, status: int, body: bytes, headers: dict[str, str | None], *, is_kept: bool
) -> None:
    for pieces in split(data):
        sizes: list[int] = []
        reader = AnswerReader(LIMITS)
        reader.reset(sizes.append)
        feed(reader, pieces)
        assert (reader.is_whole, reader.status, reader.body) == (True, status, body), pieces
        assert reader.is_last is not is_kept
        assert reader.head_at_ns > 0
        assert sum(sizes) == len(body)
        got = {name.decode().lower() for name, _ in reader.headers}
        for name, value in headers.items():
            values = [v.decode() for n, v in reader.headers if n.decode().lower() == name]
            assert (", ".join(values) if name in got else None) == value


@pytest.mark.parametrize(
    "data", [row.values[0] for row in ANSWERS if row.values[4]], ids=[str(row.id) for row in ANSWERS if row.values[4]]
)
def test_next_answer_has_nothing_of_the_one_before(data: bytes) -> None:
    reader = AnswerReader(LIMITS)
    for _ in range(2):
        reader.reset(None)
        feed(reader, [data])
        reader.reset(None)
        assert reader.head_at_ns == 0
        feed(reader, [NEXT])
        assert (reader.is_whole, reader.is_last, reader.status, reader.body) == (True, False, 200, b"next")
        assert reader.headers == [(b"content-length", b"4"), (b"x-next", b"1")]


@pytest.mark.parametrize(
    ("data", "body"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n{}", b"{}", id="without-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"", id="without-body"),
        pytest.param(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n{}", b"{}", id="http-1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n{}", b"{}", id="another-coding"),
        pytest.param(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", b"{}", id="close"),
    ],
)
def test_answer_without_a_length_ends_with_the_stream(data: bytes, body: bytes) -> None:
    for pieces in split(data):
        reader = AnswerReader(LIMITS)
        feed(reader, pieces)
        assert not reader.is_whole
        reader.feed_eof()
        assert (reader.is_whole, reader.is_last, reader.body) == (True, True, body)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", id="half-a-body"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", id="no-last-chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", id="no-chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: 1\r\n", id="half-the-trailers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: 1\r\n", id="half-a-head"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="interim-only"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_half_an_answer_stays_one_at_the_end(data: bytes) -> None:
    reader = AnswerReader(LIMITS)
    if data:
        reader.feed(data)
    reader.feed_eof()
    assert not reader.is_whole


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x00\x01\x02 this is not HTTP\r\n\r\n", id="garbage"),
        pytest.param(b"\x15\x03\x03\x00\x02\x02\x28", id="tls-alert"),
        pytest.param(b"<html>no</html>", id="html"),
        pytest.param(b"HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n", id="status"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", id="negative-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", id="two-lengths"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            id="length-and-chunks",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: a\x00b\r\ncontent-length: 0\r\n\r\n", id="nul"),
        pytest.param(b"HTTP/1.1 200 OK\r\nno header\r\ncontent-length: 0\r\n\r\n", id="header"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", id="chunk-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{}", id="chunk-too-long"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n", id="chunk-overflow"
        ),
    ],
)
def test_what_is_no_answer_is_told(data: bytes) -> None:
    for pieces in split(data):
        reader = AnswerReader(LIMITS)
        with pytest.raises(AnswerError) as error:
            feed(reader, pieces)
        assert error.value.cause == "response_invalid"


def test_second_answer_in_the_same_bytes_ends_the_connection() -> None:
    reader = AnswerReader(LIMITS)
    reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nown" + NEXT)
    assert (reader.is_whole, reader.is_last, reader.body) == (True, True, b"own")
    assert (b"x-next", b"1") not in reader.headers


def test_what_follows_a_switch_of_protocols_is_not_looked_at() -> None:
    for follows in (b"\x00\x01", NEXT, b"HTTP/1.1 2x0"):
        reader = AnswerReader(LIMITS)
        reader.feed(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n" + follows)
        assert (reader.is_whole, reader.is_last, reader.status, reader.body) == (True, True, 101, b"")


def in_records(data: bytes) -> list[bytes]:
    """Return data in pieces of the size of a TLS record."""
    edges = [*range(0, len(data), 16_384), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


@pytest.mark.parametrize("is_whole_at_once", [True, False], ids=["at-once", "in-records"])
@pytest.mark.parametrize(
    ("headers", "is_read"),
    [
        pytest.param([b"x-long: " + b"x" * 60_000], True, id="60000-bytes"),
        pytest.param([b"x-many: 1"] * 900, True, id="900-headers"),
        pytest.param([b"x-many: 1"] * 999, True, id="1000-headers"),
        pytest.param([b"x-many: 1"] * 1000, False, id="1001-headers"),
        pytest.param([b"x-long: " + b"x" * 65_536], False, id="65536-bytes"),
        pytest.param([b"x-much: " + b"x" * 640] * 100, True, id="65200-bytes-in-all"),
        pytest.param([b"x-much: " + b"x" * 650] * 100, False, id="66200-bytes-in-all"),
    ],
)
def test_limits_of_a_head(headers: list[bytes], *, is_read: bool, is_whole_at_once: bool) -> None:
    data = b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"content-length: 2", b"", b"{}"])
    reader = AnswerReader(LIMITS)
    pieces = [data] if is_whole_at_once else in_records(data)
    if is_read:
        feed(reader, pieces)
        assert (reader.is_whole, reader.is_last, reader.body) == (True, False, b"{}")
        assert len(reader.headers) == len(headers) + 1
    else:
        with pytest.raises(AnswerError) as error:
            feed(reader, pieces)
        assert error.value.cause == "response_invalid"


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n"]
)
def test_interim_answers_without_end_are_no_answer(interim: bytes) -> None:
    reader = AnswerReader(LIMITS)
    with pytest.raises(AnswerError) as error:
        feed(reader, [interim] * 10_000)
    assert error.value.cause == "response_invalid"


def chunked(size: int, count: int) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n" % (size, b"x" * size) * count + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "is_read"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000, True, id="at-the-limit"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n" + b"x" * 100_001, False, id="over-it"),
        pytest.param(chunked(1, 100_000), True, id="in-chunks-of-1"),
        pytest.param(chunked(10_000, 10), True, id="in-chunks"),
        pytest.param(chunked(10_001, 10), False, id="over-it-in-chunks"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"x" * 1_000_000,
            False,
            id="extension-without-end",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: 1\r\n" * 200_000,
            False,
            id="trailers-without-end",
        ),
    ],
)
def test_limits_of_a_body(data: bytes, *, is_read: bool) -> None:
    for pieces in ([data], in_records(data)):
        reader = AnswerReader(LIMITS)
        if is_read:
            feed(reader, pieces)
            assert (reader.is_whole, reader.is_last, len(reader.body)) == (True, False, 100_000)
        else:
            with pytest.raises(AnswerError) as error:
                feed(reader, pieces)
            assert error.value.cause == "response_too_large"


def test_failure_of_who_counts_the_body_is_no_answer() -> None:
    def fails(_size: int) -> None:
        raise RuntimeError("a bug")

    reader = AnswerReader(LIMITS)
    reader.reset(fails)
    with pytest.raises(AnswerError):
        reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
