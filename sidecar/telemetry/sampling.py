"""Asks the sampler about a call before anything of its trace is made.

OpenTelemetry's SDK asks it when a span starts, and makes the objects of a span also where the answer is to drop it: for
most calls that is the larger part of what tracing costs. What a dropped call is, is tracing.py's.
"""

from collections.abc import Mapping, Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes


class CallSampler(RandomIdGenerator, Sampler):
    """The sampler of one provider and its id generator: to the SDK it repeats what was settled about the call.

    So the sampler itself is asked once a call, about the id that the trace really has. For one event loop, which starts
    the span of a call before it asks about the next call.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        # Of the call whose span is about to start.
        self._answer: SamplingResult | None = None
        self._trace_id = 0

    def ids_if_dropped(self, name: str, parent: Context, attributes: Mapping[str, str]) -> tuple[int, int] | None:
        """Ask about the server span of a call, as the SDK would: the trace is the parent's where there is one.

        Returns the ids of trace and span where the answer is to drop it; else None, and the span is to be started.
        """
        # A span that did not start, such as one of a tracer that is switched off, has left its answer.
        self._answer = None
        above = trace.get_current_span(parent).get_span_context()
        trace_id = above.trace_id if above.is_valid else self.generate_trace_id()
        answer = self._sampler.should_sample(parent, trace_id, name, SpanKind.SERVER, attributes, ())
        if answer.decision is Decision.DROP:
            return trace_id, self.generate_span_id()
        self._answer, self._trace_id = answer, trace_id
        return None

    def generate_trace_id(self) -> int:
        """Return the id that the sampler was asked about for the span that is about to start; else a new one."""
        return super().generate_trace_id() if self._answer is None else self._trace_id

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
        """Repeat the answer for the span that is about to start; ask about every other span."""
        if self._answer is not None:
            answer, self._answer = self._answer, None
            return answer
        return self._sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Describe the sampler that is asked."""
        return self._sampler.get_description()
