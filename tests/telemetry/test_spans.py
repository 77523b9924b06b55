"""Spans as a real OTLP receiver gets them: which, below which, with what status, for every way a call can end."""

import asyncio
from itertools import pairwise
from typing import Any

import grpc
import pytest

from sidecar.simulator import Fault, Kind, Simulator
from tests.support.collector import Collector, ReceivedSpan
from tests.support.running import METHOD, android
from tests.support.waiting import until
from tests.telemetry.conftest import Traced

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER_SPAN_ID = "b7ad6b7169203331"
TRACEPARENT = (("traceparent", f"00-{TRACE_ID}-{CALLER_SPAN_ID}-01"),)
FAST_RETRY = {"retry": {"initial_backoff_s": 0.01, "max_backoff_s": 0.01}}


def check_server_span(span: ReceivedSpan, **expected: Any) -> None:
    assert (span.name, span.kind, span.status_message) == (METHOD, "server", "")
    known = {"rpc.system.name": "grpc", "rpc.method": METHOD, "push_sidecar.provider": "xg"}
    assert span.attributes == {**known, **{key.replace("__", "."): value for key, value in expected.items()}}


async def test_span_of_the_call_is_below_the_callers_and_that_of_the_attempt_below_it(
    traced: Traced, collector: Collector
) -> None:
    async with traced() as running:
        await running.push(metadata=(*TRACEPARENT, ("tracestate", "vendor=value")))
    server, client = collector.spans
    assert (server.trace_id, server.parent_id) == (TRACE_ID, CALLER_SPAN_ID)
    assert (client.trace_id, client.parent_id) == (TRACE_ID, server.span_id)
    assert (server.kind, client.kind) == ("server", "client")
    assert server.start_ns <= client.start_ns <= client.end_ns <= server.end_ns


async def test_call_without_a_traceparent_starts_a_trace(traced: Traced, collector: Collector) -> None:
    async with traced() as running:
        await running.push()
        await running.push()
    servers = collector.named(METHOD)
    assert [span.parent_id for span in servers] == ["", ""]
    assert len({span.trace_id for span in servers}) == 2


async def test_unreadable_traceparent_starts_a_trace(traced: Traced, collector: Collector) -> None:
    async with traced() as running:
        await running.push(metadata=(("traceparent", "00-nonsense"),))
    assert collector.one("server").parent_id == ""


def trace_states(collector: Collector) -> set[str]:
    return {
        span.trace_state
        for request in collector.requests
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    }


async def test_several_tracestate_entries_are_one_list_in_their_order(traced: Traced, collector: Collector) -> None:
    async with traced() as running:
        await running.push(metadata=(("tracestate", "b=2,c=3"), *TRACEPARENT, ("tracestate", "a=1")))
    assert {span.trace_id for span in collector.spans} == {TRACE_ID}
    assert trace_states(collector) == {"b=2,c=3,a=1"}


async def test_of_two_parents_grpc_hands_over_the_last(traced: Traced, collector: Collector) -> None:
    async with traced() as running:
        await running.push(metadata=(("traceparent", f"00-{'1' * 32}-{'2' * 16}-01"), *TRACEPARENT))
    assert collector.one("server").parent_id == CALLER_SPAN_ID, "now both are seen: docs/tracing.md"


async def test_success(traced: Traced, collector: Collector, vendor: Simulator) -> None:
    async with traced() as running:
        await running.push()
    server, client = collector.spans
    check_server_span(
        server,
        rpc__status_code="OK",
        push_sidecar__app="shop",
        push_sidecar__audience="token",
    )
    assert (server.status, client.status, client.name) == ("unset", "unset", "POST /v3/push/app")
    assert client.attributes == {
        "http.request.method": "POST",
        "url.full": f"https://127.0.0.1:{vendor.port}/v3/push/app",
        "url.template": "/v3/push/app",
        "server.address": "127.0.0.1",
        "server.port": vendor.port,
        "http.response.status_code": 200,
        "push_sidecar.connection_reused": False,
    }
    assert client.resource["service.name"] == "push-sidecar"
    assert (client.scope, client.schema_url) == ("push-sidecar", "https://opentelemetry.io/schemas/1.45.0")


async def test_events_of_an_attempt_tell_connecting_from_sending(traced: Traced, collector: Collector) -> None:
    async with traced() as running:
        await running.push()
        await running.push()
    first, second = [span for span in collector.spans if span.kind == "client"]
    assert [event.name for event in first.events] == [
        "connect.start", "tls.start", "tls.end", "connect.end", "request.body.sent", "response.headers.received",
    ]  # fmt: skip
    times = [first.start_ns, *(event.at_ns for event in first.events), first.end_ns]
    assert times == sorted(times)
    assert [event.name for event in second.events] == ["request.body.sent", "response.headers.received"]
    assert second.attributes["push_sidecar.connection_reused"] is True


async def test_vendor_error_is_an_error_of_both_spans(traced: Traced, collector: Collector) -> None:
    async with traced() as running:
        failure = await running.fail(android("fault-http-503"))
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
    server, client = collector.spans
    check_server_span(
        server,
        rpc__status_code="UNKNOWN",
        error__type="UNKNOWN",
        push_sidecar__app="shop",
        push_sidecar__audience="token",
        push_sidecar__reason="OUTCOME_UNKNOWN",
        push_sidecar__sent="maybe",
    )
    assert (server.status, client.status) == ("error", "error")
    assert client.attributes["http.response.status_code"] == 503
    assert client.attributes["error.type"] == "OUTCOME_UNKNOWN"


async def test_lost_answer_is_an_error_with_its_cause(traced: Traced, collector: Collector) -> None:
    async with traced() as running:
        await running.fail(android("fault-reset-after-body"))
    server, client = collector.spans
    assert (server.status, client.status) == ("error", "error")
    assert client.attributes["error.type"] == "connection_lost"
    assert "http.response.status_code" not in client.attributes


async def test_rich_error_keeps_its_code_and_is_no_failure_of_the_server(traced: Traced, collector: Collector) -> None:
    async with traced() as running:
        failure = await running.fail(android("unknown-device"))
    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "TARGET_UNKNOWN")
    assert failure.status is not None
    server, client = collector.spans
    check_server_span(
        server,
        rpc__status_code="NOT_FOUND",
        error__type="NOT_FOUND",
        push_sidecar__app="shop",
        push_sidecar__audience="token",
        push_sidecar__reason="TARGET_UNKNOWN",
        push_sidecar__sent="no",
        push_sidecar__vendor_code=10110,
    )
    assert (server.status, client.status) == ("unset", "error")
    assert client.attributes["error.type"] == "TARGET_UNKNOWN"


async def test_refused_request_has_no_attempt(traced: Traced, collector: Collector) -> None:
    async with traced() as running:
        await running.fail(android(""))
    (server,) = collector.spans
    assert server.status == "unset"
    assert server.attributes["rpc.status_code"] == "INVALID_ARGUMENT"
    assert server.attributes["push_sidecar.reason"] == "INVALID_REQUEST"


async def test_deadline_is_an_error_and_the_late_answer_still_ends_its_span(
    traced: Traced, collector: Collector
) -> None:
    async with traced() as running:
        failure = await running.fail(android("fault-latency-2"), timeout_s=1.5, metadata=TRACEPARENT)
    assert (failure.code, failure.sent) == (grpc.StatusCode.DEADLINE_EXCEEDED, "maybe")
    server, client = collector.one("server"), collector.one("client")
    check_server_span(
        server,
        rpc__status_code="DEADLINE_EXCEEDED",
        error__type="DEADLINE_EXCEEDED",
        push_sidecar__app="shop",
        push_sidecar__audience="token",
        push_sidecar__reason="DEADLINE",
        push_sidecar__sent="maybe",
    )
    assert (server.status, client.status) == ("error", "unset")
    assert (client.parent_id, client.trace_id) == (server.span_id, TRACE_ID)
    assert client.end_ns > server.end_ns
    assert client.attributes["http.response.status_code"] == 200


async def test_hang_up_is_cancelled_and_no_failure_of_the_server(
    traced: Traced, collector: Collector, vendor: Simulator
) -> None:
    async with traced() as running:
        call = running.stub.Push(android("fault-latency-0.3"), timeout=10)
        await until(lambda: vendor.received == 1)
        call.cancel()
    server, client = collector.one("server"), collector.one("client")
    check_server_span(
        server,
        rpc__status_code="CANCELLED",
        error__type="CANCELLED",
        push_sidecar__app="shop",
        push_sidecar__audience="token",
        push_sidecar__reason="CANCELLED",
        push_sidecar__sent="maybe",
    )
    assert (server.status, client.status) == ("unset", "unset")
    assert client.end_ns > server.end_ns


async def test_retries_are_counted_and_their_waits_are_spans(
    traced: Traced, collector: Collector, vendor: Simulator
) -> None:
    vendor.script(Fault(kind=Kind.RET_CODE, ret_code=10201, times=2))
    async with traced(app=FAST_RETRY) as running:
        assert (await running.push()).attempts == 3
    server, *rest = collector.spans
    assert [span.name for span in rest] == [
        "POST /v3/push/app", "retry backoff", "POST /v3/push/app", "retry backoff", "POST /v3/push/app",
    ]  # fmt: skip
    assert {span.parent_id for span in rest} == {server.span_id}
    attempts = [span for span in rest if span.kind == "client"]
    assert [span.attributes.get("http.request.resend_count") for span in attempts] == [None, 1, 2]
    assert [span.status for span in attempts] == ["error", "error", "unset"]
    assert server.status == "unset"
    for before, after in pairwise(rest):
        assert before.end_ns <= after.start_ns + 1_000_000  # the two clocks of a span differ by microseconds


async def test_wait_for_a_place_is_a_span(traced: Traced, collector: Collector, vendor: Simulator) -> None:
    async with traced(app={"max_in_flight": 1}) as running:
        first = asyncio.create_task(running.push(android("fault-latency-0.3")))
        await until(lambda: vendor.received == 1)
        await running.push(metadata=TRACEPARENT)
        await first
    (wait,) = collector.named("admission wait")
    (server,) = [span for span in collector.named(METHOD) if span.trace_id == TRACE_ID]
    assert (wait.parent_id, wait.kind) == (server.span_id, "internal")
    assert wait.end_ns - wait.start_ns > 100_000_000
    (attempt,) = [span for span in collector.spans if span.kind == "client" and span.parent_id == server.span_id]
    assert wait.end_ns <= attempt.start_ns + 1_000_000


async def test_wait_that_ended_in_the_deadline_is_a_span(
    traced: Traced, collector: Collector, vendor: Simulator
) -> None:
    async with traced(app={"max_in_flight": 1}) as running:
        first = asyncio.create_task(running.push(android("fault-latency-1")))
        await until(lambda: vendor.received == 1)
        failure = await running.fail(timeout_s=0.4, metadata=TRACEPARENT)
        await first
    assert (failure.code, failure.sent) == (grpc.StatusCode.DEADLINE_EXCEEDED, "no")
    server, wait = [span for span in collector.spans if span.trace_id == TRACE_ID]
    assert (server.name, wait.name, wait.parent_id) == (METHOD, "admission wait", server.span_id)


async def test_wait_for_the_quota_is_a_span(traced: Traced, collector: Collector, vendor: Simulator) -> None:
    """The vendor's own word pauses the app for a second; the next call waits for its end."""
    vendor.script(Fault(kind=Kind.HTTP, status=429, headers={"Retry-After": "1"}))
    async with traced() as running:
        assert (await running.fail()).reason == "QUOTA_EXCEEDED"
        await running.push()
    (wait,) = collector.named("pacing wait")
    server = collector.named(METHOD)[1]
    assert (wait.parent_id, wait.status) == (server.span_id, "unset")
    assert 0.5e9 < wait.end_ns - wait.start_ns < 5e9
    assert server.start_ns <= wait.start_ns


async def test_repetition_is_marked_and_its_wait_for_the_first_call_is_a_span(
    traced: Traced, collector: Collector, vendor: Simulator
) -> None:
    vendor.script(Fault(kind=Kind.SLOW, latency_s=0.2))
    async with traced() as running:
        first = asyncio.create_task(running.push(android(request_id="order-1")))
        await until(lambda: vendor.received == 1)
        assert (await running.push(android(request_id="order-1"))).replayed
        assert not (await first).replayed
    (wait,) = collector.named("request_id wait")
    marked = [span for span in collector.named(METHOD) if span.attributes.get("push_sidecar.replayed")]
    assert [span.span_id for span in marked] == [wait.parent_id]
    assert len(collector.named("POST /v3/push/app")) == 1
    assert "order-1" not in str([span.attributes for span in collector.spans])


async def test_vendor_is_not_told_of_the_trace(traced: Traced, vendor: Simulator) -> None:
    async with traced() as running:
        await running.push(metadata=(*TRACEPARENT, ("baggage", "user=1")))
    (record,) = vendor.records
    assert {name.lower() for name in record.headers} & {"traceparent", "tracestate", "baggage"} == set()


@pytest.mark.parametrize("flags", ["00", "01"])
async def test_caller_decides_whether_his_trace_is_sampled(traced: Traced, collector: Collector, flags: str) -> None:
    async with traced() as running:
        await running.push(metadata=(("traceparent", f"00-{TRACE_ID}-{CALLER_SPAN_ID}-{flags}"),))
    assert len(collector.spans) == (2 if flags == "01" else 0)
