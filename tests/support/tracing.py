"""Tracers without a pipeline: what would be exported, and what is kept for callers who asked."""

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sidecar.telemetry.tracing import SpanRecorder, Tracers


class Tracing:
    """`spans` has the ended spans, `kept` counts the calls whose spans wait to be taken."""

    def __init__(self) -> None:
        self._memory = InMemorySpanExporter()
        self._recorder = SpanRecorder()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(self._recorder)
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        tracer = provider.get_tracer("test")
        self.tracers = Tracers(tracer, tracer, self._recorder)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._memory.get_finished_spans()

    @property
    def kept(self) -> int:
        return len(self._recorder._spans)  # noqa: SLF001  # a leak shows nowhere else
