"""Builds the callers' gRPC servers: the same services on every listener, each call with who makes it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection

from sidecar.config import Config, ServerConfig
from sidecar.delivery.byte_budget import ByteBudget
from sidecar.providers.provider import Provider
from sidecar.server.activity import Activity
from sidecar.server.address import DEFAULT_LISTENER, key_of, listeners_of
from sidecar.server.callers import Callers
from sidecar.server.handler import Limits, UnaryHandler
from sidecar.server.listener import Listener
from sidecar.server.tls import ListenerTls
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tracing import Tracers

# Of each connection gRPC keeps a buffer for reading that grows up to this. By its own limit of 4 MiB, and with windows
# that widen by what a connection was seen to carry, thirty that each sent 4 MB once or twice keep 100 MiB.
READ_BUFFER_BYTES = 64 * 1024

# Callers may ping every 20 s, also between calls; the helpers of clients/ do every 30 s.
MIN_PING_INTERVAL_MS = 20_000
# Calls at once on one connection; the next ones wait in the client. Each takes 15 to 20 KiB as soon as it is
# opened, even without a message. An app takes far fewer at once by default (`max_in_flight`, `max_queue`).
MAX_STREAMS = 1000


def server_options(config: ServerConfig) -> Mapping[str, int]:
    """Return the gRPC servers' options."""
    options = {
        "grpc.so_reuseport": int(config.so_reuseport),
        "grpc.max_concurrent_streams": MAX_STREAMS,
        "grpc.max_receive_message_length": config.max_message_bytes,
        # Between the two, gRPC would refuse some requests and not others.
        "grpc.max_metadata_size": config.max_metadata_bytes,
        "grpc.absolute_max_metadata_size": config.max_metadata_bytes,
        "grpc.http2.min_recv_ping_interval_without_data_ms": MIN_PING_INTERVAL_MS,
        "grpc.http2.min_ping_interval_without_data_ms": MIN_PING_INTERVAL_MS,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.experimental.tcp_max_read_chunk_size": READ_BUFFER_BYTES,
        # Nobody waits for that: the window of a request that is being read is as large as the request.
        "grpc.http2.bdp_probe": 0,
    }
    if config.max_connection_age_s:
        options["grpc.max_connection_age_ms"] = round(config.max_connection_age_s * 1000)
        # The calls of an old connection end, as those of a stop do.
        options["grpc.max_connection_age_grace_ms"] = round(config.shutdown_grace_s * 1000)
    if config.max_connection_idle_s:
        options["grpc.max_connection_idle_ms"] = round(config.max_connection_idle_s * 1000)
    return options


class PushServer:
    """The gRPC servers. `address` is where the first of them really listens, `addresses` where each does, by name."""

    def __init__(self, config: Config, providers: Sequence[Provider], *, tracers: Tracers, metrics: Metrics) -> None:
        """Build everything and bind nothing.

        Raises `ConfigError` for a certificate that cannot be used.
        """
        callers = Callers(config.callers)
        activity = Activity()
        process_bytes = ByteBudget("server.max_pending_bytes", limit=config.server.max_pending_bytes)
        metrics.process_pending_bytes.set_function(lambda: process_bytes.pending)
        metrics.process_pending_bytes_limit.set(process_bytes.limit)
        handlers = {
            service: {
                name: UnaryHandler(
                    f"{service}/{name}",
                    method,
                    tracers=tracers,
                    metrics=metrics,
                    limits=Limits(config.server.default_timeout_s, config.server.deadline_margin_s),
                    activity=activity,
                    process_bytes=process_bytes,
                    admit=None if callers.is_open else callers.admit,
                )
                for name, method in methods.items()
            }
            for provider in providers
            for service, methods in provider.services.items()
        }
        self.service_names = list(handlers)
        self.tls: list[ListenerTls] = []
        self._listeners: dict[str, Listener] = {}
        for name, listener in listeners_of(config).items():
            tls = None
            if listener.tls.cert_file is not None:
                tls = ListenerTls(name, f"{key_of(name)}.tls", listener.tls)
                self.tls.append(tls)
            server = _build_server(config.server, name, handlers)
            self._listeners[name] = Listener(key_of(name), listener, tls=tls, server=server, activity=activity)

    @property
    def address(self) -> str:
        """Where `server.listen` is."""
        return self._listeners[DEFAULT_LISTENER].address

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where each listener is, by its name."""
        return {name: listener.address for name, listener in self._listeners.items()}

    async def start(self) -> None:
        """Bind and serve.

        Raises `BindError` when an address cannot be bound; then those before it serve, and must be stopped.
        """
        for listener in self._listeners.values():
            await listener.start()

    async def stop(self, grace_s: float) -> None:
        """Close the listeners at once, tell clients to go elsewhere, and let calls end within the grace."""
        await asyncio.gather(*(listener.stop(grace_s) for listener in self._listeners.values()))


def _build_server(
    config: ServerConfig, listener: str, handlers: Mapping[str, Mapping[str, UnaryHandler]]
) -> grpc.aio.Server:
    server = grpc.aio.server(options=tuple(server_options(config).items()))
    for service, methods in handlers.items():
        rpcs: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                handler.handle_at(listener),
                response_serializer=lambda message: message.SerializeToString(),
            )
            for name, handler in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, rpcs),))
    if config.reflection:
        reflection.enable_server_reflection((*handlers, reflection.SERVICE_NAME), server)
    return server
