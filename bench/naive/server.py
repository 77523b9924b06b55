"""The sidecar that a competent person writes in an afternoon: the baseline (b) of the benchmark.

grpc.aio on asyncio's own loop, a default `httpx.AsyncClient`, protovalidate, the json module, and published
OpenTelemetry instrumentations, each as its documentation shows. It validates, renders, posts, reads and
answers like the real one; it has no admission, no retries, no error details, no metrics and one kind of push.
Nothing in it is slowed down, and nothing is tuned.
"""

import argparse
import asyncio
import json
import os
import signal
import ssl
from typing import Any

import grpc
import httpx
import protovalidate
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.grpc import aio_server_interceptor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from pushsidecar.xg.v1 import OUTCOME_ACCEPTED, PushRequest, PushResponse
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceServicer, add_PushServiceServicer_to_server


def render(request: PushRequest) -> dict[str, Any]:
    """Make the vendor's body of a push to one token of an Android notification."""
    notification = request.android_notification
    android: dict[str, Any] = {}
    for name in ("ring", "vibrate", "lights", "clearable"):
        if notification.HasField(name):
            android[name] = int(getattr(notification, name))
    for name in ("n_id", "builder_id", "ring_raw", "icon_res", "small_icon"):
        if value := getattr(notification, name):
            android[name] = value
    if notification.action.HasField("activity"):
        android["action"] = {"action_type": 1, "activity": notification.action.activity.activity}
    if notification.custom_content.HasField("fields"):
        android["custom_content"] = dict(notification.custom_content.fields.entries)
    return {
        "audience_type": "token",
        "token_list": [request.token],
        "platform": "android",
        "message_type": "notify",
        "message": {"title": notification.title, "content": notification.content, "android": android},
    }


class PushService(PushServiceServicer):
    """`pushsidecar.xg.v1.PushService`, for a token and an Android notification."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def Push(  # noqa: N802 - the method's name in the contract
        self, request: PushRequest, context: "grpc.aio.ServicerContext[PushRequest, PushResponse]"
    ) -> PushResponse:
        """Make one push."""
        try:
            protovalidate.validate(request)
        except protovalidate.ValidationError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        if not (request.HasField("token") and request.HasField("android_notification")):
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "only token and android_notification")
        try:
            reply = await self._client.post("/v3/push/app", json=render(request))
            reply.raise_for_status()
            answer = reply.json()
        except (httpx.HTTPError, ValueError) as error:
            await context.abort(grpc.StatusCode.UNKNOWN, repr(error))
        if answer["ret_code"] != 0:
            await context.abort(grpc.StatusCode.UNKNOWN, f"ret_code {answer['ret_code']}")
        return PushResponse(
            push_id=str(answer["push_id"]),
            seq=answer["seq"],
            environment=f"ENVIRONMENT_{answer['environment'].upper()}",
            outcome=OUTCOME_ACCEPTED,
            vendor_message=answer.get("err_msg", ""),
            result_json=json.dumps(answer.get("result")),
            attempts=1,
        )


async def serve(base_url: str, ca_file: str) -> None:
    """Serve until SIGTERM; prints its address as one line of JSON."""
    provider = TracerProvider(resource=Resource.create({"service.name": "naive"}))  # samples as OTEL_* says
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    HTTPXClientInstrumentor().instrument()

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = httpx.AsyncClient(
        base_url=base_url,
        auth=(os.environ["APP_ID"], os.environ["SECRET_KEY"]),
        verify=ssl.create_default_context(cafile=ca_file),
    )
    async with client:
        server = grpc.aio.server(interceptors=[aio_server_interceptor()])  # type: ignore[no-untyped-call]
        add_PushServiceServicer_to_server(PushService(client), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(json.dumps({"grpc": f"127.0.0.1:{port}"}), flush=True)
        await stop.wait()
        await server.stop(grace=1)
    provider.shutdown()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-url", required=True, help="of the upstream")
    parser.add_argument("--ca-file", required=True, help="CA of the upstream")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.base_url, arguments.ca_file))


if __name__ == "__main__":
    main()
