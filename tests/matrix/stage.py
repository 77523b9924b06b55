"""A caller, a sidecar in this process, and both vendors before it: the simulator, and a port for raw sockets.

The sidecar has an app for each limit that a row runs into, so that all the others are too generous to be met on a slow
machine. What goes wrong is not known here.
"""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from pushsidecar.xg.v1 import Outcome, PushRequest
from sidecar.simulator import Simulator
from tests.matrix.scripts import relay
from tests.matrix.verdict import Attempt
from tests.support.certificates import Authority
from tests.support.failures import Failure, failure_of
from tests.support.raw_server import RawServer
from tests.support.running import FREE_PORT, build_config, running_sidecar
from tests.support.tracing import Tracing
from tests.support.waiting import until

# The simulator's app; and apps of the raw vendor: with generous limits, and with one that is short.
SIMULATED, RAW, SHORT_CONNECT, SHORT_READ, SHORT_TOTAL = "shop", "raw", "short_connect", "short_read", "short_total"
# Its limit of silence is later than `DEADLINE_S`.
LATE_READ = "late_read"
# The raw vendor through a proxy that a row serves; and a vendor whose name does not resolve.
VIA, VIA_SHORT_CONNECT, LOST = "via", "via_short_connect", "lost"

SHORT_S = 0.25
# Connecting and sending come before it ends.
SHORT_TOTAL_S = 0.5
# A caller's deadline that is to pass. The sidecar answers a tenth of it earlier, which a busy machine does not use up.
DEADLINE_S = 2.0
LATE_READ_S = 2.5
# What the vendor's quota tells to wait, where the vendor does not say.
QUOTA_RETRY_AFTER_S = 0.05


@dataclass(frozen=True)
class Way:
    """How the sidecar reaches its vendor, and how its callers reach it."""

    has_proxy: bool = False
    has_unix_socket: bool = False


@dataclass(frozen=True)
class Told:
    """What the caller was told. `reason` is the outcome where the code is OK; `results` are the targets' codes."""

    code: str
    reason: str
    sent: str
    attempts: int
    retry_after_s: float | None
    results: tuple[int, ...]
    trace_id: int


class Stage:
    """What a row is played on. `raw_port` and `proxy_port` are for the row to serve: between rows nobody does."""

    def __init__(self, directory: Path, vendor: Simulator) -> None:
        self._directory = directory
        self.vendor = vendor
        self.raw_port, self.proxy_port = _free_port(), _free_port()
        authority, stranger = Authority(_made(directory / "ca")), Authority(_made(directory / "stranger"))
        self.authority = authority
        self._ca_file = authority.ca_file
        self.certificates: dict[str, ssl.SSLContext] = {
            "good": authority.server_context(),
            "expired": authority.server_context(is_expired=True),
            "of another host": authority.server_context("vendor.example"),
            "of another address": authority.server_context("127.0.0.2"),
            "of another authority": stranger.server_context(),
        }
        # What the raw vendor begins its handshakes with; a certificate is chosen in them.
        self.front = authority.server_context()
        self._traces = _Traces()
        self._numbers = count(1)

    @asynccontextmanager
    async def serving(self, way: Way) -> AsyncIterator["Stage"]:
        """Serve callers inside the block."""
        async with AsyncExitStack() as stack:
            proxy = None
            if way.has_proxy:
                server = await stack.enter_async_context(RawServer(relay, None))
                proxy = f"http://127.0.0.1:{server.port}"
            listen = f"unix:{self._directory}/socket" if way.has_unix_socket else FREE_PORT
            with patch("sidecar.app.build_traces", lambda _: self._traces):
                config = build_config(
                    self._directory,
                    self.vendor,
                    app={"proxy": proxy, **_LIMITS},
                    apps=self._apps(proxy),
                    server={"listen": listen, "deadline_margin_s": DEADLINE_S / 10},
                    breaker={"min_calls": 1_000_000},  # or it would open: most calls here fail
                )
                self._running = await stack.enter_async_context(running_sidecar(config))
            yield self

    def _apps(self, proxy: str | None) -> dict[str, dict[str, Any]]:
        raw = {
            **_LIMITS,
            "base_url": f"https://127.0.0.1:{self.raw_port}",
            "ca_file": str(self._ca_file),
            "proxy": proxy,
        }
        via = {**raw, "proxy": f"http://127.0.0.1:{self.proxy_port}"}
        return {
            RAW: raw,
            SHORT_CONNECT: {**raw, "connect_timeout_s": SHORT_S},
            SHORT_READ: {**raw, "read_timeout_s": SHORT_S, "total_timeout_s": 3},
            LATE_READ: {**raw, "read_timeout_s": LATE_READ_S},
            SHORT_TOTAL: {**raw, "total_timeout_s": SHORT_TOTAL_S},
            LOST: {**raw, "base_url": "https://does-not-exist.invalid"},
            VIA: via,
            VIA_SHORT_CONNECT: {**via, "connect_timeout_s": SHORT_S},
        }

    async def push(self, app: str, request: PushRequest, *, timeout_s: float = 10.0) -> Told:
        """Make a push through an app, whatever becomes of it."""
        sent = PushRequest()
        sent.CopyFrom(request)
        sent.app = app
        trace_id = next(self._numbers)
        traceparent = (("traceparent", f"00-{trace_id:032x}-{1:016x}-01"),)
        try:
            response = await self._running.push(sent, timeout_s=timeout_s, metadata=traceparent)
        except grpc.aio.AioRpcError as error:
            return _told(failure_of(error), trace_id)
        outcome = Outcome.Name(response.outcome).removeprefix("OUTCOME_")
        results = tuple(result.vendor_code for result in response.results)
        return Told("OK", outcome, "", response.attempts, None, results, trace_id)

    async def spans_of(self, told: Told, attempts: int) -> tuple[str, tuple[Attempt, ...]]:
        """Return the status of the server's span, and the attempts below it.

        Waits until there are so many: they may end after the answer.
        """
        with suppress(TimeoutError):
            await until(lambda: len(self._spans(told, SpanKind.CLIENT)) >= attempts, timeout_s=10)
        (server,) = self._spans(told, SpanKind.SERVER)
        return _status(server), tuple(
            Attempt(_status(span), str((span.attributes or {}).get("error.type", "")))
            for span in self._spans(told, SpanKind.CLIENT)
        )

    def _spans(self, told: Told, kind: SpanKind) -> list[ReadableSpan]:
        spans = [span for span in self._traces.spans if span.kind is kind and span.context.trace_id == told.trace_id]
        return sorted(spans, key=lambda span: span.start_time or 0)


class _Traces(Tracing):
    def shutdown(self) -> None:
        """Nothing: the spans are in memory."""


_LIMITS: dict[str, Any] = {
    "connect_timeout_s": 10,
    "read_timeout_s": 10,
    "total_timeout_s": 15,
    "quotas": {},
    "quota_retry_after_s": QUOTA_RETRY_AFTER_S,
    "retry": {"max_attempts": 3, "initial_backoff_s": 0.001, "max_backoff_s": 0.001, "budget_ratio": 1.0},
}


@asynccontextmanager
async def staged(directory: Path, way: Way) -> AsyncIterator[Stage]:
    """Set everything up inside the block."""
    async with Simulator() as vendor, Stage(directory, vendor).serving(way) as stage:
        vendor.quota.limit = None
        yield stage


def _told(failure: Failure, trace_id: int) -> Told:
    assert failure.status is not None, f"the error is not the sidecar's own: {failure}"
    info, retry = ErrorInfo(), RetryInfo()
    assert failure.status.details[0].Unpack(info)
    assert info.domain == "push-sidecar"
    waits = [detail for detail in failure.status.details if detail.Unpack(retry)]
    return Told(
        code=failure.code.name,
        reason=failure.reason,
        sent=failure.sent,
        attempts=int(failure.metadata.get("attempts", 0)),
        retry_after_s=retry.retry_delay.ToMilliseconds() / 1000 if waits else None,
        results=(),
        trace_id=trace_id,
    )


def _status(span: ReadableSpan) -> str:
    return span.status.status_code.name.lower()


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
