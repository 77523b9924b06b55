"""The operators' HTTP: metrics, two probes and a status, all to be read only.

What the status says is the composition root's; nothing of a caller or a push is shown here. How many connections there
may be, and for how long, is connections.py's.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from aiohttp import web

from sidecar.config import AdminConfig
from sidecar.server.address import BindError, split_host_port, with_port
from sidecar.server.connections import BoundedConnections
from sidecar.server.stopping import stop_within
from sidecar.telemetry.metrics import Metrics

# How long a request in progress may hold the stop.
STOP_TIMEOUT_S = 1.0

PAGES = """\
/metrics  metrics, for Prometheus (OpenMetrics)
/healthz  200 while the process is alive
/readyz   200 while new calls are taken, else 503
/statusz  each app at this moment (JSON)
"""


@web.middleware
async def _list_pages(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer what is not found with what can be."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return web.Response(text=PAGES, status=404)


async def _close_after(_request: web.Request, response: web.StreamResponse) -> None:
    """One request is all that a connection is for: its time is bounded, and idle ones would only hold places."""
    response.force_close()
    response.headers["connection"] = "close"  # the headers are made by now


class AdminServer:
    """Serves them. `address` is where it really listens."""

    def __init__(
        self,
        config: AdminConfig,
        metrics: Metrics,
        is_ready: Callable[[], bool],
        *,
        status: Callable[[], Mapping[str, object]],
    ) -> None:
        self._listen = config.listen
        self._metrics = metrics
        self._is_ready = is_ready
        self._status = status
        application = web.Application(middlewares=[_list_pages])
        application.router.add_get("/", self._get_pages)
        application.router.add_get("/metrics", self._get_metrics)
        application.router.add_get("/healthz", self._get_health)
        application.router.add_get("/readyz", self._get_readiness)
        application.router.add_get("/statusz", self._get_status)
        application.on_response_prepare.append(_close_after)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_TIMEOUT_S)
        self._connections: BoundedConnections | None = None
        self._listener: asyncio.Server | None = None
        self.address = config.listen

    async def start(self) -> None:
        """Bind and serve.

        Raises `BindError` when the address cannot be bound.
        """
        host, port = split_host_port("admin.listen", self._listen)
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101  # set up
        self._connections = BoundedConnections(self._runner.server)
        try:
            self._listener = await asyncio.get_running_loop().create_server(self._connections, host, port)
        except OSError as error:
            raise BindError(f"admin.listen: {self._listen} cannot be bound: {error.strerror}") from None
        self.address = with_port(self._listen, self._listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop serving, also those who do not read."""
        if self._listener is not None:
            self._listener.close()
        await stop_within(2 * STOP_TIMEOUT_S, "admin.listen", self._runner.cleanup())
        if self._connections is not None:
            self._connections.abort()

    async def _get_pages(self, _request: web.Request) -> web.Response:
        return web.Response(text=PAGES)

    async def _get_metrics(self, request: web.Request) -> web.Response:
        body, content_type = await self._metrics.scrape(request.headers.get("accept", ""))
        return web.Response(body=body, headers={"content-type": content_type})

    async def _get_health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _get_readiness(self, _request: web.Request) -> web.Response:
        if self._is_ready():
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "draining"}, status=503)

    async def _get_status(self, _request: web.Request) -> web.Response:
        return web.json_response(self._status(), dumps=partial(json.dumps, indent=2))
