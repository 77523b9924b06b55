"""Proves a vendor's address by a TLS handshake, and sends it nothing of HTTP: for the command `check`."""

import asyncio
import ssl
from typing import cast

from sidecar.transport.connect import Connector
from sidecar.transport.exchange import Exchange
from sidecar.transport.resolve import Resolver
from sidecar.transport.tls import has_ticket, is_client_alert, is_tls13

# In TLS 1.3 the vendor looks at our certificate when our half of the handshake is done. It is waited for a sign that
# it has taken it, at most for so long; most vendors give one at once.
_VERDICT_S = 1.0
# The event loop does not tell of a session ticket.
_LOOK_EVERY_S = 0.01


async def prove(
    url: str,
    *,
    tls: ssl.SSLContext,
    shows_certificate: bool = False,
    proxy: str | None,
    timeout_s: float,
    resolver: Resolver,
) -> str | None:
    """Make a TLS handshake with the host of `url`, through its proxy if it has one.

    `shows_certificate`: `tls` has a client certificate. The lookup of the name, and what follows it, may each take
    `timeout_s`.

    Returns what went wrong, in words; None when nothing did.
    """
    connector = Connector(url, tls=tls, resolver=resolver, lookup_timeout_s=timeout_s, proxy=proxy)
    exchange = Exchange()
    try:
        await connector.look_up(exchange)
        until = asyncio.get_running_loop().time() + timeout_s
        async with asyncio.timeout_at(until):
            probe = await connector.connect(exchange, lambda _: _Probe())
        await probe.settle(until)
    except TimeoutError:
        return f"no TLS handshake within {timeout_s:g} s"
    except ssl.SSLCertVerificationError as error:
        return f"certificate refused: {error.verify_message}"
    except ssl.SSLError as error:
        if not is_client_alert(error):
            return error.strerror or str(error)
        if shows_certificate:
            return f"the vendor refuses the certificate of client_cert_file: {_alert_of(error)}"
        return f"the vendor demands a client certificate: set client_cert_file ({_alert_of(error)})"
    except OSError as error:
        return error.strerror or str(error)
    return None


class _Probe(asyncio.Protocol):
    """A connection with nothing to send."""

    def __init__(self) -> None:
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport

    async def settle(self, until: float) -> None:
        """Wait for the vendor's verdict of our half of the handshake, then close.

        Raises `OSError` when it was against us.
        """
        tls: ssl.SSLObject = self._transport.get_extra_info("ssl_object")
        loop = asyncio.get_running_loop()
        # In TLS 1.2 the handshake is over only when the vendor has taken our half.
        until = min(until, loop.time() + _VERDICT_S) if is_tls13(tls) else 0.0
        try:
            while not self._lost.done() and not has_ticket(tls) and loop.time() < until:
                await asyncio.wait({self._lost}, timeout=_LOOK_EVERY_S)
            if self._lost.done():
                self._lost.result()
        finally:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # of TLS: a type of the event loop's own

    def eof_received(self) -> bool:
        """Read the end."""
        self._end(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._end(exc)

    def _end(self, error: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_exception(
                error or ConnectionResetError("the vendor ended the connection after the handshake")
            )
            self._lost.exception()  # who asks is told; after the verdict nobody does


def _alert_of(error: ssl.SSLError) -> str:
    """Return the alert in words: OpenSSL calls it such as `TLSV1_ALERT_UNKNOWN_CA`."""
    return error.reason.partition("_ALERT_")[2].replace("_", " ").lower()
