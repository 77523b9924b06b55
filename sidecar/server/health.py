"""`grpc.health.v1` on a cleartext listener of its own, so that probes never depend on the callers' listener.

Anybody may connect here, so no change of state waits for a peer. The servicer that grpc publishes holds a lock while it
writes to a watcher: a single one that does not read keeps the state as it is for ever.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.config import HealthConfig
from sidecar.server.address import BindError, with_port
from sidecar.server.stopping import stop_within

# Stays SERVING while draining: a pod that ends orderly is not to be killed.
LIVENESS = "liveness"
READINESS = ""

# Calls at once on one connection. A probe has one, a client that watches has one for each service.
MAX_STREAMS = 100
# The longest request: it holds a name, which a watcher's call keeps.
MAX_REQUEST_BYTES = 1024
STOP_TIMEOUT_S = 1.0

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class _States(health_pb2_grpc.HealthServicer):
    """The state of each name. A watcher is told the latest one when it can be written to; no states are kept for it."""

    def __init__(self) -> None:
        self._states: dict[str, int] = {}
        self._changed = asyncio.Event()

    def set(self, states: dict[str, int]) -> None:
        """Take over states, and wake the watchers."""
        self._states |= states
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(  # noqa: N802  # as the contract has it
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> health_pb2.HealthCheckResponse:
        """Answer with the state of a name; NOT_FOUND if there is no such name."""
        state = self._states.get(request.service)
        if state is None:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return health_pb2.HealthCheckResponse(status=state)

    async def Watch(  # noqa: N802  # as the contract has it
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> None:
        """Tell the state of a name now and whenever it is another one, for as long as the peer stays."""
        told = None
        while True:
            changed = self._changed
            state = self._states.get(request.service, _SERVICE_UNKNOWN)
            if state == told:
                await changed.wait()
                continue
            try:
                await context.write(health_pb2.HealthCheckResponse(status=state))
            except grpc.aio.InternalError:
                # The peer left before it had read; grpc does not know yet, and would log what it fails to say.
                raise asyncio.CancelledError from None
            told = state


class HealthServer:
    """Readiness under `""` and each service's name, liveness under `liveness`. Neither depends on a vendor."""

    def __init__(self, config: HealthConfig, service_names: Iterable[str]) -> None:
        self._listen = config.listen
        self._names = (READINESS, *service_names)
        self._states = _States()
        self._server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_concurrent_streams", MAX_STREAMS),
                ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._states, self._server)
        self.address = config.listen
        self.is_ready = False

    async def start(self) -> None:
        """Bind and answer: alive, not ready.

        Raises `BindError` when the address cannot be bound.
        """
        self._states.set({LIVENESS: _SERVING})
        self.set_ready(is_ready=False)
        try:
            port = self._server.add_insecure_port(self._listen)
        except RuntimeError as error:
            raise BindError(f"health.listen: {self._listen} cannot be bound: {error}") from None
        self.address = with_port(self._listen, port)
        await self._server.start()

    def set_ready(self, *, is_ready: bool) -> None:
        """Say whether new calls are welcome."""
        self.is_ready = is_ready
        self._states.set(dict.fromkeys(self._names, _SERVING if is_ready else _NOT_SERVING))

    async def stop(self) -> None:
        """Stop answering; watchers are cut off."""
        await stop_within(STOP_TIMEOUT_S, "health.listen", self._server.stop(0))
