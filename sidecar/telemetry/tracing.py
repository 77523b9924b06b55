"""Spans of a call: the server span, its waits, and one client span per vendor attempt.

Which spans there are is decided here; who makes them exist (sampling, batching, export) is OpenTelemetry's SDK. A call
that the sampler drops has no span: it has the ids of one, for its log lines. A caller can ask for the trace of its own
call (metadata `push-sidecar-trace`): that call is recorded whatever the sampler says, and its spans go back in the
trailing metadata of the same name.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import NoOpTracer, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sidecar.telemetry import names
from sidecar.telemetry.sampling import CallSampler

# A trailer of its own beside the error's details; clients lose trailers of more than 8 KB. The last spans are left out.
MAX_RECORDED_CHARS = 3000

_propagator = TraceContextTextMapPropagator()
_no_spans = NoOpTracer()
_no_parent = Context()


class Tracers:
    """The tracer that the configuration asks for, and the one for callers who ask themselves.

    `admits_call`: whether the spans of a call could be kept until they are sent. `sampler`: the one of `tracer`; None
    where `tracer` itself is to decide about each call.
    """

    def __init__(
        self,
        tracer: Tracer,
        on_request: Tracer,
        recorder: "SpanRecorder",
        admits_call: Callable[[], bool] = lambda: True,
        sampler: CallSampler | None = None,
    ) -> None:
        self._tracer = tracer
        self._sampler = sampler
        self._on_request = on_request
        self._recorder = recorder
        self._admits_call = admits_call

    def start_call(self, method: str, headers: Mapping[str, str], *, is_requested: bool) -> "CallTrace":
        """Start the server span of a call to `package.Service/Method`, below the parent that its `headers` name.

        `headers`: those of W3C's Trace Context; empty where the call has no `traceparent`.
        """
        parent = _propagator.extract(headers) if headers else _no_parent
        attributes = {names.RPC_SYSTEM_NAME: "grpc", names.RPC_METHOD: method}
        tracer = self._on_request if is_requested else self._tracer if self._admits_call() else _no_spans
        if self._sampler is not None and tracer is self._tracer:
            dropped = self._sampler.ids_if_dropped(method, parent, attributes)
            if dropped is not None:
                return DroppedTrace(*dropped)
        span = tracer.start_span(method, context=parent, kind=SpanKind.SERVER, attributes=attributes)
        if is_requested:
            self._recorder.watch(span.get_span_context().span_id)
        return CallTrace(tracer, span, self._recorder if is_requested else None)


class CallTrace:
    """The spans of one call."""

    __slots__ = ("_recorder", "_tracer", "span")

    def __init__(self, tracer: Tracer, span: trace.Span, recorder: "SpanRecorder | None" = None) -> None:
        self._tracer = tracer
        self._recorder = recorder
        self.span = span

    @property
    def is_recording(self) -> bool:
        """Whether anybody will see this."""
        return self.span.is_recording()

    @property
    def exemplar(self) -> dict[str, str] | None:
        """The label that leads from a metric to this trace; None when it is not sampled."""
        context = self.span.get_span_context()
        return {"trace_id": f"{context.trace_id:032x}"} if context.trace_flags.sampled else None

    @property
    def ids(self) -> dict[str, str]:
        """Trace and span id for a log line; empty when there is no trace."""
        context = self.span.get_span_context()
        return _ids(context.trace_id, context.span_id) if context.is_valid else {}

    def add_wait(self, name: str, started_ns: int) -> None:
        """Record a wait that began at `started_ns` (nanoseconds since the epoch) and ends now."""
        if self.span.is_recording():
            self._tracer.start_span(name, context=self._below, start_time=started_ns).end()

    def start_attempt(self, name: str, attributes: Mapping[str, str | int], *, resend_count: int) -> trace.Span:
        """Start the client span of a call to the vendor; `resend_count` is 0 for the first."""
        if not self.span.is_recording():
            # No sampler keeps a child alone, and to ask it for each costs as much as a span.
            return trace.INVALID_SPAN
        span = self._tracer.start_span(name, context=self._below, kind=SpanKind.CLIENT, attributes=attributes)
        if resend_count:
            span.set_attribute(names.HTTP_REQUEST_RESEND_COUNT, resend_count)
        return span

    def end(self, attributes: Mapping[str, str | int | bool], *, is_error: bool) -> None:
        """End the server span."""
        if self.span.is_recording():
            self.span.set_attributes(attributes)
            if is_error:
                self.span.set_status(StatusCode.ERROR)
        self.span.end()

    def recorded(self) -> str | None:
        """Return the call's ended spans as ASCII JSON, if the caller asked for them.

        A list of [name, parent index (-1: none), start in us from the first, duration in us, status, attributes,
        [[event, offset in us], ...]]. The first spans of a call that has too many for a trailer.
        """
        if self._recorder is None:
            return None
        return _as_json(self._recorder.take(self.span.get_span_context().span_id))

    @property
    def _below(self) -> Context:
        return trace.set_span_in_context(self.span, _no_parent)


class DroppedTrace(CallTrace):
    """A call that no trace records: it has the ids that its log lines name, and no span."""

    __slots__ = ("_span_id", "_trace_id")

    def __init__(self, trace_id: int, span_id: int) -> None:
        super().__init__(_no_spans, trace.INVALID_SPAN)
        self._trace_id = trace_id
        self._span_id = span_id

    @property
    def is_recording(self) -> bool:
        """Nobody will see this."""
        return False

    @property
    def exemplar(self) -> None:
        """There is no trace that a metric could lead to."""

    @property
    def ids(self) -> dict[str, str]:
        """Trace and span id for a log line."""
        return _ids(self._trace_id, self._span_id)


class SpanRecorder(SpanProcessor):
    """Keeps the ended spans of the calls that are watched, until they are taken."""

    def __init__(self) -> None:
        self._spans: dict[int, list[ReadableSpan]] = {}

    def watch(self, root_id: int) -> None:
        """Keep the spans of the call whose server span has this id."""
        self._spans[root_id] = []

    def take(self, root_id: int) -> list[ReadableSpan]:
        """Return the spans of a call and forget it."""
        return self._spans.pop(root_id, [])

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: a span counts when it has ended."""

    def on_end(self, span: ReadableSpan) -> None:
        """Keep the span if its call is watched."""
        context = span.context
        parent_id = span.parent.span_id if span.parent else 0
        if context is not None and context.span_id in self._spans:
            self._spans[context.span_id].append(span)
        elif parent_id in self._spans:
            self._spans[parent_id].append(span)


def end_attempt(
    span: trace.Span,
    attributes: Mapping[str, str | int | bool],
    events: Sequence[tuple[str, int]],
    *,
    is_error: bool,
) -> None:
    """End a client span with what is known of it. Times of `events` in nanoseconds since the epoch."""
    if span.is_recording():
        for name, at_ns in events:
            span.add_event(name, timestamp=at_ns)
        span.set_attributes(attributes)
        if is_error:
            span.set_status(StatusCode.ERROR)
    span.end()


def _ids(trace_id: int, span_id: int) -> dict[str, str]:
    return {"trace_id": f"{trace_id:032x}", "span_id": f"{span_id:016x}"}


def _as_json(spans: list[ReadableSpan]) -> str:
    spans = sorted(spans, key=lambda span: span.start_time or 0)
    ids = [span.context.span_id if span.context else 0 for span in spans]
    zero_ns = (spans[0].start_time or 0) if spans else 0
    rows = [
        [
            span.name,
            ids.index(span.parent.span_id) if span.parent and span.parent.span_id in ids else -1,
            ((span.start_time or 0) - zero_ns) // 1000,
            ((span.end_time or time.time_ns()) - (span.start_time or 0)) // 1000,
            span.status.status_code.name.lower(),
            dict(span.attributes or {}),
            [[event.name, (event.timestamp - zero_ns) // 1000] for event in span.events],
        ]
        for span in spans
    ]
    texts: list[str] = []
    size = 1
    for row in rows:
        texts.append(json.dumps(row, separators=(",", ":")))
        size += len(texts[-1]) + 1
        if size > MAX_RECORDED_CHARS:
            texts.pop()
            break
    return f"[{','.join(texts)}]"
