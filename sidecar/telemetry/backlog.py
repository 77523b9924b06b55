"""The spans that wait for the collector: never more than fit in, and what becomes of those that it does not take.

It owns the bound, the rest after a failure, and the log line about what was lost. Batching is OpenTelemetry's SDK,
sending and its retries are its exporter's.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from sidecar.telemetry.export_failure import NO_TIME_LEFT, FailureCause, cause_of

# After a first failure, and at most. A collector that refuses at once would else be asked without a pause.
REST_S = 5.0
MAX_REST_S = 30.0
# So many are sent to a collector that has failed.
PROBE_SPANS = 16
LINE_INTERVAL_S = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many spans may wait, how many are sent at once, and how long one waits for more. OpenTelemetry's defaults."""

    max_queue_size: int = 2048
    max_export_batch_size: int = 512
    schedule_delay_ms: int = 5000


class Backlog(SpanProcessor):
    """Takes ended spans from the event loop; a thread of the SDK's sends them.

    While it is full, calls are to be made without spans: to make them only to drop them costs as much as to send them.
    While the collector fails, a few are enough to be full: they find out whether it is back.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        limits: Limits,
        *,
        rest_s: float = REST_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._probe_spans = min(PROBE_SPANS, limits.max_export_batch_size)
        self._sending = _Sending(exporter, rest_s, _Losses(now))
        self._batches = BatchSpanProcessor(
            self._sending,
            max_queue_size=limits.max_queue_size,
            max_export_batch_size=limits.max_export_batch_size,
            schedule_delay_millis=limits.schedule_delay_ms,
        )
        self._taken = 0  # by the event loop alone, as `_sending.done` by the sending thread alone

    @property
    def is_full(self) -> bool:
        """Whether the next span would be dropped."""
        limit = self._probe_spans if self._sending.failures else self._limits.max_queue_size
        return self._taken - self._sending.done >= limit

    def admits_call(self) -> bool:
        """Whether there is room for a call's spans; a call without is counted."""
        if self.is_full:
            self._sending.losses.untraced_calls += 1
            return False
        return True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: a span counts when it has ended."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span, or drop it when there is no room."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self.is_full:
            self._sending.losses.dropped_spans += 1
            return
        self._taken += 1
        self._batches.on_end(span)

    def stop_resting(self) -> None:
        """Try at once what is left, and do not wait between failures any more."""
        self._sending.is_stopping.set()

    def shutdown(self) -> None:
        """Send what is left. It takes as long as the collector lets it."""
        self.stop_resting()
        self._batches.shutdown()  # type: ignore[no-untyped-call]  # the SDK's

    def cut(self) -> None:
        """End the sending now: what is being sent, and what waits, is lost."""
        self._sending.cut()

    def close(self) -> None:
        """Say what was lost to the end, what still waits included."""
        self._sending.close(self._taken)


def rest_after(failures: int, first_s: float = REST_S) -> float:
    """Return how long the collector is left in peace after so many failures in a row, in seconds."""
    return float(min(first_s * 2 ** min(failures - 1, 10), max(first_s, MAX_REST_S)))


class _Losses:
    """Counts what the collector will never see, and says so once a minute."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._told_at: float | None = None
        self._told = (0, 0, 0)
        self.cause = ""
        # Each is written by one thread: the first by the sending one, the others by the event loop.
        self.failed_spans = 0
        self.dropped_spans = 0
        self.untraced_calls = 0

    def tell(self, *, is_last: bool = False) -> None:
        """Write a line if something was lost since the last one, and that was a minute ago."""
        total = (self.failed_spans, self.dropped_spans, self.untraced_calls)
        now = self._now()
        is_due = is_last or self._told_at is None or now - self._told_at >= LINE_INTERVAL_S
        if total == self._told or not is_due:
            return
        failed, dropped, untraced = (after - before for after, before in zip(total, self._told, strict=True))
        self._told, self._told_at = total, now
        fields: dict[str, object] = {"lost_spans": failed + dropped, "untraced_calls": untraced}
        if failed:
            fields["cause"] = self.cause
        _log.warning("traces lost", extra=fields)


class _Sending(SpanExporter):
    """The exporter, with a rest after each failure. It runs in the SDK's thread."""

    def __init__(self, exporter: SpanExporter, rest_s: float, losses: _Losses) -> None:
        self._exporter: SpanExporter | None = exporter
        self._rest_s = rest_s
        self._cause = FailureCause()
        self._ends = threading.Lock()
        self.losses = losses
        self.done = 0
        self.failures = 0  # in a row
        self.is_stopping = threading.Event()
        self._cut_by = ""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch. What fails is lost: the exporter has tried again by itself."""
        exporter = self._exporter
        try:
            result = SpanExportResult.FAILURE if exporter is None else exporter.export(spans)
        except Exception as error:  # noqa: BLE001  # whatever it is, the next batch is tried
            result, self._cause.seen = SpanExportResult.FAILURE, cause_of(error)
        if result is SpanExportResult.SUCCESS:
            self.failures = 0
        else:
            self.failures += 1
            self.losses.failed_spans += len(spans)
            self.losses.cause = self._cut_by or self._cause.seen or "unknown"
        self.done += len(spans)
        self._cause.seen = ""
        if not self._cut_by:  # else the last line is about to be written, with all of them
            self.losses.tell()
        if self.failures:
            self.is_stopping.wait(rest_after(self.failures, self._rest_s))
        return result

    def shutdown(self) -> None:
        """End the exporter. It logs a second end, as a mistake."""
        with self._ends:
            exporter, self._exporter = self._exporter, None
        if exporter is not None:
            exporter.shutdown()

    def cut(self) -> None:
        """End the exporter while it sends. What is being sent then fails at once."""
        # What the collector did so far tells more than that there is no time left; the cut itself fails the rest.
        self._cut_by = self._cause.seen or (self.losses.cause if self.failures else "") or NO_TIME_LEFT
        self.shutdown()

    def close(self, taken: int) -> None:
        """Count what was not sent as lost, and let go of the exporters' loggers."""
        if unsent := taken - self.done:
            self.losses.failed_spans += unsent
            self.losses.cause = self._cut_by or NO_TIME_LEFT
        self.losses.tell(is_last=True)
        self._cause.let_go()
