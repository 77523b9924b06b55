"""The metrics, one object that owns its registry. Label sets are bounded: never a target, never a text of a push.

docs/operations.md lists them for operators; a test compares.
"""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import version as version_of

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as as_text
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest as as_openmetrics
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST
PLAIN_CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# How long a scrape waits for what has to be asked for, such as quotas that are counted in Redis.
REFRESH_TIMEOUT_S = 1.0

# Seconds. Semantic conventions advise these for HTTP and RPC; 10 s and more are vendor limits.
DURATION_BUCKETS = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    15.0,
    30.0,
)


class _DroppedLines(Collector):
    """Reads the count when somebody looks: it is kept where a line that is dropped may not take a lock."""

    def __init__(self) -> None:
        self.count: Callable[[], int] = lambda: 0

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give the one family."""
        yield CounterMetricFamily(
            "push_sidecar_log_lines_dropped",
            "Log lines that were not written, because nobody read them in time or standard error could not take them.",
            value=self.count(),
        )


class Metrics:
    """Every metric of the sidecar."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self.rpc_duration = Histogram(
            "rpc_server_call_duration_seconds",
            "Duration of RPCs, by method and status code (rpc.server.call.duration).",
            ("rpc_method", "rpc_status_code"),
            buckets=DURATION_BUCKETS,
            unit="seconds",
            registry=self.registry,
        )
        self.rpc_active = Gauge(
            "rpc_server_active_calls",
            "RPCs that are being served, those that wait included.",
            ("rpc_method",),
            registry=self.registry,
        )
        self.vendor_duration = Histogram(
            "http_client_request_duration_seconds",
            "Duration of calls to the vendor, one per attempt (http.client.request.duration). No answer: status 0.",
            ("app", "http_response_status_code"),
            buckets=DURATION_BUCKETS,
            unit="seconds",
            registry=self.registry,
        )
        self.connections = Gauge(
            "http_client_open_connections",
            "Connections of the app's pool to its vendor (http.client.open_connections): active, those that are being "
            "made included, or idle.",
            ("app", "http_connection_state"),
            registry=self.registry,
        )
        self.connect_duration = Histogram(
            "push_sidecar_connect_duration_seconds",
            "Time that a new connection to the vendor took: DNS, TCP and TLS. Its count is that of new connections.",
            ("app",),
            buckets=DURATION_BUCKETS,
            unit="seconds",
            registry=self.registry,
        )
        self.pool_wait = Histogram(
            "push_sidecar_pool_wait_seconds",
            "Time that calls with a place in flight waited for a connection, of those that had to.",
            ("app",),
            buckets=DURATION_BUCKETS,
            unit="seconds",
            registry=self.registry,
        )
        self.pushes = Counter(
            "push_sidecar_pushes",
            "Pushes by what became of them. reason is OK or the reason of the error; sent is yes, no, maybe, or "
            "replayed for an earlier call's OK that was given again.",
            ("app", "provider", "audience", "reason", "sent"),
            registry=self.registry,
        )
        self.attempt_failures = Counter(
            "push_sidecar_attempt_failures",
            "Calls to the vendor that brought no answer, by cause. idle_connection_closed: a pooled connection was "
            "closed while it was picked.",
            ("app", "cause"),
            registry=self.registry,
        )
        self.retries = Counter("push_sidecar_retries", "Attempts after the first.", ("app",), registry=self.registry)
        self.retry_budget_left = Gauge(
            "push_sidecar_retry_budget_left",
            "Retries that the app may still make; below 1 it makes none.",
            ("app",),
            registry=self.registry,
        )
        self.late_answers = Counter(
            "push_sidecar_late_answers",
            "Vendor answers that came after the caller had gone, by what they meant.",
            ("app", "reason"),
            registry=self.registry,
        )
        self.queue_wait = Histogram(
            "push_sidecar_queue_wait_seconds",
            "Time that calls waited for a place in flight.",
            ("app",),
            buckets=DURATION_BUCKETS,
            unit="seconds",
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "push_sidecar_in_flight", "Pushes that hold a place in flight.", ("app",), registry=self.registry
        )
        self.queued = Gauge("push_sidecar_queued", "Pushes that wait for a place.", ("app",), registry=self.registry)
        self.in_flight_limit = Gauge(
            "push_sidecar_in_flight_limit",
            "Places in flight, as configured (max_in_flight).",
            ("app",),
            registry=self.registry,
        )
        self.queue_limit = Gauge(
            "push_sidecar_queue_limit",
            "Places in the queue, as configured (max_queue).",
            ("app",),
            registry=self.registry,
        )
        self.pending_bytes = Gauge(
            "push_sidecar_pending_bytes",
            "Bytes that the app's calls in progress hold: requests, bodies and answers.",
            ("app",),
            unit="bytes",
            registry=self.registry,
        )
        self.pending_bytes_limit = Gauge(
            "push_sidecar_pending_limit_bytes",
            "Bytes that they may hold, as configured (max_pending_bytes).",
            ("app",),
            unit="bytes",
            registry=self.registry,
        )
        self.process_pending_bytes = Gauge(
            "push_sidecar_process_pending_bytes",
            "Bytes that all calls in progress hold: requests, bodies and answers.",
            unit="bytes",
            registry=self.registry,
        )
        self.process_pending_bytes_limit = Gauge(
            "push_sidecar_process_pending_limit_bytes",
            "Bytes that they may hold, as configured (server.max_pending_bytes).",
            unit="bytes",
            registry=self.registry,
        )
        self.request_ids = Counter(
            "push_sidecar_request_ids",
            "Calls with a request_id, by what was found: new, replayed, waited (for a call in flight), reused (other "
            "content), lost (taken over by another call), full, store_failed, unprotected (gone on without the store).",
            ("app", "result"),
            registry=self.registry,
        )
        self.store_failures = Counter(
            "push_sidecar_store_failures",
            "Steps that the store of request ids did not make, or did not confirm.",
            ("step", "kind"),
            registry=self.registry,
        )
        self.pacing_wait = Histogram(
            "push_sidecar_pacing_wait_seconds",
            "Time that calls waited for the vendor's quota.",
            ("app",),
            buckets=DURATION_BUCKETS,
            unit="seconds",
            registry=self.registry,
        )
        self.vendor_slowdowns = Counter(
            "push_sidecar_vendor_slowdowns",
            "Refusals of the vendor for its quota, each of which paused calls.",
            ("app",),
            registry=self.registry,
        )
        self.paused = Gauge(
            "push_sidecar_paused_seconds",
            "Time for which calls are still paused because the vendor refused for its quota; 0 is not paused. classes "
            "is a quota, or a class that has none and was refused.",
            ("app", "classes"),
            unit="seconds",
            registry=self.registry,
        )
        self.quota_left = Gauge(
            "push_sidecar_quota_left",
            "Places that the app's quota still has at this moment, by limit; NaN while it cannot be counted.",
            ("app", "classes", "limit"),
            registry=self.registry,
        )
        self.quota_limit = Gauge(
            "push_sidecar_quota_limit",
            "Places that the app's quota has in its time, by limit.",
            ("app", "classes", "limit"),
            registry=self.registry,
        )
        self.limiter_failures = Counter(
            "push_sidecar_limiter_failures",
            "Calls that were not paced because their quota could not be counted.",
            ("app", "kind"),
            registry=self.registry,
        )
        self.breaker_state = Gauge(
            "push_sidecar_breaker_state",
            "The breaker of the app's vendor host: 0 closed, 1 half open, 2 open.",
            ("app", "host"),
            registry=self.registry,
        )
        self.breaker_refusals = Counter(
            "push_sidecar_breaker_refusals",
            "Calls that failed fast because the breaker was open.",
            ("app",),
            registry=self.registry,
        )
        self.secret_stale = Gauge(
            "push_sidecar_secret_stale",
            "1 while the file of the app's secret holds none that can be used, and the last good one is.",
            ("app",),
            registry=self.registry,
        )
        self.vendor_tls_stale = Gauge(
            "push_sidecar_vendor_tls_stale",
            "1 while the app's ca_file or client certificate cannot be used, and the last good ones are.",
            ("app",),
            registry=self.registry,
        )
        self.certificate_stale = Gauge(
            "push_sidecar_certificate_stale",
            "1 while the listener's files hold no certificate that can be used, and the last good one is.",
            ("listener",),
            registry=self.registry,
        )
        self.certificate_expiry = Gauge(
            "push_sidecar_certificate_expiry_timestamp_seconds",
            "When the certificate that the listener shows ends, in seconds since the epoch.",
            ("listener",),
            unit="seconds",
            registry=self.registry,
        )
        self.dropped_lines = _DroppedLines()
        self.registry.register(self.dropped_lines)
        build = Info("push_sidecar_build", "What runs here.", registry=self.registry)
        build.info({"version": version, "python": platform.python_version(), "grpcio": version_of("grpcio")})
        ProcessCollector(registry=self.registry)
        # What has to be asked for is asked for when somebody looks, not while pushes are made.
        self.before_scrape: list[Callable[[], Awaitable[None]]] = []

    async def scrape(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics, refreshed, and their content type: OpenMetrics unless `accept` asks for text alone."""
        try:
            async with asyncio.timeout(REFRESH_TIMEOUT_S):
                await asyncio.gather(*(refresh() for refresh in self.before_scrape))
        except TimeoutError:
            pass  # who is cut short says that its values are not known
        if "text/plain" in accept and "openmetrics" not in accept:
            return as_text(self.registry), PLAIN_CONTENT_TYPE
        return self.exposition(), CONTENT_TYPE

    def exposition(self) -> bytes:
        """Return all metrics in the OpenMetrics text format, with exemplars."""
        text: bytes = as_openmetrics(self.registry)  # type: ignore[no-untyped-call]  # the library has no hint here
        return text
