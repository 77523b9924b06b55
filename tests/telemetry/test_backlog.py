"""What waits for the collector: how much, what a failure leads to, and what is said of it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from sidecar.telemetry.backlog import LINE_INTERVAL_S, PROBE_SPANS, Backlog, Limits, rest_after
from sidecar.telemetry.export import TracePipeline
from tests.support.certificates import Authority
from tests.support.clock import Clock
from tests.support.collector import grpc_collector, http_collector
from tests.support.running import METHOD
from tests.transport.test_connect import unused_port

SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
PROMPT = Limits(max_queue_size=8, max_export_batch_size=4, schedule_delay_ms=1)
WITHIN_S = 10


class Scripted(SpanExporter):
    """An exporter that answers as it is told, each time when it is told; `sizes` has the batches."""

    def __init__(self) -> None:
        self.answer: SpanExportResult | Exception = SUCCESS
        self.sizes: list[int] = []
        self._asked = threading.Semaphore(0)
        self._may_answer = threading.Semaphore(0)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.sizes.append(len(spans))
        self._asked.release()
        self._may_answer.acquire(timeout=WITHIN_S)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def wait_until_asked(self) -> None:
        assert self._asked.acquire(timeout=WITHIN_S)

    def may_answer(self, times: int = 1) -> None:
        self._may_answer.release(times)


class Site:
    """A backlog, spans for it, and what was logged."""

    def __init__(self, exporter: SpanExporter, limits: Limits, rest_s: float) -> None:
        self.clock = Clock()
        self.backlog = Backlog(exporter, limits, rest_s=rest_s, now=self.clock)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(self.backlog)
        self._tracer = provider.get_tracer("test")

    def wait_for_room(self) -> None:
        until = time.monotonic() + WITHIN_S
        while self.backlog.is_full:
            assert time.monotonic() < until
            time.sleep(0.001)

    def end_spans(self, count: int) -> None:
        for _ in range(count):
            self._tracer.start_span(METHOD).end()


Start = Callable[..., Site]


@pytest.fixture
def start() -> Iterator[Start]:
    sites: list[tuple[Site, SpanExporter]] = []

    def build(exporter: SpanExporter, limits: Limits = PROMPT, rest_s: float = 0.001) -> Site:
        sites.append((Site(exporter, limits, rest_s), exporter))
        return sites[-1][0]

    yield build
    for site, exporter in sites:
        if isinstance(exporter, Scripted):
            exporter.may_answer(1000)
        site.backlog.shutdown()
        site.backlog.close()


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    fields = ("lost_spans", "untraced_calls", "cause")
    return [
        {name: vars(record)[name] for name in fields if name in vars(record)}
        for record in caplog.records
        if record.message == "traces lost"
    ]


def test_no_more_wait_than_the_limit_those_that_are_being_sent_included(start: Start) -> None:
    exporter = Scripted()
    site = start(exporter)
    site.end_spans(4)
    exporter.wait_until_asked()
    site.end_spans(3)
    assert not site.backlog.is_full
    site.end_spans(100)
    assert site.backlog.is_full
    exporter.may_answer(10)
    site.backlog.shutdown()
    assert exporter.sizes == [4, 4]
    assert not site.backlog.is_full


def test_calls_are_made_without_spans_while_it_is_full_and_with_spans_again_when_it_is_not() -> None:
    exporter = Scripted()
    pipeline = TracePipeline(exporter, PROMPT)

    def is_recorded() -> bool:
        call = pipeline.tracers.start_call(METHOD, {}, is_requested=False)
        call.end({}, is_error=False)
        return call.is_recording or call.ids != {}

    assert [is_recorded() for _ in range(8)] == [True] * 8
    assert [is_recorded() for _ in range(1000)] == [False] * 1000
    exporter.wait_until_asked()
    exporter.may_answer()
    exporter.wait_until_asked()  # by now the first batch is done
    assert is_recorded()
    exporter.may_answer(1000)
    pipeline.shutdown()


def test_caller_gets_the_trace_that_he_asks_for_while_it_is_full() -> None:
    exporter = Scripted()
    pipeline = TracePipeline(exporter, PROMPT)
    for _ in range(9):
        pipeline.tracers.start_call(METHOD, {}, is_requested=False).end({}, is_error=False)
    call = pipeline.tracers.start_call(METHOD, {}, is_requested=True)
    call.end({}, is_error=False)
    assert METHOD in (call.recorded() or "")
    exporter.may_answer(1000)
    pipeline.shutdown()
    assert sum(exporter.sizes) == 8


def test_callers_trace_goes_on_in_the_log_while_it_is_full() -> None:
    exporter = Scripted()
    pipeline = TracePipeline(exporter, PROMPT)
    for _ in range(8):
        pipeline.tracers.start_call(METHOD, {}, is_requested=False).end({}, is_error=False)
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    call = pipeline.tracers.start_call(METHOD, {"traceparent": traceparent}, is_requested=False)
    assert not call.is_recording
    assert call.ids["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    exporter.may_answer(1000)
    pipeline.shutdown()


def test_collector_that_fails_is_left_in_peace_for_a_while(start: Start) -> None:
    exporter = Scripted()
    exporter.answer = FAILURE
    exporter.may_answer(1000)
    site = start(exporter, rest_s=WITHIN_S)
    site.end_spans(100)
    exporter.wait_until_asked()
    site.end_spans(100)
    assert exporter.sizes == [4]
    site.backlog.stop_resting()
    exporter.wait_until_asked()
    assert exporter.sizes[:2] == [4, 4]


@pytest.mark.parametrize(("failures", "expected_s"), [(1, 5), (2, 10), (3, 20), (4, 30), (5, 30), (10_000, 30)])
def test_rest_doubles_with_each_failure_in_a_row_up_to_half_a_minute(failures: int, expected_s: float) -> None:
    assert rest_after(failures) == expected_s


def test_one_batch_is_enough_to_find_out_whether_the_collector_is_back(start: Start) -> None:
    exporter = Scripted()
    exporter.answer = FAILURE
    site = start(exporter)
    site.end_spans(4)
    exporter.wait_until_asked()
    assert not site.backlog.is_full
    site.end_spans(3)
    exporter.may_answer()
    exporter.wait_until_asked()  # with those three: the rest is over
    assert not site.backlog.is_full
    site.end_spans(1)
    assert site.backlog.is_full
    exporter.answer = SUCCESS
    exporter.may_answer()
    exporter.may_answer(10)
    site.backlog.shutdown()
    assert sum(exporter.sizes) == 8
    assert not site.backlog.is_full


def test_a_large_batch_is_not_filled_to_find_that_out(start: Start) -> None:
    exporter = Scripted()
    exporter.answer = FAILURE
    site = start(exporter, Limits(schedule_delay_ms=1))
    site.end_spans(1)
    exporter.wait_until_asked()
    exporter.may_answer()
    site.end_spans(1)
    exporter.wait_until_asked()
    site.end_spans(PROBE_SPANS - 2)
    assert not site.backlog.is_full
    site.end_spans(1)
    assert site.backlog.is_full, "with the one that is being sent"


def test_what_waited_in_the_rest_is_sent_when_the_collector_is_back(start: Start) -> None:
    exporter = Scripted()
    exporter.answer = FAILURE
    site = start(exporter)
    site.end_spans(8)
    exporter.wait_until_asked()
    exporter.may_answer()
    exporter.wait_until_asked()
    exporter.answer = SUCCESS
    exporter.may_answer(10)
    site.backlog.shutdown()
    assert exporter.sizes == [4, 4]
    assert not site.backlog.is_full


def test_spans_that_are_not_sampled_take_no_room(start: Start) -> None:
    site = start(Scripted())
    off = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    off.add_span_processor(site.backlog)
    for _ in range(100):
        off.get_tracer("test").start_span(METHOD).end()
    assert not site.backlog.is_full


def test_losses_are_told_once_a_minute_with_their_number(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    exporter = Scripted()
    exporter.answer = ValueError("planted")
    site = start(exporter)

    for number in range(6):
        if number == 5:
            site.clock.now += LINE_INTERVAL_S
        site.end_spans(4)
        exporter.wait_until_asked()
        exporter.may_answer()
        site.wait_for_room()  # the batch is told of
    site.backlog.shutdown()
    assert lines(caplog) == [
        {"lost_spans": 4, "untraced_calls": 0, "cause": "ValueError"},
        {"lost_spans": 20, "untraced_calls": 0, "cause": "ValueError"},
    ]
    assert "planted" not in caplog.text


def test_collector_that_is_too_slow_is_told_of_too(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    exporter = Scripted()
    site = start(exporter)
    site.end_spans(11)
    assert [site.backlog.admits_call() for _ in range(2)] == [False, False]
    exporter.may_answer(1000)
    site.backlog.shutdown()
    assert lines(caplog) == [{"lost_spans": 3, "untraced_calls": 2}]


def test_nothing_is_said_when_nothing_is_lost(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    exporter = Scripted()
    exporter.may_answer(1000)
    site = start(exporter)
    site.end_spans(5)
    site.backlog.shutdown()
    site.backlog.close()
    assert lines(caplog) == []


def test_what_the_exit_had_no_time_for_is_told(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Scripted()
    pipeline = TracePipeline(exporter, PROMPT, flush_timeout_s=0.05)
    for _ in range(6):
        pipeline.tracers.start_call(METHOD, {}, is_requested=False).end({}, is_error=False)
    pipeline.shutdown()
    assert lines(caplog) == [{"lost_spans": 6, "untraced_calls": 0, "cause": "no time left"}]
    exporter.may_answer(1000)


@pytest.fixture
def status_server() -> Iterator[Callable[[int], str]]:
    """Serve an HTTP status to every export; returns the endpoint."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def serve(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
                """Write nothing to standard error."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/v1/traces"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("status", [401, 503])
def test_cause_is_the_status_of_the_collectors_answer_and_the_exporters_own_line_is_not_written(
    status: int, status_server: Callable[[int], str], start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    site = start(HttpExporter(endpoint=status_server(status), timeout=2))
    site.end_spans(4)
    site.backlog.shutdown()
    assert lines(caplog) == [{"lost_spans": 4, "untraced_calls": 0, "cause": f"HTTP {status}"}]
    assert {record.name for record in caplog.records if record.levelno >= logging.WARNING} == {
        "sidecar.telemetry.backlog"
    }


@contextmanager
def refusing() -> Iterator[str]:
    yield f"127.0.0.1:{unused_port()}"


@contextmanager
def without_tls() -> Iterator[str]:
    with grpc_collector() as collector:
        yield collector.endpoint.removeprefix("http://")


@contextmanager
def untrusted() -> Iterator[str]:
    with TemporaryDirectory() as folder, http_collector(Authority(Path(folder)).server_context()) as collector:
        yield collector.endpoint.removeprefix("https://")


CAUSES = {
    "refusing": (refusing, "connection refused"),
    "without-tls": (without_tls, "TLS handshake failed"),
    "untrusted": (untrusted, "TLS certificate refused"),
}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize(("collector", "cause"), CAUSES.values(), ids=CAUSES.keys())
def test_cause_tells_why_there_was_no_connection(
    collector: Callable[[], AbstractContextManager[str]],
    cause: str,
    protocol: str,
    start: Start,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # of the HTTP library under the exporter
        monkeypatch.delenv(name, raising=False)
    with collector() as address:
        exporter: SpanExporter = (
            GrpcExporter(endpoint=f"https://{address}", timeout=2)
            if protocol == "grpc"
            else HttpExporter(endpoint=f"https://{address}/v1/traces", timeout=2)
        )
        site = start(exporter)
        site.end_spans(4)
        site.backlog.shutdown()
    assert lines(caplog) == [{"lost_spans": 4, "untraced_calls": 0, "cause": cause}]
    assert {record.name for record in caplog.records if record.levelno >= logging.WARNING} == {
        "sidecar.telemetry.backlog"
    }


def test_exporter_is_ended_when_the_time_is_over_and_ended_once(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Scripted()
    ends = 0

    def end() -> None:
        nonlocal ends
        ends += 1
        exporter.may_answer(1000)

    exporter.answer = FAILURE
    exporter.shutdown = end  # type: ignore[method-assign]  # as an exporter does: what is being sent fails at once
    before = set(threading.enumerate())
    pipeline = TracePipeline(exporter, PROMPT, flush_timeout_s=1)
    for _ in range(6):
        pipeline.tracers.start_call(METHOD, {}, is_requested=False).end({}, is_error=False)
    exporter.wait_until_asked()
    pipeline.shutdown()
    for thread in set(threading.enumerate()) - before:
        thread.join(WITHIN_S)
    assert ends == 1
    assert lines(caplog) == [{"lost_spans": 6, "untraced_calls": 0, "cause": "no time left"}]
