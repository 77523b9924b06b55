"""One vendor address: builds the HTTP request, sends it through the pool, reads the answer whole, within the limits.

Exceptions of the HTTP library end here. Whether the push was sent is not decided here but by `BodyStream`.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import httpx

from sidecar.transport.body import BodyStream
from sidecar.transport.notes import ConnectionNotes, current_notes
from sidecar.transport.reply import Reply
from sidecar.transport.shortage import DETAILS, shortage_of

# The cause of a failure to send the caller his initial metadata: he is gone.
EARLY_HEADERS = "early_headers"

_log = logging.getLogger(__name__)


class TransportFailure(Exception):  # an outcome, as httpx names its own
    """No answer. `cause` is a short token for logs and metrics; it proves nothing about what was sent."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one vendor call: seconds, and bytes of the answer."""

    connect_timeout_s: float
    read_timeout_s: float
    total_timeout_s: float
    max_response_bytes: int


class VendorClient:
    """Posts bodies to one URL."""

    def __init__(self, transport: httpx.AsyncBaseTransport, url: str, limits: Limits) -> None:
        self._transport = transport
        self._url = httpx.URL(url)
        self._limits = limits
        # httpx's names; the wait for a connection as a whole (pool, DNS, TCP, TLS) has the limit of the connect.
        self._timeouts = {
            "connect": limits.connect_timeout_s,
            "pool": limits.connect_timeout_s,
            "read": limits.read_timeout_s,
            "write": limits.read_timeout_s,
        }

    @property
    def url(self) -> str:
        """The vendor's address; it holds no secret."""
        return str(self._url)

    @property
    def connect_timeout_s(self) -> float:
        """Limit of getting a connection, in seconds."""
        return self._limits.connect_timeout_s

    @property
    def host(self) -> str:
        """The vendor's host name."""
        return self._url.host

    @property
    def port(self) -> int:
        """The vendor's port."""
        return self._url.port or 443

    async def post(
        self,
        headers: Mapping[str, str],
        stream: BodyStream,
        size: int,
        notes: ConnectionNotes,
        on_read: Callable[[int], None],
    ) -> Reply:
        """Post a body of `size` bytes and read the answer.

        `notes` is filled with what the pool did; `on_read` is told the size of each piece of the answer that has come.

        Run it in a task of its own, since the notes are kept in the task's context.

        Raises `TransportFailure` when no whole answer came within the limits.
        """
        current_notes.set(notes)
        request = httpx.Request(
            "POST",
            self._url,
            headers={**headers, "content-length": str(size)},
            stream=stream,
            extensions={"timeout": self._timeouts},
        )
        # Else httpx looks through all of them at each access, to find out what they are written in.
        request.headers.encoding = "ascii"
        try:
            async with asyncio.timeout(self._limits.total_timeout_s):
                return await self._exchange(request, stream, notes, on_read)
        except TransportFailure:
            raise
        except Exception as error:
            # Whatever still runs of this attempt may not send it any more: what is said now must stay true.
            stream.revoke()
            cause = _cause(error, notes, stream)
            if cause in DETAILS:
                fields = {"kind": cause, "detail": DETAILS[cause], "host": self.host}
                _log.error("nothing was sent, by a shortage of our own", extra=fields)
            raise TransportFailure(cause) from error

    async def _exchange(
        self, request: httpx.Request, stream: BodyStream, notes: ConnectionNotes, on_read: Callable[[int], None]
    ) -> Reply:
        # The HTTP library's own limit of silence ends with an interim answer (1xx), and is not begun again.
        silence = asyncio.timeout(None)
        loop = asyncio.get_running_loop()
        stream.on_asked = lambda: silence.reschedule(loop.time() + self._limits.read_timeout_s)
        try:
            async with silence:
                response = await self._transport.handle_async_request(request)
                silence.reschedule(None)
                notes.add("response.headers.received")
        except TimeoutError:
            if silence.expired():
                raise TransportFailure("read_timeout") from None
            raise
        try:
            if stream.revoke():
                # It answers no request of ours.
                raise TransportFailure("unsolicited_answer")
            body = await self._read(response, on_read)
        finally:
            await response.aclose()
        return Reply(response.status_code, response.headers, body, time.perf_counter() - stream.asked_at)

    async def _read(self, response: httpx.Response, on_read: Callable[[int], None]) -> bytes:
        # httpx types a response's stream for both worlds; an async transport's is the async one.
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in response.stream:
                size += len(chunk)
                if size > self._limits.max_response_bytes:
                    raise TransportFailure("response_too_large")
                chunks.append(chunk)
                on_read(len(chunk))
        except httpx.ReadTimeout:
            raise
        except httpx.HTTPError as error:
            raise TransportFailure("response_cut") from error
        return b"".join(chunks)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


# Why there was no connection, by the first type that is found among an error and its causes. The HTTP library's own
# types are of no use: it calls a refused connection a timeout.
_NO_CONNECTION: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ProxyError, "proxy"),
    (socket.gaierror, "dns"),
    (ssl.SSLError, "tls"),
    (TimeoutError, "connect_timeout"),
)


def _cause(error: Exception, notes: ConnectionNotes, stream: BodyStream) -> str:
    """Name what happened, as far as it can be told."""
    if isinstance(error, TimeoutError):
        return "total_timeout"
    if stream.refusal is not None:
        return EARLY_HEADERS
    if stream.was_asked and isinstance(error, httpx.ReadTimeout):
        return "read_timeout"
    if stream.was_asked and not isinstance(error, httpx.TransportError):
        return "response_invalid"
    if stream.was_asked or notes.is_connected:
        return "idle_connection_closed" if notes.is_reused else "connection_lost"
    errors = list(_with_causes(error))
    if (shortage := shortage_of(errors)) is not None:
        return shortage
    if notes.is_looking_up:
        return "dns"
    return next((name for kind, name in _NO_CONNECTION if any(isinstance(e, kind) for e in errors)), "connect")


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
