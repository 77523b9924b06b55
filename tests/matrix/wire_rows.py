"""Rows: answers that are no HTTP, or only nearly; interim answers; what comes before and after a whole answer."""

from tests.matrix.faults import raw
from tests.matrix.row import Row
from tests.matrix.scripts import SUCCESS, answers, closes, head_of
from tests.matrix.stage import SHORT_READ
from tests.matrix.verdict import ACCEPTED, ENDPOINT, REJECTED, UNKNOWN, Verdict
from tests.support.raw_server import OK

EMPTY = b"content-length: 0\r\n\r\n"
LINE = b"HTTP/1.1 200 OK\r\n"
CHUNKED = LINE + b"transfer-encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n"


def wire(name: str, *pieces: bytes, verdict: Verdict = ACCEPTED, cause: str = "") -> Row:
    """Return a row of an answer, after which the vendor keeps the connection."""
    return Row(name, raw(answers(*pieces)), verdict, cause=cause)


def cut(name: str, *pieces: bytes, verdict: Verdict = UNKNOWN, cause: str = "response_cut") -> Row:
    """Return a row of an answer, after which the vendor closes the connection."""
    return Row(name, raw(answers(*pieces, then=closes)), verdict, cause=cause)


def invalid(name: str, *pieces: bytes) -> Row:
    """Return a row of an answer that is no HTTP."""
    return wire(name, *pieces, verdict=UNKNOWN, cause="response_invalid")


ROWS = [
    # Interim answers.
    wire("100 before the answer", CONTINUE, SUCCESS),
    wire("102 and 103 before the answer", PROCESSING + EARLY_HINTS + SUCCESS),
    wire("many interim answers", *[PROCESSING] * 50, SUCCESS),
    wire("100 before a refusal", CONTINUE, head_of(b"", "400 Bad Request"), verdict=REJECTED),
    wire("101", b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", verdict=UNKNOWN),
    wire("101 without an upgrade", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", verdict=UNKNOWN),
    # Reason phrases.
    wire("404 with a reason in Latin-1", b"HTTP/1.1 404 Non trouv\xe9\r\n" + EMPTY, verdict=ENDPOINT),
    wire("200 without a reason", b"HTTP/1.1 200\r\n" + SUCCESS.partition(b"\r\n")[2]),
    # Lengths.
    invalid("a length that cuts the body", LINE + b"content-length: 9\r\n\r\n" + OK),
    cut("a length that is too long", LINE + b"content-length: 99\r\n\r\n" + OK),
    Row(
        "a length that is too long, and the connection stays",
        raw(answers(LINE + b"content-length: 99\r\n\r\n" + OK), SHORT_READ),
        UNKNOWN,
        cause="read_timeout",
    ),
    invalid("a length that is no number", LINE + b"content-length: long\r\n\r\n" + OK),
    invalid("a length below zero", LINE + b"content-length: -1\r\n\r\n" + OK),
    invalid("two lengths", LINE + b"content-length: 14\r\ncontent-length: 15\r\n\r\n" + OK),
    invalid("a length and chunks", CHUNKED[:-2] + b"content-length: 14\r\n\r\n" + OK),
    cut("no length, and the end of the connection", LINE + b"\r\n" + OK, verdict=ACCEPTED, cause=""),
    # Chunks.
    wire("chunks", CHUNKED + b'5\r\n{"ret\r\n9\r\n_code":0}\r\n0\r\n\r\n'),
    wire("chunks with an extension and a trailer", CHUNKED + b"e;x=1\r\n" + OK + b"\r\n0\r\nx-sum: 1\r\n\r\n"),
    cut("no last chunk", CHUNKED + b"e\r\n" + OK + b"\r\n"),
    cut("half a chunk", CHUNKED + b"40\r\n" + OK),
    invalid("a chunk's length that is no number", CHUNKED + b"zz\r\n" + OK),
    invalid("a chunk longer than its length", CHUNKED + b"5\r\n" + OK + b"\r\n0\r\n\r\n"),
    # What is no HTTP.
    invalid("bytes that are no HTTP", b"\x00\x01\x02 this is not HTTP\r\n\r\n"),
    invalid("a body without a head", OK + b"\r\n\r\n"),
    invalid("HTTP/2", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\x00\x04\x00\x00\xff\xff"),
    invalid("a status that is no number", b"HTTP/1.1 OK 200\r\n" + EMPTY),
    invalid("a status of four digits", b"HTTP/1.1 2000 OK\r\n" + EMPTY),
    invalid("a status of two digits", b"HTTP/1.1 20 OK\r\n" + EMPTY),
    wire("a status of no class", head_of(OK, "999 Odd") + OK, verdict=UNKNOWN),
    wire("a status below 100", head_of(OK, "099 Odd") + OK, verdict=UNKNOWN),
    invalid("a header without a colon", LINE + b"no colon here\r\n" + EMPTY),
    invalid("a header with a NUL", LINE + b"x-a: \x00\r\n" + EMPTY),
    invalid("a header without a name", LINE + b": x\r\n" + EMPTY),
    invalid("headers of a megabyte", LINE + b"x-a: " + b"a" * 1_000_000 + b"\r\n" + EMPTY),
    wire("a reason that is no ASCII", b"HTTP/1.1 200 \xe5\xa5\xbd\r\ncontent-length: 14\r\n\r\n" + OK),
    wire("a header that is no UTF-8", head_of(OK)[:-2] + b"x-note: \xff\xfe\r\n\r\n" + OK),
    cut("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\n" + OK, verdict=ACCEPTED, cause=""),
    # What comes too early, or too late.
    wire("two answers at once", SUCCESS + SUCCESS),
    wire("success and a refusal at once", SUCCESS + head_of(b"", "400 Bad Request")),
    wire("a refusal and success at once", head_of(b"", "400 Bad Request") + SUCCESS, verdict=REJECTED),
    wire("a second answer later", SUCCESS, SUCCESS),
    Row(
        "a refusal before the body is read",
        raw(answers(head_of(b"", "413 Content Too Large", "connection: close\r\n"), then=closes, is_early=True)),
        REJECTED,
        calls=0,
    ),
    Row("success before the body is read", raw(answers(SUCCESS, is_early=True)), ACCEPTED, calls=0),
]
