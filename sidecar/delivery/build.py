"""Builds what every vendor call goes through: what the apps share, and the lane of each from its configuration."""

import asyncio
import math
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from urllib.parse import urlsplit

from sidecar.config import AppConfig, Config, ConfigError, read_target_hash_key
from sidecar.delivery.admission import Admission
from sidecar.delivery.breaker import Breaker, State
from sidecar.delivery.byte_budget import ByteBudget
from sidecar.delivery.claim import Keeper
from sidecar.delivery.idempotency import Idempotency
from sidecar.delivery.lane import Lane
from sidecar.delivery.pacing import Pacer
from sidecar.delivery.quota import Quota, read_quotas
from sidecar.delivery.reservation import Gate, Gates
from sidecar.delivery.retry import RetryBudget, RetryPolicy
from sidecar.delivery.vendor_tls import WatchedVendorTls, read_vendor_tls
from sidecar.stores.build import build_counter, build_redis_of, build_store, check_counter
from sidecar.stores.store import StoreFailure
from sidecar.target_hash import TargetHash
from sidecar.telemetry.metrics import Metrics
from sidecar.transport.answer import AnswerLimits
from sidecar.transport.client import Limits, PooledClient
from sidecar.transport.connect import Connector
from sidecar.transport.pool import Pool
from sidecar.transport.resolve import Resolver

# A vendor call is over when its total limit is; so long its answer may then take to be recorded, in seconds.
SETTLE_SLACK_S = 2.0

_BREAKER_STATES = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


class Delivery:
    """What all apps share: the store of request ids, the counter of quotas, lookups, and the breakers.

    `target_hash` is what providers name a call's single target by; None unless the configuration has a key for it.
    `vendor_tls` are the files of the apps' TLS towards their vendors, to be watched.
    """

    def __init__(self, config: Config, metrics: Metrics, resolver: Resolver | None = None) -> None:
        self._config = config
        self._metrics = metrics
        self._resolver = resolver or Resolver(stale_s=config.dns.stale_s)
        redis = build_redis_of(config, self._resolver)
        self._redis = redis
        self._store = build_store(config.idempotency, redis, config.redis.key_prefix, len(config.apps))
        self._counter = build_counter(config, redis)
        self._gates = Gates()
        key_file = config.log.target_hash_key_file
        self.target_hash = TargetHash(read_target_hash_key(key_file)) if key_file is not None else None
        self.vendor_tls: list[WatchedVendorTls] = []
        self._breakers: dict[object, Breaker] = {}
        self._status: dict[str, Callable[[], dict[str, object]]] = {}
        self._counted: list[tuple[str, Gate]] = []
        metrics.before_scrape.append(self._look_at_quotas)

    async def start(self) -> None:
        """Make the store ready, and check the Redis that counts.

        Raises `ConfigError` for what will not heal itself.
        """
        await self._store.start()
        if self._redis is not None and self._config.pacing.storage == "redis":
            await check_counter(self._redis, self._config.redis.key_prefix)

    async def aclose(self) -> None:
        """Close the store, after the lanes that use it."""
        await self._store.aclose()
        if self._redis is not None:
            await self._redis.aclose()

    def build_lane(self, name: str, app: AppConfig, path: str, quotas: tuple[Quota, ...]) -> Lane:
        """Build a lane that posts to `path` below the app's base URL. Call it on the event loop that will serve.

        Raises `ConfigError` when the app's `ca_file` or client certificate cannot be used.
        """
        client = self._build_client(name, app, app.base_url.rstrip("/") + path)
        admission = Admission(
            max_in_flight=app.max_in_flight, max_queue=app.max_queue, retry_after_s=app.overload_retry_after_s
        )
        self._metrics.in_flight_limit.labels(name).set(app.max_in_flight)
        self._metrics.queue_limit.labels(name).set(app.max_queue)
        gates = self._gates.of(_subject(app), quotas)
        for gate in gates:
            for limit in gate.quota.limits:
                self._metrics.quota_limit.labels(name, gate.quota.name, str(limit)).set(limit.amount)
            self._counted.append((name, gate))
        budget = RetryBudget(app.retry.budget_ratio)
        self._metrics.retry_budget_left.labels(name).set_function(lambda: budget.left)
        pacer = Pacer(
            app=name,
            gates=gates,
            counter=self._counter,
            max_waiting=app.max_queue,
            max_pause_s=app.max_retry_after_s,
            overload_retry_after_s=app.overload_retry_after_s,
            metrics=self._metrics,
        )
        breaker = self._breaker_of(app)
        host = f"{client.host}:{client.port}"
        self._metrics.breaker_state.labels(name, host).set_function(lambda: _BREAKER_STATES[breaker.state])
        self._status[name] = lambda: {
            "in_flight": admission.in_flight,
            "queued": admission.queued,
            "paused_s": pacer.paused_for_s,
            "breaker": {"host": host, "state": breaker.state.value, "retry_after_s": round(breaker.retry_after_s, 3)},
        }
        return Lane(
            app=name,
            path=path,
            client=client,
            pacer=pacer,
            admission=admission,
            breaker=breaker,
            policy=RetryPolicy(
                max_attempts=app.retry.max_attempts,
                initial_backoff_s=app.retry.initial_backoff_s,
                max_backoff_s=app.retry.max_backoff_s,
            ),
            budget=budget,
            metrics=self._metrics,
        )

    def _build_client(self, name: str, app: AppConfig, url: str) -> PooledClient:
        tls = read_vendor_tls(name, app)
        connector = Connector(
            url,
            tls=tls.context,
            resolver=self._resolver,
            lookup_timeout_s=app.connect_timeout_s,
            proxy=app.proxy,
        )
        if tls.is_from_files:
            use = partial(setattr, connector, "tls")
            self.vendor_tls.append(WatchedVendorTls(name, app, current=tls, use=use))
        limits = AnswerLimits(
            max_head_bytes=app.max_response_head_bytes,
            max_headers=app.max_response_headers,
            max_body_bytes=app.max_response_bytes,
        )
        pool = Pool(
            connector,
            limits=limits,
            max_connections=app.max_in_flight,
            keepalive_idle_s=app.keepalive_idle_s,
            on_waited=self._metrics.pool_wait.labels(name).observe,
            on_connected=self._metrics.connect_duration.labels(name).observe,
        )
        self._metrics.connections.labels(name, "active").set_function(lambda: pool.active)
        self._metrics.connections.labels(name, "idle").set_function(lambda: pool.idle)
        return PooledClient(pool, url, Limits(app.connect_timeout_s, app.read_timeout_s, app.total_timeout_s))

    def build_pending_bytes(self, name: str, app: AppConfig) -> ByteBudget:
        """Build the budget of bytes of an app."""
        budget = ByteBudget(
            f"apps.{name}.max_pending_bytes", limit=app.max_pending_bytes, retry_after_s=app.overload_retry_after_s
        )
        self._metrics.pending_bytes.labels(name).set_function(lambda: budget.pending)
        self._metrics.pending_bytes_limit.labels(name).set(budget.limit)
        return budget

    def build_request_ids(self, name: str, app: AppConfig) -> Idempotency:
        """Build the request ids of an app."""
        idempotency = self._config.idempotency
        keeper = Keeper(
            app=name,
            store=self._store,
            lease_s=idempotency.lease_s,
            sending_lease_s=app.total_timeout_s + SETTLE_SLACK_S,
            window_s=idempotency.window_s,
            goes_on_without_store=idempotency.on_store_failure == "continue",
            metrics=self._metrics,
        )
        return Idempotency(
            app=name,
            keeper=keeper,
            max_waiting=app.max_in_flight + app.max_queue,
            retry_after_s=app.overload_retry_after_s,
        )

    def status(self) -> Mapping[str, dict[str, object]]:
        """Return what can be seen of each app at this moment, by its name."""
        return {name: status() for name, status in self._status.items()}

    async def _look_at_quotas(self) -> None:
        """Bring the metric of what is left up to date."""
        await asyncio.gather(*(self._look_at(app, gate) for app, gate in self._counted))

    async def _look_at(self, app: str, gate: Gate) -> None:
        left = [math.nan] * len(gate.quota.limits)
        try:
            left = [room.left for room in await self._counter.look(gate.charges(1))]
        except StoreFailure:
            pass  # counted where a call meets it
        finally:
            for limit, places in zip(gate.quota.limits, left, strict=True):
                self._metrics.quota_left.labels(app, gate.quota.name, str(limit)).set(places)

    def _breaker_of(self, app: AppConfig) -> Breaker:
        """Return the breaker of the app's vendor host; apps share it where they reach the host in the same way.

        The time-outs are part of the way: what is silence for an impatient app is an answer for another.
        """
        url = urlsplit(app.base_url)
        timeouts_s = (app.connect_timeout_s, app.read_timeout_s, app.total_timeout_s)
        way = (url.hostname, url.port, app.proxy, app.ca_file, app.client_cert_file, timeouts_s)
        if way not in self._breakers:
            config = self._config.breaker
            self._breakers[way] = Breaker(
                failure_ratio=config.failure_ratio,
                min_calls=config.min_calls,
                window_s=config.window_s,
                open_s=config.open_s,
            )
        return self._breakers[way]


def quotas_of(
    name: str, app: AppConfig, documented: Mapping[str, str], classes: Mapping[str, str]
) -> tuple[Quota, ...]:
    """Return the quotas of an app: the configured ones, else those that the vendor documents.

    Raises `ConfigError`.
    """
    try:
        return tuple(read_quotas(documented if app.quotas is None else app.quotas, classes.values()))
    except ValueError as error:
        raise ConfigError(f"apps.{name}.quotas.{error}") from None


def _subject(app: AppConfig) -> str:
    """Return whose quota it is at the vendor, as a hash: apps that share an account share its quotas."""
    url = urlsplit(app.base_url)
    return blake2b(f"{app.provider}\0{url.netloc}\0{app.app_id}".encode(), digest_size=16).hexdigest()
