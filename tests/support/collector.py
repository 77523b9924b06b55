"""OTLP receivers that keep what they are sent: the service of opentelemetry-proto over gRPC, and OTLP over HTTP."""

import gzip
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

KINDS = {trace_pb2.Span.SPAN_KIND_SERVER: "server", trace_pb2.Span.SPAN_KIND_CLIENT: "client"}
STATUSES = {trace_pb2.Status.STATUS_CODE_UNSET: "unset", trace_pb2.Status.STATUS_CODE_ERROR: "error"}


@dataclass(frozen=True)
class Event:
    name: str
    at_ns: int


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it came; ids in hex, a root's `parent_id` is ""."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    status: str
    status_message: str
    attributes: dict[str, Any]
    events: tuple[Event, ...]
    scope: str
    schema_url: str
    resource: dict[str, Any]


class Collector:
    """What came. `endpoint` is for `OTEL_EXPORTER_OTLP_ENDPOINT`; `raw` holds the requests' bytes."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.requests: list[pb.ExportTraceServiceRequest] = []
        self.metadata: list[dict[str, str]] = []

    @property
    def raw(self) -> bytes:
        return b"".join(request.SerializeToString() for request in self.requests)

    @property
    def spans(self) -> list[ReceivedSpan]:
        """Every span, in the order of their starts."""
        return sorted((span for request in self.requests for span in _spans(request)), key=lambda span: span.start_ns)

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, kind: str) -> ReceivedSpan:
        (span,) = [span for span in self.spans if span.kind == kind]
        return span

    def keep(self, request: pb.ExportTraceServiceRequest, metadata: dict[str, str]) -> None:
        self.requests.append(request)
        self.metadata.append(metadata)


class _TraceService(pb_grpc.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(  # noqa: N802  # the name of the RPC
        self, request: pb.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> pb.ExportTraceServiceResponse:
        self._collector.keep(request, {key: str(value) for key, value in context.invocation_metadata()})
        return pb.ExportTraceServiceResponse()


@contextmanager
def grpc_collector() -> Iterator[Collector]:
    """Receive OTLP over gRPC inside the block."""
    collector = Collector()
    with ThreadPoolExecutor(max_workers=2) as pool:
        server = grpc.server(pool, options=(("grpc.so_reuseport", 0),))
        pb_grpc.add_TraceServiceServicer_to_server(_TraceService(collector), server)
        collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield collector
        finally:
            server.stop(0).wait()


@contextmanager
def http_collector(tls: ssl.SSLContext | None = None) -> Iterator[Collector]:
    """Receive OTLP over HTTP (`/v1/traces`, protobuf) inside the block."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            is_known = self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
            if is_known:
                collector.keep(pb.ExportTraceServiceRequest.FromString(body), dict(self.headers.items()))
            self.send_response(200 if is_known else 404)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
            """Write nothing to standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _spans(request: pb.ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield ReceivedSpan(
                    name=span.name,
                    kind=KINDS.get(span.kind, "internal"),
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    status=STATUSES[span.status.code],
                    status_message=span.status.message,
                    attributes=_values(span.attributes),
                    events=tuple(Event(event.name, event.time_unix_nano) for event in span.events),
                    scope=of_scope.scope.name,
                    schema_url=of_scope.schema_url,
                    resource=_values(of_resource.resource.attributes),
                )


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair) for pair in pairs}


def _value(pair: KeyValue) -> Any:
    kind = pair.value.WhichOneof("value")
    assert kind is not None
    return getattr(pair.value, kind)
