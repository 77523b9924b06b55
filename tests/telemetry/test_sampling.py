"""What becomes of a call that the sampler drops; and that the sampler is asked as OpenTelemetry's SDK asks it."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import INVALID_SPAN, Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes

from sidecar.telemetry.export import TracePipeline
from sidecar.telemetry.sampling import CallSampler
from sidecar.telemetry.tracing import CallTrace, DroppedTrace, SpanRecorder, Tracers

METHOD = "pushsidecar.xg.v1.PushService/Push"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01", "tracestate": "vendor=theirs"}

SetOtel = Callable[[dict[str, str]], dict[str, str]]


class Scripted(Sampler):
    """Answers always the same, and notes what it was asked."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self.asked: list[dict[str, Any]] = []

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        parent = get_current_span(parent_context).get_span_context()
        self.asked.append({
            "trace_id": trace_id, "parent": parent, "name": name, "kind": kind, "attributes": dict(attributes or {}),
            "links": links, "trace_state": trace_state,
        })  # fmt: skip
        if self._decision is Decision.DROP:
            return SamplingResult(Decision.DROP)
        return SamplingResult(self._decision, {"sampler.rule": "one"}, TraceState([("sampler", "ours")]))

    def get_description(self) -> str:
        return "scripted"


class Site:
    """Tracers with a sampler, and the spans that ended."""

    def __init__(self, sampler: Sampler) -> None:
        self._memory = InMemorySpanExporter()
        call_sampler = CallSampler(sampler)
        provider = TracerProvider(sampler=call_sampler, id_generator=call_sampler, shutdown_on_exit=False)
        recorder = SpanRecorder()
        provider.add_span_processor(recorder)
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        tracer = provider.get_tracer("test")
        self._tracers = Tracers(tracer, tracer, recorder, sampler=call_sampler)

    def start(self, headers: dict[str, str] | None = None) -> CallTrace:
        return self._tracers.start_call(METHOD, headers or {}, is_requested=False)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._memory.get_finished_spans()


def make_attempt(call: CallTrace) -> None:
    call.add_wait("admission wait", 1)
    call.start_attempt("POST /v3/push/app", {}, resend_count=1).end()
    call.end({"push_sidecar.app": "shop"}, is_error=True)


def test_dropped_call_has_ids_for_its_log_lines_and_no_span() -> None:
    site = Site(ALWAYS_OFF)
    call, other = site.start(), site.start()
    assert isinstance(call, DroppedTrace)
    assert not call.is_recording
    assert call.exemplar is None
    assert call.start_attempt("POST /v3/push/app", {}, resend_count=0) is INVALID_SPAN
    make_attempt(call)
    assert call.recorded() is None
    assert site.spans == ()
    assert call.ids == call.ids
    assert {name: len(value) for name, value in call.ids.items()} == {"trace_id": 32, "span_id": 16}
    assert not set(call.ids.values()) & {*other.ids.values(), "0" * 32, "0" * 16}


def test_dropped_call_goes_on_with_its_callers_trace_in_the_log() -> None:
    call = Site(ALWAYS_OFF).start(PARENT)
    assert call.ids["trace_id"] == TRACE_ID
    assert call.ids["span_id"] not in {"b7ad6b7169203331", "0" * 16}
    assert call.exemplar is None


@pytest.mark.parametrize("decision", list(Decision))
@pytest.mark.parametrize("headers", [{}, PARENT], ids=["root", "parent"])
def test_sampler_is_asked_once_about_a_call_and_as_the_sdk_asks(decision: Decision, headers: dict[str, str]) -> None:
    sampler = Scripted(decision)
    call = Site(sampler).start(headers)
    (asked,) = sampler.asked
    assert f"{asked.pop('trace_id'):032x}" == call.ids["trace_id"]
    parent = asked.pop("parent")
    assert parent.is_valid == bool(headers)
    if headers:
        assert (parent.trace_id, parent.span_id) == (int(TRACE_ID, 16), 0xB7AD6B7169203331)
        assert (parent.is_remote, parent.trace_flags.sampled) == (True, True)
    assert asked == {
        "name": METHOD,
        "kind": SpanKind.SERVER,
        "attributes": {"rpc.system.name": "grpc", "rpc.method": METHOD},
        "links": (),
        "trace_state": None,
    }
    call.end({}, is_error=False)


def test_attempt_of_a_recorded_call_is_asked_about_by_itself() -> None:
    sampler = Scripted(Decision.RECORD_AND_SAMPLE)
    site = Site(sampler)
    call = site.start()
    make_attempt(call)
    assert [asked["name"] for asked in sampler.asked] == [METHOD, "admission wait", "POST /v3/push/app"]
    wait, attempt, server = site.spans
    assert {span.context.trace_id for span in (wait, attempt, server) if span.context} == {
        int(call.ids["trace_id"], 16)
    }
    assert attempt.parent == wait.parent == server.context


@pytest.mark.parametrize("headers", [{}, PARENT], ids=["root", "parent"])
def test_recorded_call_has_what_the_sampler_added(headers: dict[str, str]) -> None:
    site = Site(Scripted(Decision.RECORD_AND_SAMPLE))
    call = site.start(headers)
    assert call.exemplar == {"trace_id": call.ids["trace_id"]}
    call.end({}, is_error=False)
    (span,) = site.spans
    assert span.context is not None
    assert dict(span.attributes or {}) == {"sampler.rule": "one"}
    assert span.context.trace_state.to_header() == "sampler=ours"
    assert f"{span.context.trace_id:032x}" == call.ids["trace_id"]
    assert (span.parent is not None) == bool(headers)


def test_call_that_is_recorded_only_is_recorded_and_no_metric_leads_to_it() -> None:
    call = Site(Scripted(Decision.RECORD_ONLY)).start()
    assert call.is_recording
    assert call.exemplar is None
    assert call.start_attempt("POST /v3/push/app", {}, resend_count=0).is_recording()
    call.end({}, is_error=False)


def test_ratio_is_that_of_the_ids_that_the_traces_have() -> None:
    """Asked a second time, about another id, the sampler would keep a quarter instead of a half."""
    site = Site(TraceIdRatioBased(0.5))
    calls = [site.start() for _ in range(200)]
    low_half = [int(call.ids["trace_id"], 16) & (2**64 - 1) < 2**63 for call in calls]
    assert [call.is_recording for call in calls] == low_half
    assert {True, False} == set(low_half)
    for call in calls:
        call.end({}, is_error=False)


SAMPLED, UNSAMPLED = PARENT["traceparent"], PARENT["traceparent"][:-2] + "00"


@pytest.mark.parametrize(
    ("sampler", "ratio", "parent", "is_recorded"),
    [
        ("", "", None, True),
        ("", "", UNSAMPLED, False),
        ("always_on", "", UNSAMPLED, True),
        ("always_off", "", SAMPLED, False),
        ("traceidratio", "0", SAMPLED, False),
        ("traceidratio", "1", None, True),
        ("parentbased_always_on", "", UNSAMPLED, False),
        ("parentbased_always_off", "", None, False),
        ("parentbased_always_off", "", SAMPLED, True),
        ("parentbased_traceidratio", "0", None, False),
        ("parentbased_traceidratio", "0", SAMPLED, True),
        ("parentbased_traceidratio", "1", UNSAMPLED, False),
    ],
)
def test_every_sampler_of_the_environment_decides_before_a_span_is_made(
    set_otel: SetOtel, sampler: str, ratio: str, parent: str | None, *, is_recorded: bool
) -> None:
    set_otel({"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": ratio} if sampler else {})
    assert ("OTEL_TRACES_SAMPLER" in os.environ) == bool(sampler)
    pipeline = TracePipeline(InMemorySpanExporter())
    try:
        headers = {"traceparent": parent} if parent else {}
        call = pipeline.tracers.start_call(METHOD, headers, is_requested=False)
        assert isinstance(call, DroppedTrace) is not is_recorded
        assert call.is_recording is is_recorded
        call.end({}, is_error=False)
        asked_for = pipeline.tracers.start_call(METHOD, headers, is_requested=True)
        asked_for.end({}, is_error=False)
        assert METHOD in (asked_for.recorded() or "")
    finally:
        pipeline.shutdown()
