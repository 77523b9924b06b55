"""One push as a step of an order, in a trace of its own OpenTelemetry SDK: `python traced_example.py TARGET TOKEN`.

The standard `OTEL_*` variables say where the trace goes (over gRPC), and what the service is called.
"""

import sys

import grpc
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from pushsidecar.client import connect, error_of
from pushsidecar.xg.v1 import AndroidNotification, PushRequest, PushResponse
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub

USAGE = "usage: python traced_example.py TARGET TOKEN  (TARGET: 127.0.0.1:50051 or unix:/run/push-sidecar/push.sock)"
METHOD = "pushsidecar.xg.v1.PushService/Push"


def main(arguments: list[str]) -> int:
    """Ship an order, and send its trace."""
    if len(arguments) != 2:  # noqa: PLR2004  # as the usage line says
        print(USAGE, file=sys.stderr)
        return 2
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        return 0 if ship_order(provider.get_tracer("traced"), *arguments) else 1
    finally:
        provider.shutdown()  # sends the spans that have not been sent yet


def ship_order(tracer: trace.Tracer, target: str, token: str) -> bool:
    """Stand for what the application does; the push is one step of it."""
    request = PushRequest(
        token=token,
        android_notification=AndroidNotification(title="Hello", content="Your order is on its way."),
    )
    with connect(target) as channel, tracer.start_as_current_span("ship order") as span:
        print(f"trace_id {span.get_span_context().trace_id:032x}")
        try:
            response = push(tracer, channel, request)
        except grpc.RpcError as failure:
            span.set_status(StatusCode.ERROR)
            print(error_of(failure), file=sys.stderr)
            return False
        print("push_id", response.push_id)
        return True


def push(tracer: trace.Tracer, channel: grpc.Channel, request: PushRequest) -> PushResponse:
    """Push in a client span, whose `traceparent` goes along as metadata: the sidecar's span is its child."""
    with tracer.start_as_current_span(METHOD, kind=SpanKind.CLIENT, record_exception=False):
        metadata: dict[str, str] = {}
        propagate.inject(metadata)
        response: PushResponse = PushServiceStub(channel).Push(request, timeout=10, metadata=tuple(metadata.items()))
        return response


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
