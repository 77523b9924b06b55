"""The access log: what the line of a push says, and when there is one."""

import logging
from collections.abc import Iterator

import pytest

from sidecar.delivery.byte_budget import ByteBudget
from sidecar.delivery.call import Call
from sidecar.delivery.deadline import Deadline
from sidecar.errors import DeadlineExceeded, NotSent, PushError, Reason, Sent, SidecarBug, VendorAnswer, VendorRefused
from sidecar.server.access import log_push
from sidecar.telemetry.logs import ACCESS, ACCESS_ANSWERED
from tests.support.tracing import Tracing


@pytest.fixture
def call() -> Iterator[Call]:
    async def commit() -> None:
        """Nobody is told."""

    trace = Tracing().tracers.start_call("test.v1.TestService/Do", {}, is_requested=False)
    budget = ByteBudget("server.max_pending_bytes", limit=1000)
    made = Call(deadline=Deadline(1.0, 0.0), trace=trace, commit=commit, process_bytes=budget)
    made.app, made.provider, made.audience, made.caller = "shop", "xg", "token", "orders"
    yield made
    trace.end({}, is_error=False)


@pytest.fixture(autouse=True)
def _access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, ACCESS)


def test_answered_push_has_a_line_with_its_trace(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    log_push(call, None, code="OK", duration_s=0.1234567)
    (line,) = caplog.records
    assert (line.message, line.levelno) == ("push answered", logging.INFO)
    expected = {
        "app": "shop",
        "provider": "xg",
        "audience": "token",
        "caller": "orders",
        "code": "OK",
        "duration_s": 0.123457,
    }
    assert {**expected, "replayed": False, **call.trace.ids}.items() <= vars(line).items()
    assert set(call.trace.ids) == {"trace_id", "span_id"}


def test_answered_push_has_none_unless_it_is_wanted(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, ACCESS_ANSWERED)
    log_push(call, None, code="OK", duration_s=0.1)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (NotSent("x", cause="dns"), logging.INFO),
        (DeadlineExceeded("x", sent=Sent.MAYBE), logging.WARNING),
        (SidecarBug("ValueError", sent=Sent.NO), logging.ERROR),
    ],
    ids=["not-sent", "maybe-sent", "bug"],
)
def test_failed_push_is_the_louder_the_worse_it_is(
    error: PushError, level: int, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    error.attempts = 2
    log_push(call, error, code="CODE", duration_s=0.5)
    (line,) = caplog.records
    assert (line.message, line.levelno) == ("push failed", level)
    expected = {"reason": error.reason.value, "sent": str(error.sent), "attempts": 2, "code": "CODE"}
    assert {**expected, **call.trace.ids}.items() <= vars(line).items()
    assert not hasattr(line, "vendor_code")


def test_failed_push_has_the_vendors_code_and_nothing_else_of_its_answer(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    vendor = VendorAnswer(code=10102, message="planted", push_id="planted")
    log_push(
        call, VendorRefused(Reason.VENDOR_REJECTED, "planted", vendor=vendor), code="INVALID_ARGUMENT", duration_s=0.5
    )
    (line,) = caplog.records
    assert vars(line)["vendor_code"] == 10102
    assert "planted" not in repr(vars(line))
