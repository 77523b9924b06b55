"""One vendor address: builds the HTTP request, sends it through the pool, reads the answer whole, within the limits.

Exceptions of the HTTP library end here. Whether the push was sent is not decided here but by `BodyStream`.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from sidecar.transport.body import BodyStream
from sidecar.transport.notes import ConnectionNotes, current_notes
from sidecar.transport.reply import Reply


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
    def host(self) -> str:
        """The vendor's host name."""
        return self._url.host

    @property
    def port(self) -> int:
        """The vendor's port."""
        return self._url.port or 443

    async def post(self, headers: Mapping[str, str], stream: BodyStream, size: int, notes: ConnectionNotes) -> Reply:
        """Post a body of `size` bytes and read the answer; `notes` is filled with what the pool did.

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
        try:
            async with asyncio.timeout(self._limits.total_timeout_s):
                return await self._exchange(request, stream)
        except TransportFailure:
            raise
        except Exception as error:
            raise TransportFailure(_cause(error, notes, was_asked=stream.was_asked)) from error

    async def _exchange(self, request: httpx.Request, stream: BodyStream) -> Reply:
        response = await self._transport.handle_async_request(request)
        try:
            body = await self._read(response)
        finally:
            await response.aclose()
        headers = {name.lower(): value for name, value in response.headers.items()}
        elapsed_s = time.perf_counter() - stream.asked_at if stream.was_asked else 0.0
        return Reply(response.status_code, headers, body, elapsed_s)

    async def _read(self, response: httpx.Response) -> bytes:
        # httpx types a response's stream for both worlds; an async transport's is the async one.
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.stream:
            size += len(chunk)
            if size > self._limits.max_response_bytes:
                raise TransportFailure("response_too_large")
            chunks.append(chunk)
        return b"".join(chunks)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


def _cause(error: Exception, notes: ConnectionNotes, *, was_asked: bool) -> str:
    """Name what happened, as far as it can be told."""
    if isinstance(error, httpx.ReadTimeout):
        return "read_timeout"
    if isinstance(error, TimeoutError):
        return "total_timeout"
    if not was_asked:
        return "connect_timeout" if isinstance(error, httpx.TimeoutException) else "connect"
    return "idle_connection_closed" if notes.is_reused else "connection_lost"
