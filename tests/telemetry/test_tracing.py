"""The trace that a caller asks for, and what is kept for it."""

import json
import random
from collections.abc import Callable

import pytest

from sidecar.simulator import Fault, Kind, Simulator
from sidecar.telemetry import names
from sidecar.telemetry.tracing import MAX_RECORDED_CHARS, CallTrace, end_attempt
from tests.support.running import METHOD, Running, android
from tests.support.tracing import Tracing

TRACE = (("push-sidecar-trace", "1"),)


def start(tracing: Tracing, *, is_requested: bool = True) -> CallTrace:
    return tracing.tracers.start_call(METHOD, {}, is_requested=is_requested)


@pytest.fixture
def tracing() -> Tracing:
    return Tracing()


def attempt(call: CallTrace, resend_count: int = 0, *, is_error: bool = False) -> None:
    span = call.start_attempt("POST /v3/push/app", {"server.port": 443}, resend_count=resend_count)
    end_attempt(span, {}, [(names.EVENT_BODY_SENT, 1)], is_error=is_error)


def test_recorded_trace_has_parents_statuses_attributes_and_events(tracing: Tracing) -> None:
    call = start(tracing)
    attempt(call, is_error=True)
    call.add_wait(names.SPAN_RETRY_BACKOFF, 0)
    attempt(call, 1)
    call.end({names.RPC_STATUS_CODE: "OK"}, is_error=False)
    recorded = call.recorded()
    assert recorded is not None
    assert recorded.isascii()
    rows = json.loads(recorded)
    by_name = {row[0] for row in rows}
    assert by_name == {METHOD, "POST /v3/push/app", "retry backoff"}
    root = next(index for index, row in enumerate(rows) if row[0] == METHOD)
    assert rows[root][1] == -1
    assert {row[1] for row in rows if row[0] != METHOD} == {root}
    assert [row[4] for row in rows if row[0] == "POST /v3/push/app"] == ["error", "unset"]
    assert rows[root][5]["rpc.status_code"] == "OK"
    assert all(row[6][0][0] == "request.body.sent" for row in rows if row[0] == "POST /v3/push/app")


def test_nothing_is_kept_once_it_was_taken(tracing: Tracing) -> None:
    call = start(tracing)
    late = call.start_attempt("POST /", {"server.port": 443}, resend_count=0)
    call.end({}, is_error=False)
    assert call.recorded() is not None
    assert tracing.kept == 0
    end_attempt(late, {}, [], is_error=False)
    assert tracing.kept == 0
    assert [span.name for span in tracing.spans] == [METHOD, "POST /"]
    assert call.recorded() == "[]"


def test_calls_that_did_not_ask_are_not_kept(tracing: Tracing) -> None:
    call = start(tracing, is_requested=False)
    attempt(call)
    call.end({}, is_error=False)
    assert call.recorded() is None
    assert tracing.kept == 0


def test_traces_of_calls_at_the_same_time_are_kept_apart(tracing: Tracing) -> None:
    calls = [start(tracing) for _ in range(5)]
    numbers = [number for number in range(5) for _ in range(number)]
    random.Random(7).shuffle(numbers)  # noqa: S311  # no secret
    for number in numbers:
        attempt(calls[number])
    for number, call in enumerate(calls):
        call.end({}, is_error=False)
        assert len(json.loads(call.recorded() or "")) == 1 + number


def test_trace_with_many_attempts_stays_small_enough_for_a_trailer(tracing: Tracing) -> None:
    call = start(tracing)
    for number in range(40):
        attempt(call, number)
    call.end({}, is_error=False)
    recorded = call.recorded() or ""
    rows = json.loads(recorded)
    assert len(recorded) <= MAX_RECORDED_CHARS
    assert rows[0][0] == METHOD
    assert 5 < len(rows) < 41


def test_ids_are_those_of_the_callers_trace(tracing: Tracing) -> None:
    metadata = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    call = tracing.tracers.start_call(METHOD, metadata, is_requested=False)
    assert call.ids["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert call.ids["span_id"] not in {"b7ad6b7169203331", "0" * 16}
    assert call.exemplar == {"trace_id": "0af7651916cd43dd8448eb211c80319c"}
    call.end({}, is_error=False)


async def test_caller_gets_the_trace_of_a_failed_call_too(running: Running, vendor: Simulator) -> None:
    trailers = await running.trailers(android("fault-http-503"), metadata=TRACE)
    rows = json.loads(trailers["push-sidecar-trace"])
    assert [(row[0], row[4]) for row in rows] == [(METHOD, "error"), ("POST /v3/push/app", "error")]
    assert rows[1][5]["http.response.status_code"] == 503
    assert "grpc-status-details-bin" in trailers


async def test_ten_attempts_with_their_trace_and_details_reach_the_caller(
    start_sidecar: Callable[..., object], vendor: Simulator
) -> None:
    retry = {"max_attempts": 10, "initial_backoff_s": 0.001, "max_backoff_s": 0.001}
    running = await start_sidecar(app={"retry": retry})  # type: ignore[misc]
    vendor.script(Fault(kind=Kind.RET_CODE, ret_code=10203, times=None, err_msg="x" * 500))
    trailers = await running.trailers(metadata=TRACE)
    assert vendor.received == 10
    assert len(trailers["push-sidecar-trace"]) <= MAX_RECORDED_CHARS
    assert json.loads(trailers["push-sidecar-trace"])[0][5]["push_sidecar.reason"] == "VENDOR_BUSY"
    assert "grpc-status-details-bin" in trailers
