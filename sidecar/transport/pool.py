"""Builds the transport: `httpx-aiohttp` behind the `httpx.AsyncBaseTransport` interface, with a keep-alive pool.

httpx's own transport is never used: it loses pool places for good when requests are cancelled. Another transport is put
in place here, and nowhere else.
"""

import select
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport

from sidecar.transport.notes import ConnectionNotes, current_notes
from sidecar.transport.resolve import Resolver

Observe = Callable[[float], None]


class PooledTransport(AiohttpTransport):
    """A transport that tells how many connections it has."""

    def __init__(self, connector: "_Connector", **rest: Any) -> None:
        super().__init__(**rest)
        self._connector = connector

    @property
    def active(self) -> int:
        """Connections in use, those that are being made included."""
        return self._connector.active

    @property
    def idle(self) -> int:
        """Connections that wait for their next use."""
        return self._connector.idle


def build_transport(
    *,
    max_connections: int,
    keepalive_idle_s: float,
    tls: ssl.SSLContext,
    resolver: Resolver,
    lookup_timeout_s: float,
    proxy: str | None = None,
    on_waited: Observe = lambda _: None,
    on_connected: Observe = lambda _: None,
) -> PooledTransport:
    """Build the pooled transport of one app. Call it on the event loop that will use it.

    `tls` comes from `build_tls_context`. No cookies, no redirects, no transparent decompression. `on_waited` and
    `on_connected` are told how many seconds a wait for a connection, and the making of one, took.
    """
    proxy_server = _proxy(proxy) if proxy else None
    connector = _Connector(
        limit=max_connections,
        keepalive_timeout=keepalive_idle_s,
        ssl=tls,
        resolver=_Lookups(resolver, lookup_timeout_s),
        # The resolver keeps what it finds: a second memory would hide a change, and the age of an address.
        use_dns_cache=False,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        response_class=_Response,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        trace_configs=[_trace_config(on_waited, on_connected)],
        trust_env=False,
    )
    return PooledTransport(connector, verify=tls, trust_env=False, client=session, proxy=proxy_server)


def build_tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Build what verifies a vendor: against `ca_file`, or the system's store.

    Raises `OSError` (`ssl.SSLError` is one) when `ca_file` cannot be used.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslobject_class = _NotedTls
    return context


def _proxy(url: str) -> httpx.Proxy:
    proxy = httpx.Proxy(url)
    if proxy.raw_auth is None:
        return proxy
    # As a header: httpx-aiohttp would pass the credentials in a way that aiohttp has deprecated.
    credentials = b64encode(b":".join(proxy.raw_auth)).decode("ascii")
    return httpx.Proxy(proxy.url, headers={"proxy-authorization": f"Basic {credentials}"})


class _NotedTls(ssl.SSLObject):
    """Notes when the handshake begins and ends: what is before is TCP. The HTTP library has no hook between the two."""

    _notes: ConnectionNotes | None = None

    def do_handshake(self) -> None:
        """Take a step of the handshake; it is called anew for each piece that comes from the peer."""
        if self._notes is None:
            # A connection that belongs to no push (`push-sidecar check`) has notes that nobody reads.
            self._notes = current_notes.get(ConnectionNotes())
            self._notes.add("tls.start")
        super().do_handshake()
        self._notes.add("tls.end")


class _Connector(aiohttp.TCPConnector):
    """A pool that hands out no idle connection with something to read.

    Between two answers there is nothing to read but the connection's end, or an answer to no request of ours: sent on
    such a connection, a push would be lost, or would be given that answer as its own.
    """

    @property
    def active(self) -> int:
        """Connections in use, those that are being made included."""
        return len(self._acquired)

    @property
    def idle(self) -> int:
        """Connections that wait for their next use."""
        return sum(map(len, self._conns.values()))

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        """Take a connection from the pool, or make one."""
        notes = current_notes.get()
        while True:
            connection = await super().connect(*args, **kwargs)
            if not notes.is_reused or _is_quiet(connection):
                notes.is_connected = True
                return connection
            connection.close()
            notes.is_reused = False


class _Lookups(AbstractResolver):
    """The resolver in aiohttp's form; it notes the lookups that are waited for."""

    def __init__(self, resolver: Resolver, timeout_s: float) -> None:
        self._resolver = resolver
        self._timeout_s = timeout_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name, of either family."""
        addresses = self._resolver.known(host, port)
        if addresses is None:
            notes = current_notes.get()
            notes.add("dns.start")
            notes.is_looking_up = True
            addresses = await self._resolver.lookup(host, port, self._timeout_s)
            notes.is_looking_up = False
            notes.add("dns.end")
        return [
            ResolveResult(hostname=host, host=each.host, port=port, family=each.family, proto=0, flags=0)
            for each in addresses
        ]

    async def close(self) -> None:
        """Nothing: the resolver is everybody's."""


class _Response(aiohttp.ClientResponse):
    """An answer without its reason phrase: it says nothing, and httpx-aiohttp fails on one that is not UTF-8."""

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Read the status and the headers."""
        await super().start(connection)
        self.reason = ""
        return self


def _is_quiet(connection: aiohttp.connector.Connection) -> bool:
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or protocol.should_close:
        return False
    # What has reached the kernel, but not yet the event loop.
    pending = select.poll()
    pending.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return not pending.poll(0)


def _trace_config(on_waited: Observe, on_connected: Observe) -> aiohttp.TraceConfig:
    config = aiohttp.TraceConfig()
    config.on_connection_queued_start.append(_note("pool.wait.start"))
    config.on_connection_queued_start.append(_start)
    config.on_connection_queued_end.append(_note("pool.wait.end"))
    config.on_connection_queued_end.append(_tell(on_waited))
    config.on_connection_create_start.append(_note("connect.start"))
    config.on_connection_create_start.append(_start)
    config.on_connection_create_end.append(_note("connect.end"))
    config.on_connection_create_end.append(_tell(on_connected))
    config.on_connection_reuseconn.append(_note_reuse)
    config.freeze()
    return config


def _note(name: str) -> Callable[..., Any]:
    async def add(_session: aiohttp.ClientSession, _context: SimpleNamespace, _params: object) -> None:
        current_notes.get().add(name)

    return add


async def _start(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.started = time.perf_counter()


def _tell(observe: Observe) -> Callable[..., Any]:
    async def tell(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        observe(time.perf_counter() - context.started)

    return tell


async def _note_reuse(_session: aiohttp.ClientSession, _context: SimpleNamespace, _params: object) -> None:
    notes = current_notes.get()
    notes.is_reused = True
