"""The access log: what the line of a push says, and when there is one."""

import logging
from collections.abc import Iterator

import pytest

from sidecar.delivery.byte_budget import ByteBudget
from sidecar.delivery.call import Call
from sidecar.delivery.deadline import Deadline
from sidecar.errors import (
    CallCancelled,
    InvalidRequest,
    MessageTooLarge,
    NotSent,
    OutcomeUnknown,
    PushError,
    Reason,
    Sent,
    UnknownApp,
    VendorAnswer,
    VendorRefused,
    Violation,
)
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


# By hand: what `log.level: warning` shows of pushes that were not sent, and what it does not.
LEVELS = {
    Reason.INVALID_REQUEST: logging.INFO,
    Reason.MESSAGE_TOO_LARGE: logging.INFO,
    Reason.UNKNOWN_APP: logging.INFO,
    Reason.CALLER_NOT_ALLOWED: logging.WARNING,
    Reason.VENDOR_REJECTED: logging.INFO,
    Reason.CREDENTIALS_REFUSED: logging.WARNING,
    Reason.CERTIFICATE_INVALID: logging.WARNING,
    Reason.APP_NOT_REGISTERED: logging.WARNING,
    Reason.ENDPOINT_REFUSED: logging.WARNING,
    Reason.PUSH_TASK_EXPIRED: logging.INFO,
    Reason.TARGET_UNKNOWN: logging.INFO,
    Reason.VENDOR_BUSY: logging.WARNING,
    Reason.NOT_SENT: logging.WARNING,
    Reason.SHUTTING_DOWN: logging.INFO,
    Reason.STORE_UNAVAILABLE: logging.WARNING,
    Reason.OVERLOADED: logging.WARNING,
    Reason.QUOTA_EXCEEDED: logging.WARNING,
    Reason.OUTCOME_UNKNOWN: logging.WARNING,
    Reason.VENDOR_INTERNAL: logging.WARNING,
    Reason.DEADLINE: logging.INFO,
    Reason.CANCELLED: logging.INFO,
    Reason.REQUEST_ID_REUSED: logging.INFO,
    Reason.SIDECAR_BUG: logging.ERROR,
}


class Failure(PushError):
    """An error of any reason."""

    def __init__(self, reason: Reason, sent: Sent) -> None:
        super().__init__("planted")
        self.reason = reason  # type: ignore[misc]  # as VendorRefused does
        self.sent = sent


def line_of(error: PushError, call: Call, caplog: pytest.LogCaptureFixture) -> dict[str, object]:
    log_push(call, error, code="CODE", duration_s=0.5)
    (line,) = caplog.records
    assert line.message == "push failed"
    assert "planted" not in repr(vars(line))
    return vars(line)


def test_every_reason_has_its_level() -> None:
    assert LEVELS.keys() == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_what_an_operator_must_act_on_is_a_warning(
    reason: Reason, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    error = Failure(reason, Sent.MAYBE if reason in {Reason.OUTCOME_UNKNOWN, Reason.VENDOR_INTERNAL} else Sent.NO)
    error.attempts = 2
    line = line_of(error, call, caplog)
    assert line["levelno"] == LEVELS[reason]
    expected = {"reason": reason.value, "sent": str(error.sent), "attempts": 2, "code": "CODE"}
    assert {**expected, **call.trace.ids}.items() <= line.items()
    assert not {"vendor_code", "http_status", "cause", "field", "rule", "target_hash"} & line.keys()


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.SIDECAR_BUG])
def test_what_may_have_gone_out_is_a_warning_whatever_it_is(
    reason: Reason, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    assert line_of(Failure(reason, Sent.MAYBE), call, caplog)["levelno"] == logging.WARNING


@pytest.mark.parametrize("error", [NotSent("planted", cause="dns"), OutcomeUnknown("planted", cause="dns")])
def test_failed_call_to_the_vendor_has_its_cause(
    error: PushError, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    assert line_of(error, call, caplog)["cause"] == "dns"


def test_hang_up_counts_the_attempts_that_were_made(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    call.attempts = 2
    line = line_of(CallCancelled(sent=Sent.MAYBE), call, caplog)
    assert (line["reason"], line["sent"], line["attempts"]) == ("CANCELLED", "maybe", 2)


@pytest.mark.parametrize(
    ("error", "field", "rule"),
    [
        (InvalidRequest([Violation("token_list.tokens[3]", "string.max_len", "planted"),
                         Violation("app", "app.platform", "planted")]), "token_list.tokens[3]", "string.max_len"),
        (InvalidRequest([Violation('custom.entries["planted"]', "string.min_len", "planted")]),
         "custom.entries[...]", "string.min_len"),
        (InvalidRequest([Violation("custom.entries[planted]].x[2]", "string.min_len", "planted")]),
         "custom.entries[...]", "string.min_len"),
        (InvalidRequest([Violation("custom.entries[13800000000].x", "string.min_len", "planted")]),
         "custom.entries[...].x", "string.min_len"),
        (MessageTooLarge(5000, 4096), "message", "message.max_size"),
        (UnknownApp("planted"), "app", "app.known"),
    ],
    ids=["list", "map", "odd-key", "number-as-key", "size", "app"],
)  # fmt: skip
def test_broken_rule_is_named_by_field_and_rule_and_no_key_that_a_caller_made_up(
    error: PushError, field: str, rule: str, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    line = line_of(error, call, caplog)
    assert (line["field"], line["rule"]) == (field, rule)
    assert "13800000000" not in repr(line)


def test_both_lines_have_the_hash_of_the_target_where_there_is_one(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    call.target_hash = "0123456789abcdef"
    log_push(call, None, code="OK", duration_s=0.1)
    log_push(call, NotSent("x", cause="dns"), code="UNAVAILABLE", duration_s=0.1)
    assert [vars(line)["target_hash"] for line in caplog.records] == ["0123456789abcdef"] * 2


def test_failed_push_has_the_vendors_code_and_status_and_nothing_else_of_its_answer(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    vendor = VendorAnswer(code=10102, message="planted", http_status=400, push_id="planted")
    log_push(
        call, VendorRefused(Reason.VENDOR_REJECTED, "planted", vendor=vendor), code="INVALID_ARGUMENT", duration_s=0.5
    )
    (line,) = caplog.records
    assert (vars(line)["vendor_code"], vars(line)["http_status"]) == (10102, 400)
    assert "planted" not in repr(vars(line))
