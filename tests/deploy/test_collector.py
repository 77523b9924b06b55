"""`deploy/collector/metrics.yaml` in a real OpenTelemetry Collector: what a sidecar exports arrives as OTLP metrics."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as pb
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as pb_grpc
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics

from tests.support.running import Running
from tests.support.tools import find_built
from tests.support.waiting import until

CONFIG = Path(__file__).parents[2] / "deploy" / "collector" / "metrics.yaml"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = (("traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-01"),)


class Received(pb_grpc.MetricsServiceServicer):
    """What came; the last of each resource."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.last: ResourceMetrics | None = None

    def Export(  # noqa: N802  # the name of the RPC
        self, request: pb.ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> pb.ExportMetricsServiceResponse:
        for resource in request.resource_metrics:
            self.last = resource
        return pb.ExportMetricsServiceResponse()

    @property
    def resource(self) -> dict[str, str]:
        assert self.last is not None
        return {pair.key: pair.value.string_value for pair in self.last.resource.attributes}

    @property
    def metrics(self) -> dict[str, Metric]:
        if self.last is None:
            return {}
        return {metric.name: metric for scope in self.last.scope_metrics for metric in scope.metrics}

    def exemplars(self, name: str) -> set[str]:
        """Return the trace ids of a metric's exemplars, in hex."""
        metric = self.metrics.get(name, Metric())
        points = [*metric.histogram.data_points, *metric.sum.data_points]
        return {exemplar.trace_id.hex() for point in points for exemplar in point.exemplars}


@contextmanager
def otlp_receiver() -> Iterator[Received]:
    received = Received()
    with ThreadPoolExecutor(max_workers=2) as pool:
        server = grpc.server(pool, options=(("grpc.so_reuseport", 0),))
        pb_grpc.add_MetricsServiceServicer_to_server(received, server)
        received.endpoint = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield received
        finally:
            server.stop(0).wait()


@asynccontextmanager
async def collector(directory: Path, environment: dict[str, str]) -> AsyncIterator[Path]:
    """Run it inside the block; gives the file of its log."""
    program = find_built("collector")
    log = directory / "collector.log"
    with log.open("wb") as to:
        process = await asyncio.create_subprocess_exec(
            program,
            *("--config", str(CONFIG)),
            stderr=to,
            stdout=to,
            env={"PATH": os.environ["PATH"], "HOME": str(directory), **environment},
        )
    try:
        yield log
    finally:
        process.kill()
        await process.wait()


async def test_what_a_sidecar_exports_arrives_as_otlp(running: Running, tmp_path: Path) -> None:
    await running.push(metadata=TRACEPARENT)
    with otlp_receiver() as received:
        environment = {
            "PUSH_SIDECAR_ADMIN": running.sidecar.admin_address,
            "OTLP_ENDPOINT": received.endpoint,
            "OTLP_INSECURE": "true",
            "SCRAPE_INTERVAL": "250ms",
        }
        async with collector(tmp_path, environment) as log:
            try:
                await until(lambda: received.exemplars("rpc_server_call_duration_seconds") != set(), timeout_s=60)
            except TimeoutError:
                raise AssertionError(f"no metrics came:\n{log.read_text()[-3000:]}") from None
        metrics = received.metrics

    assert received.resource["service.name"] == "push-sidecar"
    assert received.resource["service.instance.id"] == running.sidecar.admin_address
    duration = metrics["rpc_server_call_duration_seconds"]
    assert duration.WhichOneof("data") == "histogram"
    assert duration.unit == "s"
    assert duration.histogram.data_points[0].count == 1
    assert received.exemplars("rpc_server_call_duration_seconds") == {TRACE_ID}
    assert received.exemplars("push_sidecar_pushes_total") == {TRACE_ID}
    assert metrics["push_sidecar_pushes_total"].sum.is_monotonic
    (pushes,) = metrics["push_sidecar_pushes_total"].sum.data_points
    labels = {pair.key: pair.value.string_value for pair in pushes.attributes}
    assert labels == {"app": "shop", "provider": "xg", "audience": "token", "reason": "OK", "sent": "yes"}
    assert metrics["push_sidecar_in_flight_limit"].gauge.data_points[0].as_double == 64
