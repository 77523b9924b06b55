"""The transport under test, as the delivery uses it, and what one call through it came to."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sidecar.transport.body import BodyStream
from sidecar.transport.client import Limits, TransportFailure, VendorClient
from sidecar.transport.notes import ConnectionNotes
from sidecar.transport.pool import build_tls_context, build_transport
from sidecar.transport.reply import Reply
from sidecar.transport.resolve import Resolver

BODY = b'{"audience_type":"token"}'
HEADERS = {
    "authorization": "Basic YXBwOnNlY3JldA==",
    "content-type": "application/json",
    "accept-encoding": "identity",
}


async def allow() -> None:
    """Let the body go."""


@dataclass(frozen=True, slots=True)
class Result:
    """`cause` is None when there is a reply."""

    reply: Reply | None
    cause: str | None
    was_asked: bool
    is_reused: bool
    events: tuple[str, ...]


class RawClient:
    """A client of `https://HOST:PORT/prefix/v3/push/app`; an async context manager."""

    def __init__(
        self,
        port: int,
        ca_file: Path | None,
        *,
        host: str = "127.0.0.1",
        path: str = "/v3/push/app",
        proxy: str | None = None,
        max_connections: int = 5,
        keepalive_idle_s: float = 60.0,
        connect_timeout_s: float = 30.0,
        read_timeout_s: float = 30.0,
        total_timeout_s: float = 60.0,
        max_response_bytes: int = 100_000,
        resolver: Resolver | None = None,
    ) -> None:
        self.waits_s: list[float] = []
        self.connects_s: list[float] = []
        self.transport = build_transport(
            max_connections=max_connections,
            keepalive_idle_s=keepalive_idle_s,
            tls=build_tls_context(ca_file),
            resolver=resolver or Resolver(),
            lookup_timeout_s=connect_timeout_s,
            proxy=proxy,
            on_waited=self.waits_s.append,
            on_connected=self.connects_s.append,
        )
        limits = Limits(connect_timeout_s, read_timeout_s, total_timeout_s, max_response_bytes)
        self._client = VendorClient(self.transport, f"https://{host}:{port}{path}", limits)

    async def __aenter__(self) -> Self:
        """Nothing is opened before the first push."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._client.aclose()

    def start(
        self, before_first_byte: Callable[[], Awaitable[None]] = allow, body: bytes = BODY
    ) -> "asyncio.Task[Result]":
        """Start a push in a task of its own."""
        return asyncio.create_task(self.push(before_first_byte, body))

    async def push(self, before_first_byte: Callable[[], Awaitable[None]] = allow, body: bytes = BODY) -> Result:
        """Make one push."""
        stream, notes = BodyStream(body, before_first_byte), ConnectionNotes()
        reply = cause = None
        try:
            reply = await self._client.post(HEADERS, stream, len(body), notes, lambda _: None)
        except TransportFailure as failure:
            cause = failure.cause
        return Result(reply, cause, stream.was_asked, notes.is_reused, tuple(name for name, _ in notes.events))
