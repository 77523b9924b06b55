"""One push, one trace, as a real Jaeger gives it back: the caller, the sidecar, its waits, its attempts."""

import asyncio
from itertools import pairwise

import grpc
import pytest

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Fault, Kind, Simulator
from tests.jaeger.callers import BUILDERS
from tests.jaeger.conftest import Pusher, Serve
from tests.support.jaeger import JaegerSpan
from tests.support.running import METHOD, android
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(900)  # the first build of the callers fetches their dependencies

ATTEMPT = "POST /v3/push/app"
# Times are cut to microseconds, and the clocks of a span's start and of its length differ by as much.
SLACK_US = 1000


def assert_nested(spans: list[JaegerSpan]) -> None:
    """Every span but the first has its parent in the trace, and lies within it."""
    by_id = {span.span_id: span for span in spans}
    root, *rest = spans
    assert root.parent_id == ""
    for span in rest:
        parent = by_id[span.parent_id]
        assert parent.start_us - SLACK_US <= span.start_us, (parent, span)
        assert span.end_us <= parent.end_us + SLACK_US, (parent, span)


@pytest.mark.parametrize(
    ("pusher", "protocol"), [("go", "grpc"), ("java", "http/protobuf"), ("python", "grpc")], indirect=["pusher"]
)
async def test_push_is_one_trace_from_the_caller_to_the_vendor(
    pusher: Pusher, protocol: str, serve: Serve, vendor: Simulator, request: pytest.FixtureRequest
) -> None:
    language = request.node.callspec.params["pusher"]
    otel = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": getattr(
            request.getfixturevalue("jaeger"), "otlp_grpc" if protocol == "grpc" else "otlp_http"
        ),
    }
    async with serve(otel) as target:
        spans = await pusher.trace(await pusher.push(target), 4)
    assert [(span.service, span.name, span.kind) for span in spans] == [
        (f"shop-{language}", "ship order", "internal"),
        (f"shop-{language}", METHOD, "client"),
        ("push-sidecar", METHOD, "server"),
        ("push-sidecar", ATTEMPT, "client"),
    ]
    assert [span.parent_id for span in spans] == ["", *(span.span_id for span in spans[:3])]
    assert_nested(spans)
    assert [span.is_error for span in spans] == [False] * 4
    _, _, server, attempt = spans
    assert {key: value for key, value in server.tags.items() if not key.startswith("otel.scope.")} == {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.status_code": "OK",
        "push_sidecar.app": "shop",
        "push_sidecar.provider": "xg",
        "push_sidecar.audience": "token",
    }
    assert {key: value for key, value in attempt.tags.items() if not key.startswith("otel.scope.")} == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.full": f"https://localhost:{vendor.port}/v3/push/app",
        "url.template": "/v3/push/app",
        "server.address": "localhost",
        "server.port": vendor.port,
        "push_sidecar.connection_reused": False,
    }


async def test_attempt_tells_lookup_connect_handshake_sending_and_first_byte(pusher: Pusher, serve: Serve) -> None:
    async with serve() as target:
        first = (await pusher.trace(await pusher.push(target), 4))[-1]
        second = (await pusher.trace(await pusher.push(target), 4))[-1]
    assert [name for name, _ in first.events] == [
        "connect.start", "dns.start", "dns.end", "tls.start", "tls.end", "connect.end",
        "request.body.sent", "response.headers.received",
    ]  # fmt: skip
    for attempt in (first, second):
        times = [attempt.start_us - SLACK_US, *(at_us for _, at_us in attempt.events), attempt.end_us + SLACK_US]
        assert times == sorted(times)
    assert [name for name, _ in second.events] == ["request.body.sent", "response.headers.received"]
    assert second.tags["push_sidecar.connection_reused"] is True


async def test_retry_shows_each_attempt_and_the_back_off_between_them(
    pusher: Pusher, serve: Serve, vendor: Simulator
) -> None:
    vendor.script(Fault(kind=Kind.RET_CODE, ret_code=10201, times=2))
    async with serve(retry={"initial_backoff_s": 0.05, "max_backoff_s": 0.05}) as target:
        spans = await pusher.trace(await pusher.push(target), 8)
    assert_nested(spans)
    _, _, server, *rest = spans
    assert [span.name for span in rest] == [ATTEMPT, "retry backoff", ATTEMPT, "retry backoff", ATTEMPT]
    assert {span.parent_id for span in rest} == {server.span_id}
    attempts = [span for span in rest if span.name == ATTEMPT]
    assert [span.tags.get("http.request.resend_count") for span in attempts] == [None, 1, 2]
    assert [span.is_error for span in attempts] == [True, True, False]
    assert [span.tags.get("error.type") for span in attempts] == ["VENDOR_BUSY", "VENDOR_BUSY", None]
    assert not server.is_error
    for before, after in pairwise(rest):
        assert before.end_us <= after.start_us + SLACK_US


async def test_wait_for_a_place_is_seen(pusher: Pusher, serve: Serve, vendor: Simulator) -> None:
    vendor.script(Fault(kind=Kind.SLOW, latency_s=5))
    async with serve(max_in_flight=1) as target, grpc.aio.insecure_channel(target) as channel:
        first = asyncio.ensure_future(PushServiceStub(channel).Push(android(), timeout=10))
        await until(lambda: vendor.received == 1)
        spans = await pusher.trace(await pusher.push(target), 5)
        await first
    assert_nested(spans)
    _, _, server, wait, attempt = spans
    assert (wait.name, wait.parent_id, attempt.name) == ("admission wait", server.span_id, ATTEMPT)
    assert wait.end_us <= attempt.start_us + SLACK_US
    # Where the time went: the wait is most of the call.
    assert wait.duration_us > server.duration_us / 2 > attempt.duration_us


async def test_wait_for_the_quota_is_seen(pusher: Pusher, serve: Serve, vendor: Simulator) -> None:
    vendor.script(Fault(kind=Kind.HTTP, status=429, headers={"Retry-After": "5"}))
    async with serve() as target:
        refused = await pusher.trace(await pusher.push(target, is_refused=True), 4)
        spans = await pusher.trace(await pusher.push(target), 5)
    assert refused[2].tags["push_sidecar.reason"] == "QUOTA_EXCEEDED"
    assert refused[2].tags["push_sidecar.sent"] == "no"
    assert_nested(spans)
    _, _, server, wait, attempt = spans
    assert (wait.name, wait.parent_id, attempt.name) == ("pacing wait", server.span_id, ATTEMPT)
    assert wait.duration_us > server.duration_us / 2 > attempt.duration_us


@pytest.mark.parametrize("pusher", BUILDERS, indirect=True)
async def test_unknown_outcome_is_an_error_of_every_span(pusher: Pusher, serve: Serve) -> None:
    async with serve() as target:
        spans = await pusher.trace(await pusher.push(target, "fault-http-503", is_refused=True), 4)
    assert_nested(spans)
    assert [span.is_error for span in spans] == [True] * 4
    _, _, server, attempt = spans
    assert server.tags["rpc.status_code"] == server.tags["error.type"] == "UNKNOWN"
    assert server.tags["push_sidecar.reason"] == attempt.tags["error.type"] == "OUTCOME_UNKNOWN"
    assert server.tags["push_sidecar.sent"] == "maybe"
    assert attempt.tags["http.response.status_code"] == 503


async def test_trace_says_nothing_of_target_and_content(pusher: Pusher, serve: Serve) -> None:
    async with serve() as target:
        spans = await pusher.trace(await pusher.push(target, "sim-planted-device"), 4)
        spans += await pusher.trace(await pusher.push(target, "planted-nobody", is_refused=True), 4)
    text = str(spans)
    assert "planted" not in text
    assert "Your order is on its way" not in text
    assert "not-a-secret" not in text


@pytest.mark.parametrize(("sampler", "spans"), [("parentbased_always_off", 4), ("always_off", 2)])
async def test_parents_decision_counts_unless_the_sampler_is_not_parent_based(
    pusher: Pusher, serve: Serve, sampler: str, spans: int
) -> None:
    async with serve({"OTEL_TRACES_SAMPLER": sampler}) as target:
        trace_id = await pusher.push(target)
    # The sidecar has stopped: it has sent all that it will ever send.
    assert len(await pusher.trace(trace_id, spans)) == spans
