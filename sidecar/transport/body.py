"""The request body as a stream that knows whether it was asked for: the only proof of "not sent" that we trust.

Which exception a transport raises proves nothing: some report a connect timeout when the peer closed after it had read
the whole request. A body whose bytes were never asked for cannot have left; once they were asked for, they may have.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

# TLS encrypts what it is given at once as a whole, and its buffer stays as large for as long as the connection.
PIECE_BYTES = 64 * 1024


class RevokedError(Exception):
    """The bytes were asked for after the caller's time was up."""


class RefusedError(Exception):
    """`before_first_byte` raised: `BodyStream.refusal` is what."""


class BodyStream(httpx.AsyncByteStream):
    """A body given out at most once, a large one in pieces.

    `before_first_byte` is awaited when the first bytes are asked for, just before they may leave; when it raises, they
    do not, and `refusal` is what it raised.
    """

    def __init__(self, body: bytes, before_first_byte: Callable[[], Awaitable[None]]) -> None:
        self._body = body
        self._before_first_byte = before_first_byte
        self._is_revoked = False
        self._is_given = False
        # Where the next piece begins: at the end while there is none to give.
        self._next_at = len(body)
        self.refusal: Exception | None = None
        # Called when the first bytes are given out.
        self.on_asked: Callable[[], None] | None = None
        self.was_asked = False
        self.asked_at = 0.0
        self.asked_at_ns = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return itself: a second pass finds it empty, so no transport can send the body twice."""
        if self._is_given:
            self._next_at = len(self._body)
        return self

    async def __anext__(self) -> bytes:
        """Give the body or its next piece out, once."""
        if self._is_given:
            return self._next_piece()
        self._is_given = True
        if self._is_revoked:
            raise RevokedError
        try:
            await self._before_first_byte()
        except Exception as error:  # noqa: BLE001  # whatever it is, nothing is given out
            # Without its frames, which hold this stream.
            self.refusal = error.with_traceback(None)
        if self.refusal is not None:
            raise RefusedError
        if self._is_revoked:
            raise RevokedError
        self.was_asked = True
        self.asked_at, self.asked_at_ns = time.perf_counter(), time.time_ns()
        if self.on_asked is not None:
            self.on_asked()
        if len(self._body) <= PIECE_BYTES:
            return self._body
        self._next_at = 0
        return self._next_piece()

    def _next_piece(self) -> bytes:
        at = self._next_at
        if at >= len(self._body):
            raise StopAsyncIteration
        self._next_at = at + PIECE_BYTES
        return self._body[at : self._next_at]

    @property
    def has_connection(self) -> bool:
        """Whether there was a connection to send it on."""
        return self._is_given

    def take_refusal(self) -> Exception:
        """Give out what `before_first_byte` raised, to be raised anew: kept here, it would hold this stream."""
        refusal, self.refusal = self.refusal, None
        assert refusal is not None  # noqa: S101  # for the types
        return refusal

    def revoke(self) -> bool:
        """Forbid the sending for good; false when it is too late to forbid."""
        if self.was_asked:
            return False
        self._is_revoked = True
        return True
