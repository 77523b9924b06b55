"""The transport under test, as the delivery uses it, and what one call through it came to."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sidecar.delivery.attempt import Attempt, Route
from sidecar.delivery.breaker import Breaker
from sidecar.delivery.outgoing import Outgoing
from sidecar.delivery.pacing import Pacer
from sidecar.errors import NotSent, OutcomeUnknown
from sidecar.stores.quota_memory import MemoryCounter
from sidecar.telemetry import names
from sidecar.telemetry.metrics import Metrics
from sidecar.transport.answer import AnswerLimits
from sidecar.transport.client import Limits, PooledClient
from sidecar.transport.connect import Connector
from sidecar.transport.pool import Pool
from sidecar.transport.reply import Reply
from sidecar.transport.resolve import Resolver
from sidecar.transport.tls import build_tls_context, show_certificate
from tests.support.certificates import Leaf
from tests.support.fake_vendor import Caller

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
    """A client of `https://HOST:PORT/prefix/v3/push/app`; an async context manager.

    `shown` is its certificate, for a vendor that demands one.
    """

    def __init__(
        self,
        port: int,
        ca_file: Path | None,
        *,
        shown: Leaf | None = None,
        host: str = "127.0.0.1",
        path: str = "/v3/push/app",
        proxy: str | None = None,
        max_connections: int = 5,
        keepalive_idle_s: float = 60.0,
        connect_timeout_s: float = 30.0,
        read_timeout_s: float = 30.0,
        total_timeout_s: float = 60.0,
        max_response_bytes: int = 100_000,
        max_head_bytes: int = 65_536,
        max_headers: int = 1000,
        resolver: Resolver | None = None,
    ) -> None:
        self.waits_s: list[float] = []
        self.connects_s: list[float] = []
        url = f"https://{host}:{port}{path}"
        tls = build_tls_context(ca_file)
        if shown is not None:
            show_certificate(tls, shown.cert_file, shown.key_file)
        connector = Connector(
            url,
            tls=tls,
            resolver=resolver or Resolver(),
            lookup_timeout_s=connect_timeout_s,
            proxy=proxy,
        )
        self.pool = Pool(
            connector,
            limits=AnswerLimits(max_head_bytes, max_headers, max_response_bytes),
            max_connections=max_connections,
            keepalive_idle_s=keepalive_idle_s,
            on_waited=self.waits_s.append,
            on_connected=self.connects_s.append,
        )
        limits = Limits(connect_timeout_s, read_timeout_s, total_timeout_s)
        metrics = Metrics("test")
        pacer = Pacer(
            app="raw", gates=(), counter=MemoryCounter(), max_waiting=0, max_pause_s=1.0, overload_retry_after_s=1.0,
            metrics=metrics,
        )  # fmt: skip
        self._route = Route(
            app="raw", path=path, client=PooledClient(self.pool, url, limits), pacer=pacer, metrics=metrics,
            clock=time.perf_counter,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        """Nothing is opened before the first push."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._route.client.aclose()

    def start(
        self, before_first_byte: Callable[[], Awaitable[None]] = allow, body: bytes = BODY
    ) -> "asyncio.Task[Result]":
        """Start a push in a task of its own."""
        return asyncio.create_task(self.push(before_first_byte, body))

    async def push(
        self,
        before_first_byte: Callable[[], Awaitable[None]] = allow,
        body: bytes = BODY,
        headers: Mapping[str, str] = HEADERS,
    ) -> Result:
        """Make one push; to cancel it cuts it off, wherever it is."""
        permit = Breaker(failure_ratio=1.0, min_calls=1_000_000, window_s=10.0, open_s=5.0).admit()
        call = Caller(before_first_byte).call()
        outgoing = Outgoing(headers, body, "single", is_repeatable_when_busy=False)
        attempt = Attempt(self._route, call, outgoing, lambda reply, _: reply, number=1, permit=permit, hold=None)
        exchange = attempt.exchange
        reply = cause = None
        try:
            reply = await attempt.run()
        except (NotSent, OutcomeUnknown) as failure:
            cause = failure.cause
        except asyncio.CancelledError:
            attempt.cut()
            raise
        assert not attempt.is_detached
        events = [name for name, _ in exchange.events] + [names.EVENT_HEADERS_RECEIVED] * bool(exchange.head_at_ns)
        return Result(reply, cause, exchange.may_have_left, exchange.is_reused, tuple(events))
