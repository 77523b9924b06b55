"""The composition root: builds everything from the configuration, in order, and stops it in the reverse order."""

import asyncio
import logging
import os
import resource
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Self

from sidecar import __version__, descriptors
from sidecar.config import Config, ConfigError, ListenerConfig
from sidecar.delivery.build import Delivery
from sidecar.delivery.vendor_tls import read_vendor_tls
from sidecar.providers.registry import build_providers, check_app
from sidecar.secrets import FileWatch, Watched, WatchedHashKey, WatchedSecret
from sidecar.server.address import check_addresses, key_of, listeners_of, probe_addresses
from sidecar.server.admin import AdminServer
from sidecar.server.callers import callers_at, check_callers
from sidecar.server.health import HealthServer
from sidecar.server.server import PushServer
from sidecar.server.stopping import leave
from sidecar.server.tls import ListenerTls, check_tls
from sidecar.telemetry.export import build_traces, check_environment
from sidecar.telemetry.metrics import Metrics
from sidecar.transport.prove import prove
from sidecar.transport.resolve import Resolver

# How long each step of a stop may still take once it is to end soon. A process has two seconds for all of them.
HURRIED_STEP_S = 0.2

_log = logging.getLogger(__name__)


class Sidecar:
    """A whole sidecar, as an async context manager: serves inside the block, drains when it is left."""

    def __init__(
        self, config: Config, environment: Mapping[str, str] = os.environ, *, resolver: Resolver | None = None
    ) -> None:
        """Take `resolver` in place of one that asks the system."""
        self._config = config
        self._environment = environment
        self._resolver = resolver or Resolver(stale_s=config.dns.stale_s)
        self.metrics = Metrics(__version__)
        self._is_hurried = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Build, bind and serve.

        Raises `ConfigError` for what only shows when it is tried, such as a busy port; then nothing is left running.
        """
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._to_stop = stack.pop_all()
        _log.info(
            "serving",
            extra={
                "grpc": ", ".join(self.grpc_addresses.values()),
                "health": self.health_address,
                "admin": self.admin_address,
            },
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drain and stop."""
        _log.info("stopping", extra={"grace_s": self._config.server.shutdown_grace_s})
        await self._to_stop.aclose()
        _log.info("stopped")

    @property
    def holds_exit(self) -> bool:
        """Whether, after the stop, what a library still has open would hold the exit of the process for seconds."""
        return self._traces.was_cut

    def hurry(self) -> None:
        """End the stop soon: cut the calls in flight, and wait for nothing longer than a moment."""
        in_flight = sum(
            places for app in self._delivery.status().values() if isinstance(places := app["in_flight"], int)
        )
        cost = "pushes in flight may have gone out, and their callers read maybe" if in_flight else "nothing"
        _log.warning("stop cut short", extra={"in_flight": in_flight, "cost": cost})
        self._is_hurried.set()
        self._cutting = asyncio.ensure_future(self._server.stop(0))
        leave(self._cutting, "cutting the calls in flight")

    def look_again(self) -> None:
        """Look at the files of secrets and certificates now."""
        self._files.look_soon()

    async def _finish(self, step: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """Make a step of the stop; one that takes long is left behind when the stop is to end soon."""
        doing = asyncio.ensure_future(step(*arguments))
        hurried = asyncio.ensure_future(self._is_hurried.wait())
        await asyncio.wait({doing, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        await asyncio.wait({doing}, timeout=HURRIED_STEP_S)
        if not doing.done():
            leave(doing, getattr(step, "__qualname__", type(step).__name__))
            doing.cancel()
            await asyncio.wait({doing}, timeout=HURRIED_STEP_S)
        elif not doing.cancelled():
            doing.result()

    async def _start(self, stack: AsyncExitStack) -> None:
        """Start everything; what is put on `stack` stops it, the last put first."""
        config = self._config
        if problems := problems_of(config, self._environment):
            raise ConfigError("\n".join(problems))
        if shortage := descriptors.shortage_of(config, resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
            _log.warning("max_in_flight does not fit", extra={"detail": shortage})
        probe_addresses(config)
        traces = self._traces = build_traces(self._environment)
        stack.push_async_callback(self._finish, asyncio.to_thread, traces.shutdown)
        delivery = self._delivery = Delivery(config, self.metrics, self._resolver)
        stack.push_async_callback(self._finish, delivery.aclose)
        await delivery.start()
        providers = build_providers(config, delivery, self._environment)
        server = self._server = PushServer(config, providers, tracers=traces.tracers, metrics=self.metrics)
        health = HealthServer(config.health, server.service_names)
        secrets = [secret for provider in providers for secret in provider.secrets]
        for secret in secrets:
            self.metrics.secret_stale.labels(secret.app).set_function(partial(_is_stale, secret))
        for vendor in delivery.vendor_tls:
            self.metrics.vendor_tls_stale.labels(vendor.app).set_function(partial(_is_stale, vendor))
        for tls in server.tls:
            self.metrics.certificate_expiry.labels(tls.listener).set_function(partial(_expires_at, tls))
            self.metrics.certificate_stale.labels(tls.listener).set_function(partial(_is_stale, tls.files))
        status = partial(_status, health, delivery, secrets, server.tls)
        admin = AdminServer(config.admin, self.metrics, lambda: health.is_ready, status=status)
        stack.push_async_callback(self._finish, health.stop)
        stack.push_async_callback(self._finish, admin.stop)
        for provider in providers:
            stack.push_async_callback(self._finish, provider.aclose)

        files: list[Watched[Any]] = [
            *secrets, *delivery.vendor_tls, *(tls.files for tls in server.tls), *_watched_hash_key(config, delivery),
        ]  # fmt: skip
        self._files = await stack.enter_async_context(FileWatch(files, interval_s=config.secrets.reload_interval_s))
        # Not ready, waiting calls refused, listeners closed: all at once, so that clients move to the next process.
        # None of these steps waits for another, or is left out when another fails.
        stack.push_async_callback(self._finish, server.stop, config.server.shutdown_grace_s)
        for provider in providers:
            stack.callback(provider.stop)
        stack.callback(health.set_ready, is_ready=False)
        await health.start()
        await admin.start()
        await server.start()
        health.set_ready(is_ready=True)
        self.grpc_address, self.health_address, self.admin_address = server.address, health.address, admin.address
        self.grpc_addresses = server.addresses


def problems_of(config: Config, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Make every check that needs no listener and no vendor, and build nothing that stays; returns what is wrong."""
    checks: list[Callable[[], None]] = [partial(check_addresses, config), partial(check_environment, environment)]
    checks += [partial(check_tls, f"{key_of(name)}.tls", item.tls) for name, item in listeners_of(config).items()]
    checks.append(partial(check_callers, config))
    checks += [partial(check_app, name, app) for name, app in config.apps.items()]
    problems = []
    for check in checks:
        try:
            check()
        except ConfigError as error:
            problems.append(str(error))
    # One variable may be wrong for several apps.
    return list(dict.fromkeys(problems))


def who_may_call(config: Config) -> dict[str, tuple[ListenerConfig, list[str]]]:
    """Return each listener for callers by its name, with the configured callers that may call there."""
    return {name: (listener, callers_at(config, name)) for name, listener in listeners_of(config).items()}


def _watched_hash_key(config: Config, delivery: Delivery) -> list[Watched[Any]]:
    """Return the key of targets' hashes as something to watch, where there is one."""
    file, hashes = config.log.target_hash_key_file, delivery.target_hash
    return [] if file is None or hashes is None else [WatchedHashKey(file, current=hashes.secret, use=hashes.use)]


def _is_stale(watched: Watched[Any]) -> float:
    return float(watched.is_stale)


def _expires_at(tls: ListenerTls) -> float:
    return tls.expires_at


def _status(
    health: HealthServer, delivery: Delivery, secrets: Sequence[WatchedSecret], tls: Sequence[ListenerTls]
) -> dict[str, object]:
    """Return what an operator asks first, as plain data: nothing of a push, and no secret."""
    apps = delivery.status()
    for secret in secrets:
        apps[secret.app]["secret"] = _state(secret)
    for vendor in delivery.vendor_tls:
        apps[vendor.app]["vendor_tls"] = _state(vendor)
    certificates = {each.listener: _state(each.files) for each in tls}
    return {"version": __version__, "is_ready": health.is_ready, "apps": apps, "certificates": certificates}


def _state(watched: Watched[Any]) -> str:
    return "stale" if watched.is_stale else "fresh"


async def prove_addresses(config: Config) -> dict[str, str | None]:
    """Prove every app's vendor by a TLS handshake; returns what is wrong by app, None where nothing is."""
    resolver = Resolver()
    proofs = (
        prove(
            app.base_url,
            tls=read_vendor_tls(name, app).context,
            shows_certificate=app.client_cert_file is not None,
            proxy=app.proxy,
            timeout_s=app.connect_timeout_s,
            resolver=resolver,
        )
        for name, app in config.apps.items()
    )
    return dict(zip(config.apps, await asyncio.gather(*proofs), strict=True))
