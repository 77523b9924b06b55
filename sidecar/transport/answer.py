"""Reads HTTP/1.1 answers, one after another, from the bytes of a connection. The parsing is httptools' (llhttp)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools

from sidecar.transport.reply import Headers, merged

# Bytes that frame a body (the lengths of chunks, trailers) are not counted one by one. So many times the limit of the
# body may come in all.
_FRAMING = 8

# The colon, a space, and the end of the line.
_HEADER_MARKS = 4

_INTERIM = range(100, 200)
_SWITCHING_PROTOCOLS = 101


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """What is read of an answer: bytes of its head (its interim answers included) and of its body, and its headers."""

    max_head_bytes: int
    max_headers: int
    max_body_bytes: int


class AnswerError(Exception):
    """What came is no answer, or too large. `cause` is a short token for logs and metrics."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class AnswerReader:
    """The answer that is being read. `feed` it until `is_whole`, then `reset` it for the next.

    `head_at_ns`: when its head was whole, in nanoseconds since the epoch, else 0.
    `is_last`: the connection cannot be used after it.
    """

    __slots__ = (
        "_body_bytes", "_chunks", "_head_bytes", "_limits", "_on_body", "_overrun", "_parser", "_size", "head_at_ns",
        "headers", "is_last", "is_whole", "status",
    )  # fmt: skip

    def __init__(self, limits: AnswerLimits) -> None:
        self._limits = limits
        self._parser: Any = httptools.HttpResponseParser(self)
        # Forms that recipients are to read (RFC 9112, 2.2 and 5.2), or that are harmless: an answer of an old server
        # is still an answer.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._on_body: Callable[[int], None] | None = None
        self.headers: Headers = []
        self._chunks: list[bytes] = []
        self._size = 0
        self._head_bytes = 0
        self._body_bytes = 0
        self._overrun = ""
        self.status = 0
        self.head_at_ns = 0
        self.is_whole = False
        self.is_last = True

    @property
    def body(self) -> bytes:
        """What has come of its body."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def reset(self, on_body: Callable[[int], None] | None) -> None:
        """Begin with the next; `on_body` is told the size of each piece of its body."""
        self._on_body = on_body
        if self._size:
            self.headers, self._chunks = [], []
            self._size = self._head_bytes = self._body_bytes = self.status = self.head_at_ns = 0
            self.is_whole, self.is_last = False, True

    def feed(self, data: bytes) -> None:
        """Read on.

        Raises `AnswerError`. An answer is whole only when nothing is wrong with what came at once with its end.
        """
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # 101 is an answer like any other; what follows it is not HTTP
        except httptools.HttpParserError:
            if self.status != _SWITCHING_PROTOCOLS:
                raise AnswerError(self._overrun or "response_invalid") from None
        if not self.head_at_ns and self._size > self._limits.max_head_bytes:
            raise AnswerError("response_invalid")
        if self._overrun:
            raise AnswerError(self._overrun)
        if self._size > self._limits.max_head_bytes + _FRAMING * self._limits.max_body_bytes:
            raise AnswerError("response_too_large")

    def feed_eof(self) -> None:
        """Read the end of the stream: of an answer without a length it is the end (RFC 9112, 6.3)."""
        # The parser does not say whether it waits for that.
        if self.head_at_ns and not self.is_whole:
            headers = merged(self.headers)
            codings = headers.get("transfer-encoding", "").lower()
            self.is_whole = not codings.endswith("chunked") if codings else "content-length" not in headers

    def close(self) -> None:
        """Read nothing any more: the parser and this object hold each other."""
        self._parser = None
        self._on_body = None

    # What the parser tells.

    def on_message_begin(self) -> None:
        """Begin an answer: a second one ends the connection."""
        if self.is_whole:
            self.is_last = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what follows a chunked body is not looked at."""
        if self.head_at_ns:
            return
        self._head_bytes += len(name) + len(value) + _HEADER_MARKS
        self.headers.append((name, value))
        if b"\0" in value:  # which the leniency lets pass (RFC 9110, 5.5)
            self._overrun = "response_invalid"
        if self._head_bytes > self._limits.max_head_bytes or len(self.headers) > self._limits.max_headers:
            self._overrun = "response_invalid"

    def on_headers_complete(self) -> None:
        """End the head; one of an interim answer is forgotten."""
        if self.head_at_ns:
            return
        status = self._parser.get_status_code()
        if status in _INTERIM and status != _SWITCHING_PROTOCOLS:
            self.headers = []
            return
        self.status, self.head_at_ns = status, time.time_ns()
        self.is_whole = status == _SWITCHING_PROTOCOLS

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body."""
        if self.is_whole:
            return
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.max_body_bytes:
            self._overrun = "response_too_large"
            return
        self._chunks.append(data)
        if self._on_body is not None:
            self._on_body(len(data))

    def on_message_complete(self) -> None:
        """End the answer."""
        if self.head_at_ns and not self.is_whole:
            self.is_whole, self.is_last = True, not self._parser.should_keep_alive()
