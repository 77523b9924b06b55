"""The listening socket, its TLS and its connections: open, refuse for a while, open again on the same port.

Must not live here: what is answered.
"""

import asyncio
import itertools
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

_BACKLOG = 1024
_STOP_PATIENCE_S = 0.1
_SETTLE_S = 0.005
_MAX_BODY_BYTES = 8 * 1024 * 1024

_LOGGER = logging.getLogger(__name__)


def _is_our_mistake(line: logging.LogRecord) -> bool:
    """Say whether aiohttp reports more than a request that is not HTTP, whose bytes would be in the line."""
    error = line.exc_info[1] if line.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


_LOGGER.addFilter(_is_our_mistake)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class CountingServer(web.Server):
    """aiohttp's server, which also numbers its connections, from 1, and can drop them."""

    def __init__(self, handler: Handler, *, keepalive_timeout_s: float) -> None:
        super().__init__(
            self._handle,
            request_factory=_build_request,
            handler_cancellation=True,
            access_log=None,
            logger=_LOGGER,
            auto_decompress=False,  # a vendor decides about content codings
            keepalive_timeout=keepalive_timeout_s,
        )
        self._handler = handler
        self._open: dict[RequestHandler, tuple[int, asyncio.Transport]] = {}
        self._busy: set[RequestHandler] = set()
        self._next = itertools.count(1)

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        self._busy.add(http.protocol)
        try:
            return await self._handler(http)
        finally:
            self._busy.discard(http.protocol)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Give the new connection its number."""
        self._open[handler] = (next(self._next), transport)
        super().connection_made(handler, transport)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget the connection."""
        self._open.pop(handler, None)
        super().connection_lost(handler, exc)

    def number_of(self, http: web.BaseRequest) -> int:
        """Return the number of the connection on which a request came, 0 when it is already gone."""
        known = self._open.get(http.protocol)
        return 0 if known is None else known[0]

    def drop_connections(self) -> None:
        """End idle connections at once and busy ones after their answer."""
        for handler, (_, transport) in list(self._open.items()):
            if handler in self._busy:
                handler.close()
            else:
                transport.abort()


class Listener:
    """A listener on one address, which keeps its port while it refuses connections."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self._host = host
        self._context = context
        self._listening: asyncio.Server | None = None
        self._server: CountingServer | None = None
        self._reopening: asyncio.Task[None] | None = None
        self.port = port

    async def open(self, server: CountingServer) -> None:
        """Listen; `port` is the real one afterwards."""
        self._server = server
        await self._listen()

    async def _listen(self) -> None:
        if self._listening is not None or self._server is None:
            return
        held = socket.create_server(
            (self._host, self.port),
            family=socket.AF_INET6 if ":" in self._host else socket.AF_INET,
            backlog=_BACKLOG,
        )
        self.port = int(held.getsockname()[1])
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._server, sock=held, ssl=self._context, backlog=_BACKLOG)

    async def refuse(self, seconds: float | None, *, drop_connections: bool) -> None:
        """Refuse connections for a while (None: until `accept`); open ones may be dropped when idle."""
        await self._stop_reopening()
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if drop_connections and self._server is not None:
            self._server.drop_connections()
            await asyncio.sleep(_SETTLE_S)  # so that a client on this loop has seen it
        if seconds is not None:
            self._reopening = asyncio.create_task(self._reopen_after(seconds))

    async def accept(self) -> None:
        """Accept connections again, now."""
        await self._stop_reopening()
        await self._listen()

    async def _reopen_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._listen()

    async def _stop_reopening(self) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.wait({self._reopening})
            self._reopening = None

    async def close(self) -> None:
        """Stop listening and end every connection, busy ones after a moment's patience."""
        await self.refuse(None, drop_connections=True)
        if self._server is not None:
            await self._server.shutdown(_STOP_PATIENCE_S)


def _build_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY_BYTES)
