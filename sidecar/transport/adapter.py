"""httpx and the pool in each other's place.

`HttpxClient` puts any httpx transport (`httpx.MockTransport` for instance) where the pool is. `PoolTransport` gives
httpx the pool's connections, for calls that are no hot push. Either way the same `Exchange` tells what was written.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from sidecar.transport.client import Limits, VendorClient
from sidecar.transport.connect import cause_of
from sidecar.transport.exchange import Exchange, TransportFailure
from sidecar.transport.pool import Pool
from sidecar.transport.reply import Reply

# The wait of a request that names no limit of its own.
_A_DAY_S = 86_400.0


class RevokedError(Exception):
    """The bytes were asked for after it was said that they are not sent."""


class HttpxClient(VendorClient):
    """Posts through an httpx transport. An exchange counts as connected when its body is asked for.

    What is read of an answer is the transport's affair: no limit is set here.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, url: str, limits: Limits) -> None:
        super().__init__(url, limits)
        self._transport = transport
        # httpx's names; the wait for a connection as a whole (pool, DNS, TCP, TLS) has the limit of the connect.
        self._timeouts = {
            "connect": limits.connect_timeout_s,
            "pool": limits.connect_timeout_s,
            "read": limits.read_timeout_s,
            "write": limits.read_timeout_s,
        }

    def take(self, exchange: Exchange) -> bool:  # as the pool has it
        """Nothing is known of connections that are there."""
        return False

    def ended_by(self, exchange: Exchange) -> str:
        """Return why the transport will not send it; empty while it waits for the body."""
        return _gate_of(exchange).ended_by

    def send(self, exchange: Exchange, headers: Mapping[str, str], body: bytes) -> None:  # sent already
        """Give the body out."""
        exchange.write()
        _gate_of(exchange).open(body)

    def give_back(self, exchange: Exchange) -> None:
        """End the request: its body is not given out any more."""
        _gate_of(exchange).break_off("closed")

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()

    async def _connect(self, exchange: Exchange, headers: Mapping[str, str], size: int) -> None:
        gate = _Gate(exchange)
        request = httpx.Request(
            "POST",
            self._url,
            headers={**headers, "content-length": str(size)},
            stream=gate,
            extensions={"timeout": self._timeouts},
        )
        gate.run = asyncio.create_task(self._run(gate, request))
        try:
            await asyncio.wait({gate.run, gate.asked}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            gate.break_off("cancelled")
            raise
        if not gate.asked.done():
            raise gate.failure or TransportFailure(gate.ended_by)
        exchange.wire, exchange.is_connected = gate, True

    async def _run(self, gate: "_Gate", request: httpx.Request) -> None:
        exchange = gate.exchange
        try:
            response = await self._transport.handle_async_request(request)
            try:
                reply = await _read(response, exchange) if exchange.is_written else None
            finally:
                await response.aclose()
            if reply is None:
                gate.end("unsolicited_answer")
            else:
                exchange.end(reply)
        except asyncio.CancelledError:
            gate.end("cancelled")
        except Exception as error:  # noqa: BLE001  # whatever it is, it is an end
            gate.failure = error.with_traceback(None)
            if exchange.is_written:
                gate.end("read_timeout" if isinstance(error, httpx.ReadTimeout) else "connection_lost")
            else:
                gate.end("connection_lost" if gate.asked.done() else cause_of(error, exchange))


async def _read(response: httpx.Response, exchange: Exchange) -> Reply:
    loop = asyncio.get_running_loop()
    exchange.heard_at, exchange.head_at_ns = loop.time(), time.time_ns()
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101  # of an async transport
    chunks = []
    async for chunk in response.stream:
        chunks.append(chunk)
        exchange.heard_at = loop.time()
        if exchange.on_read is not None:
            exchange.on_read(len(chunk))
    elapsed_s = time.perf_counter() - exchange.written_at
    return Reply(response.status_code, response.headers.raw, b"".join(chunks), elapsed_s)


class _Gate(httpx.AsyncByteStream):
    """The body of a request, given out once, when it is opened."""

    def __init__(self, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        self.exchange = exchange
        self.asked: asyncio.Future[None] = loop.create_future()
        self._body: asyncio.Future[bytes] = loop.create_future()
        self.run: asyncio.Task[None] | None = None
        self.failure: Exception | None = None
        self._is_given = False
        self.ended_by = ""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Wait until it may leave."""
        if self.ended_by:
            raise RevokedError
        if not self.asked.done():
            self.asked.set_result(None)
        body = await self._body
        if not self._is_given:
            # A second pass finds it empty, so that no transport can send it twice.
            self._is_given = True
            yield body

    def open(self, body: bytes) -> None:
        """Let the body out."""
        self._body.set_result(body)

    def end(self, cause: str) -> None:
        """Give nothing out from now on."""
        if not self.ended_by:
            self.ended_by = cause
            if not self._body.done():
                self._body.set_exception(RevokedError())
                self._body.exception()  # who asks for it is told; else nobody need know
        if self.exchange.is_written:
            self.exchange.end(None, cause)

    def break_off(self, cause: str) -> None:
        """End it, and the transport's work on it."""
        self.end(cause)
        if self.run is not None:
            self.run.cancel()


def _gate_of(exchange: Exchange) -> _Gate:
    assert isinstance(exchange.wire, _Gate)  # noqa: S101  # it was connected
    return exchange.wire


class PoolTransport(httpx.AsyncBaseTransport):
    """The connections of a pool as an httpx transport. A request's extension `exchange` may name its `Exchange`.

    The connection is the pool's: of the URL only the path is used. Limits are those of httpx (`connect`, `read`), and
    what httpx raises says what its documentation says; whether the request was written is the exchange's to say.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make one exchange; the answer is read whole."""
        exchange: Exchange = request.extensions.get("exchange") or Exchange()
        limits: Mapping[str, Any] = request.extensions.get("timeout") or {}
        assert isinstance(request.stream, httpx.AsyncByteStream)  # noqa: S101  # of an async client
        body = b"".join([chunk async for chunk in request.stream])
        lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
        lines += [b"%b: %b" % pair for pair in request.headers.raw if pair[0].lower() != b"transfer-encoding"]
        if "content-length" not in request.headers and body:
            lines.append(b"content-length: %d" % len(body))
        try:
            async with asyncio.timeout(limits.get("connect")):
                connection = await self._pool.obtain(exchange)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time") from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        connection.attach(exchange)
        if connection.closed_by:
            raise httpx.ConnectError("the connection ended before the request was written")
        connection.send(exchange, b"\r\n".join([*lines, b"", b""]), body)
        loop = asyncio.get_running_loop()
        until = loop.time() + _A_DAY_S
        try:
            await exchange.wait(loop, due_at=until, silence_s=limits.get("read") or _A_DAY_S, total_at=until)
        except asyncio.CancelledError:
            if exchange.wire is not None:  # else it is over, and the connection another's
                exchange.wire.break_off("cancelled")
            raise
        if exchange.reply is None:
            kind = httpx.ReadTimeout if exchange.cause == "read_timeout" else httpx.RemoteProtocolError
            raise kind(exchange.cause.replace("_", " "))
        reply = exchange.reply
        return httpx.Response(reply.status, headers=list(reply.given), content=reply.body)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
