"""One vendor address: gets an exchange what it goes over, and writes its request. Decides nothing of what was sent."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from sidecar.transport.connect import cause_of
from sidecar.transport.exchange import Exchange, TransportFailure
from sidecar.transport.http1 import Connection
from sidecar.transport.pool import Pool
from sidecar.transport.shortage import DETAILS

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one vendor call, in seconds."""

    connect_timeout_s: float
    read_timeout_s: float
    total_timeout_s: float


class VendorClient:
    """Posts to one URL; how is a subclass' to say."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url = httpx.URL(url)
        self.limits = limits

    @property
    def url(self) -> str:
        """The vendor's address; it holds no secret."""
        return str(self._url)

    @property
    def host(self) -> str:
        """The vendor's host name."""
        return self._url.host

    @property
    def port(self) -> int:
        """The vendor's port."""
        return self._url.port or 443

    def take(self, exchange: Exchange) -> bool:
        """Give an exchange a connection that is there; false when there is none."""
        raise NotImplementedError

    async def connect(self, exchange: Exchange, headers: Mapping[str, str], size: int, *, within_s: float) -> None:
        """Give an exchange a connection, for a request with these headers and a body of `size` bytes.

        Raises `TransportFailure`, or `TimeoutError` when there was none `within_s`.
        """
        limit_s = self.limits.connect_timeout_s
        timeout = asyncio.timeout(min(within_s, limit_s))
        try:
            async with timeout:
                await self._connect(exchange, headers, size)
        except TransportFailure:
            raise
        except Exception as error:
            if timeout.expired() and within_s < limit_s:
                raise TimeoutError from None
            cause = cause_of(error, exchange)
            if cause in DETAILS:
                fields = {"kind": cause, "detail": DETAILS[cause], "host": self.host}
                _log.error("nothing was sent, by a shortage of our own", extra=fields)
            raise TransportFailure(cause) from error

    def ended_by(self, exchange: Exchange) -> str:
        """Return why nothing can be written for an exchange any more; empty while it can."""
        raise NotImplementedError

    def send(self, exchange: Exchange, headers: Mapping[str, str], body: bytes) -> None:
        """Write the request. Ask `ended_by` right before."""
        raise NotImplementedError

    def give_back(self, exchange: Exchange) -> None:
        """Take back what an exchange goes over that will not be written."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close every connection."""
        raise NotImplementedError

    async def _connect(self, exchange: Exchange, headers: Mapping[str, str], size: int) -> None:
        raise NotImplementedError


class PooledClient(VendorClient):
    """Posts over the connections of a pool."""

    def __init__(self, pool: Pool, url: str, limits: Limits) -> None:
        super().__init__(url, limits)
        self._pool = pool
        line = b"POST %b HTTP/1.1\r\nhost: %b\r\n" % (self._url.raw_path, self._url.netloc)
        self._line = line
        # The headers seldom change: their last bytes are kept.
        self._headers: Mapping[str, str] = {}
        self._head = line

    def take(self, exchange: Exchange) -> bool:
        """Give an exchange a connection that is there; false when there is none."""
        connection = self._pool.pick()
        if connection is None:
            return False
        connection.attach(exchange)
        return True

    def ended_by(self, exchange: Exchange) -> str:
        """Return why nothing may be written on its connection; empty while it is open, and has brought nothing."""
        connection = _connection_of(exchange)
        if connection.closed_by or not exchange.is_reused or connection.is_quiet:
            return connection.closed_by
        # It was quiet when it was picked. A new one may have session tickets to read.
        return "connection_lost"

    def send(self, exchange: Exchange, headers: Mapping[str, str], body: bytes) -> None:
        """Write the request."""
        if headers is not self._headers:
            lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
            self._headers, self._head = headers, self._line + lines.encode("latin-1")
        head = b"%bcontent-length: %d\r\n\r\n" % (self._head, len(body))
        _connection_of(exchange).send(exchange, head, body)

    def give_back(self, exchange: Exchange) -> None:
        """Take its connection back."""
        connection = _connection_of(exchange)
        exchange.wire = None
        connection.give_back()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def _connect(self, exchange: Exchange, headers: Mapping[str, str], size: int) -> None:
        (await self._pool.obtain(exchange)).attach(exchange)


def _connection_of(exchange: Exchange) -> Connection:
    assert isinstance(exchange.wire, Connection)  # noqa: S101  # it was attached
    return exchange.wire
