"""The composition root: builds everything from the configuration, in order, and stops it in the reverse order."""

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from typing import Self

from sidecar import __version__
from sidecar.config import Config, ConfigError
from sidecar.providers.provider import Provider
from sidecar.providers.registry import build_providers
from sidecar.server.admin import AdminServer
from sidecar.server.health import HealthServer
from sidecar.server.server import PushServer
from sidecar.telemetry.export import TracePipeline, build_exporter
from sidecar.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)


class Sidecar:
    """A whole sidecar, as an async context manager: serves inside the block, drains when it is left."""

    def __init__(self, config: Config, environment: Mapping[str, str] = os.environ) -> None:
        self._config = config
        self._environment = environment
        self._providers: list[Provider] = []

    async def __aenter__(self) -> Self:
        """Build, bind and serve.

        Raises `ConfigError` for what only shows when it is tried, such as a busy port; then nothing is left running.
        """
        config = self._config
        self.metrics = Metrics(__version__)
        self._traces = TracePipeline(build_exporter(self._environment))
        self._providers = build_providers(config, self.metrics)
        self._server = PushServer(config.server, self._providers, tracers=self._traces.tracers, metrics=self.metrics)
        self._health = HealthServer(config.health, self._server.service_names)
        self._admin = AdminServer(config.admin, self.metrics, lambda: self._health.is_ready)
        try:
            await self._health.start()
            await self._admin.start()
            await self._server.start()
        except ConfigError:
            await self._stop()
            raise
        await self._health.set_ready(is_ready=True)
        self.grpc_address = self._server.address
        self.health_address = self._health.address
        self.admin_address = self._admin.address
        _log.info(
            "serving",
            extra={"grpc": self.grpc_address, "health": self.health_address, "admin": self.admin_address},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drain and stop."""
        _log.info("stopping", extra={"grace_s": self._config.server.shutdown_grace_s})
        await self._stop()
        _log.info("stopped")

    async def _stop(self) -> None:
        # Not ready, waiting calls refused, listener closed: all at once, so that live clients move to the next process.
        await self._health.set_ready(is_ready=False)
        for provider in self._providers:
            provider.stop()
        await self._server.stop(self._config.server.shutdown_grace_s)
        for provider in self._providers:
            await provider.aclose()
        await self._admin.stop()
        await self._health.stop()
        await asyncio.get_running_loop().run_in_executor(None, self._traces.shutdown)


def stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
