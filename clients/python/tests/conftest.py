"""A server that answers as a test says, and both flavours of the helper to call it with."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from pushsidecar.client import connect, connect_async
from pushsidecar.xg.v1 import PushRequest, PushResponse
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub

Handler = Callable[[PushRequest, grpc.ServicerContext], PushResponse]
Push = Callable[..., Awaitable[PushResponse]]
SERVICE = "pushsidecar.xg.v1.PushService"
# Of the methods that a later sidecar may have: nothing is promised about its headers.
UNKNOWN_METHOD = "Later"


@dataclass
class Sidecar:
    """A server in this process; `calls` counts what reached its handler."""

    handler: Handler
    target: str = ""
    calls: int = 0
    server: grpc.Server | None = field(default=None, repr=False)

    def start(self, address: str) -> None:
        handler = grpc.unary_unary_rpc_method_handler(
            self._push, PushRequest.FromString, PushResponse.SerializeToString
        )
        generic = grpc.method_handlers_generic_handler(SERVICE, {"Push": handler, UNKNOWN_METHOD: handler})
        self.server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((generic,))
        port = self.server.add_insecure_port(address)
        self.target = address if address.startswith("unix:") else f"127.0.0.1:{port}"
        self.server.start()

    def _push(self, request: PushRequest, context: grpc.ServicerContext) -> PushResponse:
        self.calls += 1
        return self.handler(request, context)


@pytest.fixture
def serve() -> Iterator[Callable[..., Sidecar]]:
    """Start servers; they are stopped at the end."""
    started: list[Sidecar] = []

    def start(handler: Handler, address: str = "127.0.0.1:0") -> Sidecar:
        sidecar = Sidecar(handler)
        started.append(sidecar)
        sidecar.start(address)
        return sidecar

    yield start
    for sidecar in started:
        if sidecar.server:
            sidecar.server.stop(None).wait()


def push_method(channel: Any) -> Any:
    return PushServiceStub(channel).Push


def unknown_method(channel: Any) -> Any:
    return channel.unary_unary(f"/{SERVICE}/{UNKNOWN_METHOD}", PushRequest.SerializeToString, PushResponse.FromString)


@pytest.fixture(params=[push_method, unknown_method], ids=["Push", "unknown method"])
def any_method(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Return what makes the callable of a method from a channel."""
    return request.param


@pytest.fixture(params=["sync", "aio"])
def call(request: pytest.FixtureRequest) -> Callable[..., Awaitable[PushResponse]]:
    """Make one call through a channel of either flavour: `call(method, target, request, timeout_s=, **connect)`."""

    def call_sync(method: Any, target: str, message: PushRequest, call_arguments: Any, how: Any) -> PushResponse:
        with connect(target, **how) as channel:
            return method(channel)(message, **call_arguments)

    async def call_either(
        method: Any,
        target: str,
        message: PushRequest | None = None,
        *,
        timeout_s: float | None = None,
        wait_for_ready: bool | None = None,
        **how: Any,
    ) -> PushResponse:
        message = message or PushRequest()
        call_arguments = {"timeout": timeout_s, "wait_for_ready": wait_for_ready}
        if request.param == "sync":
            return await asyncio.to_thread(call_sync, method, target, message, call_arguments, how)
        async with connect_async(target, **how) as channel:
            return await method(channel)(message, **call_arguments)

    return call_either


@pytest.fixture
def push(call: Callable[..., Awaitable[PushResponse]]) -> Push:
    """Make one push through a channel of either flavour: `push(target, request, timeout_s=, **connect)`."""
    return partial(call, push_method)


@pytest.fixture
def call_unknown_method(call: Callable[..., Awaitable[PushResponse]]) -> Push:
    """Call a method that this helper does not know, as `push` does."""
    return partial(call, unknown_method)


def info(sent: str, reason: str, domain: str = "push-sidecar", **facts: str) -> error_details_pb2.ErrorInfo:
    """Return the ErrorInfo that a sidecar sends."""
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata={"sent": sent, **facts})


def fail(
    context: grpc.ServicerContext, code: grpc.StatusCode, *details: Message, trailers: tuple[tuple[str, str], ...] = ()
) -> PushResponse:
    """End the call with a `google.rpc.Status` of these details."""
    status = status_pb2.Status(code=code.value[0], message="no luck")
    for detail in details:
        status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()), *trailers))
    context.abort(code, "no luck")


@pytest.fixture
def crafted() -> tuple[Callable[..., PushResponse], Callable[..., error_details_pb2.ErrorInfo]]:
    """Return `fail` and `info`, which tests cannot import from here."""
    return fail, info
