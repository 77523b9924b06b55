"""Builds and binds the callers' gRPC server."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection

from sidecar.config import ServerConfig
from sidecar.providers.provider import Provider
from sidecar.server.activity import Activity
from sidecar.server.address import UNIX_PREFIX, BindError, with_port
from sidecar.server.handler import Limits, UnaryHandler
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tracing import Tracers

# Callers may ping every 20 s, also between calls; the helpers of clients/ do every 30 s.
MIN_PING_INTERVAL_MS = 20_000

# After the last call, how long its answer may take to reach a peer before the stop goes on.
LINGER_S = 1.0


def server_options(config: ServerConfig) -> Mapping[str, int]:
    """Return the gRPC server's options."""
    return {
        "grpc.so_reuseport": int(config.so_reuseport),
        "grpc.max_receive_message_length": config.max_message_bytes,
        "grpc.http2.min_recv_ping_interval_without_data_ms": MIN_PING_INTERVAL_MS,
        "grpc.http2.min_ping_interval_without_data_ms": MIN_PING_INTERVAL_MS,
        "grpc.keepalive_permit_without_calls": 1,
    }


class PushServer:
    """The gRPC server. `address` is where it really listens."""

    def __init__(
        self, config: ServerConfig, providers: Iterable[Provider], *, tracers: Tracers, metrics: Metrics
    ) -> None:
        self._server = grpc.aio.server(options=tuple(server_options(config).items()))
        self._activity = Activity()
        limits = Limits(config.default_timeout_s, config.deadline_margin_s)
        self.service_names: list[str] = []
        for provider in providers:
            for service, methods in provider.services.items():
                self.service_names.append(service)
                handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
                    name: grpc.unary_unary_rpc_method_handler(
                        UnaryHandler(
                            f"{service}/{name}",
                            method,
                            tracers=tracers,
                            metrics=metrics,
                            limits=limits,
                            activity=self._activity,
                        ).handle,
                        response_serializer=lambda message: message.SerializeToString(),
                    )
                    for name, method in methods.items()
                }
                self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        if config.reflection:
            reflection.enable_server_reflection((*self.service_names, reflection.SERVICE_NAME), self._server)
        self._config = config
        self.address = config.listen

    async def start(self) -> None:
        """Bind and serve.

        Raises `BindError` when the address cannot be bound.
        """
        listen = self._config.listen
        try:
            port = self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise BindError(f"server.listen: {listen} cannot be bound: {error}") from None
        if listen.startswith(UNIX_PREFIX):
            # The application runs as another user than the sidecar; the directory decides who gets this far.
            os.chmod(listen.removeprefix(UNIX_PREFIX), int(self._config.socket_mode, 8))  # noqa: PTH101
        self.address = with_port(listen, port)
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Close the listener at once, tell clients to go elsewhere, and let calls end within the grace.

        Peers that have no call and do not leave, or do not read their answers, are cut off soon after the last call.
        """
        stopping = asyncio.ensure_future(self._server.stop(grace_s))
        idle = asyncio.ensure_future(self._activity.wait_until_idle())
        await asyncio.wait({stopping, idle}, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        await asyncio.wait({stopping}, timeout=LINGER_S)
        if not stopping.done():
            await self._server.stop(0)
        await stopping
