"""The tree of errors: closed, each with its reason and its answer to "was it sent?", and nothing of a push in sight."""

import re
from pathlib import Path
from typing import Any

import pytest

from pushsidecar.type.v1.error_reason_pb2 import ErrorReason
from pushsidecar.xg.v1 import PushResponse
from sidecar import errors
from sidecar.errors import (
    CallCancelled,
    CallerNotAllowed,
    DeadlineExceeded,
    EarlierFailure,
    InvalidRequest,
    MessageTooLarge,
    NotSent,
    OutcomeUnknown,
    Overloaded,
    PushError,
    QuotaExceeded,
    Reason,
    RequestIdReused,
    Sent,
    ShuttingDown,
    SidecarBug,
    StoreUnavailable,
    UnknownApp,
    VendorAnswer,
    VendorBusy,
    VendorInternal,
    VendorRefused,
    Violation,
)

DOCS = Path(__file__).parents[1] / "docs" / "errors.md"

REFUSALS = {
    "VENDOR_REJECTED", "CREDENTIALS_REFUSED", "CERTIFICATE_INVALID", "APP_NOT_REGISTERED", "ENDPOINT_REFUSED",
    "PUSH_TASK_EXPIRED", "TARGET_UNKNOWN",
}  # fmt: skip

CLASSES = [
    item
    for item in vars(errors).values()
    if isinstance(item, type) and issubclass(item, PushError) and item is not PushError
]

ANSWER = VendorAnswer(code=1)
ERRORS: list[tuple[PushError, str, str]] = [
    (InvalidRequest([Violation("token", "string.max_len", "too long")]), "INVALID_REQUEST", "no"),
    (MessageTooLarge(4097, 4096), "MESSAGE_TOO_LARGE", "no"),
    (UnknownApp("names no configured app"), "UNKNOWN_APP", "no"),
    *((VendorRefused(Reason(refusal), "refused", vendor=ANSWER), refusal, "no") for refusal in sorted(REFUSALS)),
    (VendorBusy("busy"), "VENDOR_BUSY", "no"),
    (NotSent("not sent", cause="connect"), "NOT_SENT", "no"),
    (ShuttingDown("stopping"), "SHUTTING_DOWN", "no"),
    (StoreUnavailable("no answer"), "STORE_UNAVAILABLE", "no"),
    (RequestIdReused("other content"), "REQUEST_ID_REUSED", "no"),
    (CallerNotAllowed("app: may not"), "CALLER_NOT_ALLOWED", "no"),
    (Overloaded("full", retry_after_s=1), "OVERLOADED", "no"),
    (Overloaded("too many wait", retry_after_s=1, sent=Sent.MAYBE), "OVERLOADED", "maybe"),
    (QuotaExceeded("spent", subject="app:shop", retry_after_s=1), "QUOTA_EXCEEDED", "no"),
    (OutcomeUnknown("unknown", cause="reset"), "OUTCOME_UNKNOWN", "maybe"),
    (VendorInternal("failed"), "VENDOR_INTERNAL", "maybe"),
    (EarlierFailure(Reason.VENDOR_INTERNAL, "failed", attempts=0, vendor=ANSWER), "VENDOR_INTERNAL", "maybe"),
    (DeadlineExceeded("early", sent=Sent.NO), "DEADLINE", "no"),
    (DeadlineExceeded("late", sent=Sent.MAYBE), "DEADLINE", "maybe"),
    (CallCancelled(sent=Sent.NO), "CANCELLED", "no"),
    (CallCancelled(sent=Sent.MAYBE), "CANCELLED", "maybe"),
    (SidecarBug("KeyError", sent=Sent.NO), "SIDECAR_BUG", "no"),
    (SidecarBug("KeyError", sent=Sent.MAYBE), "SIDECAR_BUG", "maybe"),
]


@pytest.mark.parametrize(("error", "reason", "sent"), ERRORS, ids=str)
def test_error_has_its_reason_and_whether_it_was_sent(error: PushError, reason: str, sent: str) -> None:
    assert (error.reason, error.sent, error.attempts) == (reason, sent, 0)
    assert error.description == str(error) != ""


def test_every_class_and_every_reason_is_in_the_table() -> None:
    assert {type(error) for error, _, _ in ERRORS} == set(CLASSES)
    assert {reason for _, reason, _ in ERRORS} == set(Reason)


def test_tree_in_the_header_is_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert drawn == [error.__name__ for error in CLASSES]
    # Two levels and no more: none of them is a kind of another.
    assert {error.__bases__ for error in CLASSES} == {(PushError,)}


def test_reasons_are_those_of_the_contract() -> None:
    contract = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118  # no dict
    assert {reason.value for reason in Reason} == contract


def test_refusals_are_the_reasons_by_which_the_vendor_did_nothing() -> None:
    assert {reason.value for reason in VendorRefused.REFUSALS} == REFUSALS


def test_first_violation_is_told_and_the_others_are_counted() -> None:
    violations = [Violation(f"field{n}", "rule.id", "must be right") for n in range(3)]
    assert str(InvalidRequest(violations[:1])) == "field0: must be right [rule.id]"
    assert str(InvalidRequest(violations)) == "field0: must be right [rule.id] (and 2 more)"


def test_size_is_told_in_bytes() -> None:
    error = MessageTooLarge(5000, 4096)
    assert str(error) == "message: 5000 bytes as sent, at most 4096 allowed"
    assert error.violations == [Violation("message", "message.max_size", "5000 bytes as sent, at most 4096 allowed")]


def test_answer_of_the_vendor_for_the_caller_is_not_in_a_repr() -> None:
    answer = VendorAnswer(code=10305, response=PushResponse(result_json='{"planted": 6}', vendor_message="planted"))
    error = VendorRefused(Reason.TARGET_UNKNOWN, "all failed", vendor=answer)
    shown = f"{answer!r} {error!r} {error}"
    assert "10305" in shown
    assert "planted" not in shown


def test_bug_names_the_type_and_never_the_text_of_what_was_raised() -> None:
    planted = KeyError("planted")
    shown = str(SidecarBug(type(planted).__name__, sent=Sent.NO))
    assert "KeyError" in shown
    assert "planted" not in shown


def documented() -> dict[str, dict[str, Any]]:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([A-Z_]+) \| ((?:no|maybe)[^|]*) \|", DOCS.read_text("utf-8"), re.MULTILINE)
    return {reason: {"code": code, "sent": set(re.findall(r"\b(?:no|maybe)\b", sent))} for reason, code, sent in rows}


def test_documentation_has_every_reason_with_what_it_says_of_sending() -> None:
    sent: dict[str, set[str]] = {}
    for _, reason, answer in ERRORS:
        sent.setdefault(reason, set()).add(answer)
    assert {reason: row["sent"] for reason, row in documented().items()} == sent


def test_documentation_has_the_codes_of_the_server() -> None:
    from sidecar.server.status import CODES  # noqa: PLC0415  # the tree itself knows no gRPC

    assert {reason: row["code"] for reason, row in documented().items()} == {
        reason.value: code.name for reason, code in CODES.items()
    }
