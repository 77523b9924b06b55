"""Makes connections: lookup of the name, TCP, a proxy's CONNECT, TLS; each is noted for the trace.

Nothing is sent to the vendor here but its TLS handshake.
"""

import asyncio
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar, cast
from urllib.parse import unquote, urlsplit

import httpx

from sidecar.transport.exchange import Exchange
from sidecar.transport.resolve import Address, Resolver
from sidecar.transport.shortage import shortage_of

P = TypeVar("P", bound=asyncio.Protocol)

# The next address is tried when the one before has not answered for so long (RFC 8305, 5).
_NEXT_ADDRESS_S = 0.25
_NO_LIMIT_S = 86_400.0
_MAX_PROXY_HEAD_BYTES = 64 * 1024
_PROXY_ANSWER = b"HTTP/1."
_SUCCESS = re.compile(rb"2\d\d")


class ProxyRefusedError(OSError):
    """The proxy did not connect us with the vendor; `status` is its answer's."""

    def __init__(self, status: str) -> None:
        super().__init__(f"the proxy refused: {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy."""

    host: str
    port: int
    credentials: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: str) -> "Proxy":
        """Read `http://user:password@host:port`."""
        parts = urlsplit(url)
        credentials = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            credentials = b64encode(pair.encode()).decode("ascii")
        return cls(parts.hostname or "", parts.port or 80, credentials)


class Connector:
    """Connects with the host of a URL over TLS, directly or through the proxy of another URL.

    A lookup may take `lookup_timeout_s`. `tls` may be exchanged: it is for the connections that are made from then on.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext,
        resolver: Resolver,
        lookup_timeout_s: float,
        proxy: str | None = None,
    ) -> None:
        parts = httpx.URL(url)
        self._host = parts.raw_host.decode("ascii")
        self._port = parts.port or 443
        self.tls = tls
        self._resolver = resolver
        self._lookup_timeout_s = lookup_timeout_s
        self._proxy = None if proxy is None else Proxy.of(proxy)

    async def connect(self, exchange: Exchange, build: Callable[[asyncio.Transport], P]) -> P:
        """Make a connection, for as long as it takes, and give it to what `build` makes of what is below TLS.

        Raises what the system, TLS or the proxy says against it: see `cause_of`.
        """
        exchange.note("connect.start")
        opening = await _reach(await self.look_up(exchange))
        try:
            if self._proxy is not None:
                await self._tunnel(opening, self._proxy)
            exchange.note("tls.start")
            protocol = await self._encrypt(opening, build)
        except BaseException:
            opening.transport.abort()
            raise
        exchange.note("tls.end")
        exchange.note("connect.end")
        return protocol

    async def look_up(self, exchange: Exchange) -> list[Address]:
        """Return the addresses to connect with: the proxy's, where there is one.

        Raises `OSError` when there are none.
        """
        host, port = (self._host, self._port) if self._proxy is None else (self._proxy.host, self._proxy.port)
        addresses = self._resolver.known(host, port)
        if addresses is None:
            exchange.note("dns.start")
            exchange.is_looking_up = True
            addresses = await self._resolver.lookup(host, port, self._lookup_timeout_s)
            exchange.is_looking_up = False
            exchange.note("dns.end")
        return addresses

    async def _tunnel(self, opening: "_Opening", proxy: Proxy) -> None:
        """Have a proxy connect us with the host (RFC 9110, 9.3.6)."""
        target = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        head = f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n"
        if proxy.credentials:
            head += f"proxy-authorization: Basic {proxy.credentials}\r\n"
        opening.transport.write(f"{head}\r\n".encode("latin-1"))
        while b"\r\n\r\n" not in opening.data:
            if opening.is_lost:
                raise ConnectionResetError("the proxy ended the connection without an answer")
            await opening.more()
            is_http = opening.data[: len(_PROXY_ANSWER)] == _PROXY_ANSWER[: len(opening.data)]
            if not is_http or len(opening.data) > _MAX_PROXY_HEAD_BYTES:
                raise ConnectionError("the proxy gave no answer in HTTP")
        status = opening.data.split(b"\r\n", 1)[0].split(b" ")[1:2]
        if not (status and _SUCCESS.fullmatch(status[0])):
            raise ProxyRefusedError(b"".join(status).decode("latin-1"))
        if not opening.data.endswith(b"\r\n\r\n"):
            raise ConnectionError("the proxy sent more than its answer")
        opening.data = b""

    async def _encrypt(self, opening: "_Opening", build: Callable[[asyncio.Transport], P]) -> P:
        if opening.is_lost:
            raise ConnectionResetError("the connection ended before the TLS handshake")
        if opening.data:
            raise ssl.SSLError("the host spoke before the TLS handshake")
        # Not `create_connection(sock=...)`: when its handshake fails, uvloop closes the descriptor under the socket
        # object, which closes it again later, when it is another's.
        protocol = build(opening.transport)
        transport = await asyncio.get_running_loop().start_tls(
            opening.transport,
            protocol,
            self.tls,
            server_hostname=self._host,
            # Whoever asks for a connection has a limit of its own.
            ssl_handshake_timeout=_NO_LIMIT_S,
        )
        if transport is None:
            raise ConnectionResetError("the connection ended with the TLS handshake")
        protocol.connection_made(transport)
        return protocol


class _Opening(asyncio.Protocol):
    """A connection before TLS: `data` is what a proxy has sent."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.data = b""
        self.is_lost = False
        self._waiter: asyncio.Future[None] | None = None

    async def more(self) -> None:
        """Wait for more data, or the end."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Keep what comes."""
        self.data += data
        self._wake()

    def eof_received(self) -> bool:
        """Read the end."""
        self.is_lost = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.is_lost = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def _reach(addresses: Sequence[Address]) -> _Opening:
    """Connect to the first address that takes us; a slow one does not keep the next from being tried (RFC 8305).

    Raises the `OSError` of the first that failed.
    """
    if len(addresses) == 1:
        return await _open(addresses[0])
    loop = asyncio.get_running_loop()
    tries: list[asyncio.Task[_Opening]] = []
    won: _Opening | None = None
    try:
        for address in addresses:
            tries.append(asyncio.create_task(_open(address)))
            until = loop.time() + _NEXT_ADDRESS_S
            while not tries[-1].done() and (left_s := until - loop.time()) > 0:
                running = [each for each in tries if not each.done()]
                await asyncio.wait(running, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if (won := _won(tries)) is not None:
                    return won
        while running := [each for each in tries if not each.done()]:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            if (won := _won(tries)) is not None:
                return won
        failure = tries[0].exception()
        assert failure is not None  # noqa: S101  # nobody won
        raise failure
    finally:
        for each in tries:
            each.add_done_callback(partial(_let_go, won))
            each.cancel()


async def _open(address: Address) -> _Opening:
    loop = asyncio.get_running_loop()
    _, opening = await loop.create_connection(_Opening, address.host, address.port, family=address.family)
    return opening


def _won(tries: Iterable["asyncio.Task[_Opening]"]) -> _Opening | None:
    return next((each.result() for each in tries if each.done() and each.exception() is None), None)


def _let_go(won: _Opening | None, task: "asyncio.Task[_Opening]") -> None:
    """Close what came too late."""
    if not task.cancelled() and task.exception() is None and task.result() is not won:
        task.result().transport.abort()


# Why there was no connection, by the first type that is found among an error and its causes.
_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (ProxyRefusedError, "proxy"),
    (socket.gaierror, "dns"),
    (ssl.SSLError, "tls"),
    (TimeoutError, "connect_timeout"),
)


def cause_of(error: BaseException, exchange: Exchange) -> str:
    """Name why there was no connection, as far as it can be told."""
    errors = list(_with_causes(error))
    if (shortage := shortage_of(errors)) is not None:
        return shortage
    if exchange.is_looking_up:
        return "dns"
    return next((name for kind, name in _CAUSES if any(isinstance(each, kind) for each in errors)), "connect")


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
