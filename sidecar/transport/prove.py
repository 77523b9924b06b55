"""Proves a vendor's address by a TLS handshake, and sends it nothing of HTTP: for the command `check`."""

import asyncio
import ssl
from urllib.parse import SplitResult, urlsplit


async def prove(url: str, *, tls: ssl.SSLContext, proxy: str | None, timeout_s: float) -> str | None:
    """Make a TLS handshake with the host of `url`, through its proxy if it has one.

    Returns what went wrong, in words; None when nothing did.
    """
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(timeout_s):
            if proxy is None:
                _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=tls)
            else:
                writer = await _connect_through(proxy, parts)
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


async def _connect_through(proxy: str, url: SplitResult) -> asyncio.StreamWriter:
    """Have a proxy connect us with an address (RFC 9110, 9.3.6)."""
    at = urlsplit(proxy)
    reader, writer = await asyncio.open_connection(at.hostname, at.port or 80)
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
