"""Proves a vendor's address by a TLS handshake, and sends it nothing of HTTP: for the command `check`."""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from sidecar.transport.resolve import Address, Resolver


async def prove(
    url: str, *, tls: ssl.SSLContext, proxy: str | None, timeout_s: float, resolver: Resolver
) -> str | None:
    """Make a TLS handshake with the host of `url`, through its proxy if it has one.

    The lookup of the name, and what follows it, may each take `timeout_s`.

    Returns what went wrong, in words; None when nothing did.
    """
    parts = urlsplit(url)
    at, default_port = (parts, 443) if proxy is None else (urlsplit(proxy), 80)
    try:
        addresses = await resolver.lookup(at.hostname or "", at.port or default_port, timeout_s)
        async with asyncio.timeout(timeout_s):
            if proxy is None:
                _, writer = await _connect(addresses, ssl=tls, server_hostname=parts.hostname)
            else:
                writer = await _connect_through(addresses, parts)
                await writer.start_tls(tls, server_hostname=parts.hostname)
        writer.close()
        await writer.wait_closed()
    except TimeoutError:
        return f"no TLS handshake within {timeout_s:g} s"
    except ssl.SSLCertVerificationError as error:
        return f"certificate refused: {error.verify_message}"
    except OSError as error:
        return error.strerror or str(error)
    return None


async def _connect(addresses: Iterable[Address], **tls: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that takes us."""
    failure = OSError("the host has no address")
    for address in addresses:
        try:
            return await asyncio.open_connection(address.host, address.port, **tls)
        except OSError as error:
            failure = error
    raise failure


async def _connect_through(proxy: Iterable[Address], url: SplitResult) -> asyncio.StreamWriter:
    """Have a proxy connect us with an address (RFC 9110, 9.3.6)."""
    reader, writer = await _connect(proxy)
    target = url.netloc if url.port else f"{url.netloc}:443"
    writer.write(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode())
    try:
        status = (await reader.readuntil(b"\r\n\r\n")).split(maxsplit=2)[1:2]
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        status = []
    if status != [b"200"]:
        writer.close()
        raise OSError(f"the proxy refused: {b''.join(status).decode() or 'no answer to CONNECT'}")
    return writer
