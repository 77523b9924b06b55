"""`grpc.health.v1` on a cleartext listener of its own, so that probes never depend on the callers' listener."""

from collections.abc import Iterable

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from sidecar.config import HealthConfig
from sidecar.server.address import BindError, with_port

# Stays SERVING while draining: a pod that ends orderly is not to be killed.
LIVENESS = "liveness"
READINESS = ""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class HealthServer:
    """Readiness under `""` and each service's name, liveness under `liveness`. Neither depends on a vendor."""

    def __init__(self, config: HealthConfig, service_names: Iterable[str]) -> None:
        self._listen = config.listen
        self._names = (READINESS, *service_names)
        self._servicer = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, self._server)
        self.address = config.listen
        self.is_ready = False

    async def start(self) -> None:
        """Bind and answer: alive, not ready.

        Raises `BindError` when the address cannot be bound.
        """
        await self._servicer.set(LIVENESS, _SERVING)
        await self.set_ready(is_ready=False)
        try:
            port = self._server.add_insecure_port(self._listen)
        except RuntimeError as error:
            raise BindError(f"health.listen: {self._listen} cannot be bound: {error}") from None
        self.address = with_port(self._listen, port)
        await self._server.start()

    async def set_ready(self, *, is_ready: bool) -> None:
        """Say whether new calls are welcome."""
        self.is_ready = is_ready
        for name in self._names:
            await self._servicer.set(name, _SERVING if is_ready else _NOT_SERVING)

    async def stop(self) -> None:
        """Stop answering."""
        await self._server.stop(0)
