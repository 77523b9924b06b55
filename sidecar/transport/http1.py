"""One HTTP/1.1 connection: one exchange at a time, the bytes of its request out and those of its answer in.

TLS and the socket are the event loop's. The connection is ours, so that it is known which byte left.
"""

import asyncio
import select
import ssl
import time
from typing import Protocol, cast

from sidecar.transport.answer import AnswerError, AnswerLimits, AnswerReader
from sidecar.transport.exchange import Exchange
from sidecar.transport.first_record import FirstRecord
from sidecar.transport.reply import Reply
from sidecar.transport.tls import is_client_alert, is_client_refused, is_tls13

# What of a body is given to the transport at once, and what the transport may hold back before it says stop: TLS
# encrypts all that it is given, and its buffer stays as large for as long as the connection.
PIECE_BYTES = 64 * 1024


class Owner(Protocol):
    """Who keeps the connection between two exchanges."""

    def release(self, connection: "Connection") -> None:
        """Take back a connection that is ready for the next exchange."""
        ...

    def lost(self, connection: "Connection") -> None:
        """Forget a connection that has ended."""
        ...


class Connection(asyncio.Protocol):
    """One connection over TLS; `below` is the transport of its TCP.

    `ended_by`: why it cannot be used any more; empty while it can. `was_used`: an answer has come on it. `idle_since`
    is its owner's.
    """

    __slots__ = (
        "_answer", "_below", "_exchange", "_first", "_is_paused", "_owner", "_pieces", "_poll", "_tls", "_transport",
        "ended_by", "idle_since", "was_used",
    )  # fmt: skip

    _transport: asyncio.Transport
    _poll: select.poll

    def __init__(self, owner: Owner, limits: AnswerLimits, below: asyncio.Transport) -> None:
        self._owner = owner
        self._below = below
        # Kept where an alert can prove that nothing was read: in TLS 1.3, before an answer.
        self._first: FirstRecord | None = None
        self._exchange: Exchange | None = None
        self._answer = AnswerReader(limits)
        self._tls: ssl.SSLObject | None = None
        # What is still to be written, the next piece last.
        self._pieces: list[memoryview] = []
        self._is_paused = False
        self.ended_by = ""
        self.was_used = False
        self.idle_since = 0.0

    # What the pool and an attempt ask of it.

    @property
    def is_quiet(self) -> bool:
        """Whether it is open, and nothing is there to be read: no end, and no answer to no request of ours."""
        # Also what has reached the kernel, but not yet the event loop.
        return not self.closed_by and not self._poll.poll(0)

    @property
    def closed_by(self) -> str:
        """Why nothing can be written any more; empty while it can."""
        # The event loop tells of an end only after it has closed the transport.
        return self.ended_by or ("connection_lost" if self._transport.is_closing() else "")

    def attach(self, exchange: Exchange) -> None:
        """Note whose it is now."""
        exchange.is_connected, exchange.is_reused = True, self.was_used
        exchange.wire = self

    def send(self, exchange: Exchange, head: bytes, body: bytes) -> None:
        """Write a request: from here on it may have left. Ask `closed_by` right before.

        A small body goes out with its head. Of a large one no more is held than the peer takes.
        """
        exchange.write()
        self._exchange = exchange
        self._answer.reset(exchange.on_read)
        if len(body) <= PIECE_BYTES:
            self._transport.write(head + body)
            return
        view = memoryview(body)
        self._pieces = [view[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES)]
        self._pieces.reverse()
        self._transport.write(head)
        self._write_more()

    def give_back(self) -> None:
        """Take it back unused: nothing was written for the exchange that had it."""
        if self.is_quiet:
            self._owner.release(self)
        else:
            self.break_off("connection_lost")

    def break_off(self, cause: str) -> None:
        """End the exchange without an answer, and cut the connection off."""
        exchange, self._exchange = self._exchange, None
        if not self.ended_by:
            self.ended_by = cause
            self._pieces.clear()
            self._answer.close()
            self._first = None
            if hasattr(self, "_transport"):
                self._transport.abort()
            self._owner.lost(self)
        if exchange is not None:
            exchange.end(None, cause)

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin. TLS may have brought data before, or an end."""
        # A stream's transport, for TLS of a type of the event loop's own.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=PIECE_BYTES)
        self._tls = transport.get_extra_info("ssl_object")
        if is_tls13(self._tls):
            self._first = FirstRecord(self._below)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        if self.ended_by:
            self._transport.abort()

    def pause_writing(self) -> None:
        """Hold back the rest of a large body."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Go on with it."""
        self._is_paused = False
        if self._exchange is not None:
            # That it reads counts as a sign of life, too.
            self._exchange.heard_at = asyncio.get_running_loop().time()
        self._write_more()

    def data_received(self, data: bytes) -> None:
        """Read a part of an answer."""
        if self._first is not None:
            self._first.stop()
            self._first = None
        exchange, answer = self._exchange, self._answer
        if exchange is None:
            self.break_off("unsolicited_answer")
            return
        exchange.heard_at = asyncio.get_running_loop().time()
        try:
            answer.feed(data)
        except AnswerError as error:
            self.break_off(error.cause)
            return
        exchange.head_at_ns = answer.head_at_ns
        if answer.is_whole:
            # An answer to half a request ends the connection, too.
            self._end_answer(exchange, is_kept=not (answer.is_last or self._pieces or self._is_paused))

    def eof_received(self) -> bool:
        """Read the end of the stream, in good order."""
        if self._exchange is not None:
            self._answer.feed_eof()
            if self._answer.is_whole:
                self._end_answer(self._exchange, is_kept=False)
        self._lose(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._lose(exc)

    def _end_answer(self, exchange: Exchange, *, is_kept: bool) -> None:
        answer = self._answer
        elapsed_s = time.perf_counter() - exchange.written_at
        reply = Reply(answer.status, answer.headers, answer.body, elapsed_s)
        self._exchange = None
        self.was_used = True
        if is_kept:
            answer.reset(None)
            self._owner.release(self)
        else:
            self.break_off("closed")
        exchange.end(reply)

    def _write_more(self) -> None:
        while self._pieces and not self._is_paused and not self.ended_by:
            self._transport.write(self._pieces.pop())

    def _lose(self, error: Exception | None) -> None:
        cause = "connection_lost"
        if self._answer.head_at_ns:
            cause = "response_cut"
        elif self.was_used:
            cause = "idle_connection_closed"
        elif self._exchange is None:
            # Nothing was written.
            cause = "tls" if is_client_alert(error) else cause
        elif self._first is not None and self._first.is_alert and is_client_refused(error, self._tls):
            cause = "tls"
            self._exchange.was_refused_as_client = True
        self.break_off(cause)
        if error is not None:
            # It is told; with its frames it would keep what they hold.
            error.__traceback__ = None
