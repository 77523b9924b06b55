"""Builds the lane of one app from its configuration."""

import ssl

from sidecar.config import AppConfig, ConfigError
from sidecar.delivery.admission import Admission
from sidecar.delivery.lane import Lane
from sidecar.delivery.retry import RetryBudget, RetryPolicy
from sidecar.telemetry.metrics import Metrics
from sidecar.transport.client import Limits, VendorClient
from sidecar.transport.pool import build_tls_context, build_transport


def build_lane(name: str, app: AppConfig, path: str, metrics: Metrics) -> Lane:
    """Build a lane that posts to `path` below the app's base URL. Call it on the event loop that will serve.

    Raises `ConfigError` when the app's `ca_file` cannot be used.
    """
    transport = build_transport(
        max_connections=app.max_in_flight,
        keepalive_idle_s=app.keepalive_idle_s,
        tls=tls_context(name, app),
        proxy=app.proxy,
    )
    limits = Limits(
        connect_timeout_s=app.connect_timeout_s,
        read_timeout_s=app.read_timeout_s,
        total_timeout_s=app.total_timeout_s,
        max_response_bytes=app.max_response_bytes,
    )
    return Lane(
        app=name,
        path=path,
        client=VendorClient(transport, app.base_url.rstrip("/") + path, limits),
        admission=Admission(
            max_in_flight=app.max_in_flight, max_queue=app.max_queue, retry_after_s=app.overload_retry_after_s
        ),
        policy=RetryPolicy(
            max_attempts=app.retry.max_attempts,
            initial_backoff_s=app.retry.initial_backoff_s,
            max_backoff_s=app.retry.max_backoff_s,
        ),
        budget=RetryBudget(app.retry.budget_ratio),
        metrics=metrics,
    )


def tls_context(name: str, app: AppConfig) -> ssl.SSLContext:
    """Return what verifies the app's vendor.

    Raises `ConfigError` when its `ca_file` cannot be used.
    """
    try:
        return build_tls_context(app.ca_file)
    except OSError as error:
        raise ConfigError(f"apps.{name}.ca_file: cannot be used: {error.strerror or error}") from None
