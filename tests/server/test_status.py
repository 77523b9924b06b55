"""Errors as gRPC statuses: code, details, and a size that every client takes. Read back as a client reads them."""

import base64
from typing import TypeVar

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status

from pushsidecar.type.v1.error_reason_pb2 import ErrorReason
from pushsidecar.xg.v1 import PushResponse, TargetResult
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
from sidecar.server.status import CODES, code_of, refusal_of, status_of

M = TypeVar("M", bound=Message)

VIOLATION = Violation("token_list.tokens[3]", "string.max_len", "must be at most 64 characters")
ANSWER = VendorAnswer(code=10110, http_status=200)


def refused(reason: Reason, resource_type: str = "") -> VendorRefused:
    return VendorRefused(reason, "the vendor refused", vendor=ANSWER, resource_type=resource_type)


# Error, gRPC code, reason, sent, further details.
TABLE = [
    (InvalidRequest([VIOLATION]), "INVALID_ARGUMENT", "INVALID_REQUEST", "no", [BadRequest]),
    (MessageTooLarge(5000, 4096), "INVALID_ARGUMENT", "MESSAGE_TOO_LARGE", "no", [BadRequest]),
    (UnknownApp("names no configured app"), "INVALID_ARGUMENT", "UNKNOWN_APP", "no", [BadRequest]),
    (refused(Reason.VENDOR_REJECTED), "INVALID_ARGUMENT", "VENDOR_REJECTED", "no", []),
    (refused(Reason.CREDENTIALS_REFUSED), "FAILED_PRECONDITION", "CREDENTIALS_REFUSED", "no", []),
    (refused(Reason.CERTIFICATE_INVALID), "FAILED_PRECONDITION", "CERTIFICATE_INVALID", "no", []),
    (refused(Reason.APP_NOT_REGISTERED), "FAILED_PRECONDITION", "APP_NOT_REGISTERED", "no", []),
    (refused(Reason.ENDPOINT_REFUSED), "FAILED_PRECONDITION", "ENDPOINT_REFUSED", "no", []),
    (refused(Reason.PUSH_TASK_EXPIRED), "FAILED_PRECONDITION", "PUSH_TASK_EXPIRED", "no", []),
    (refused(Reason.TARGET_UNKNOWN, "device"), "NOT_FOUND", "TARGET_UNKNOWN", "no", [ResourceInfo]),
    (VendorBusy("busy", vendor=ANSWER), "UNAVAILABLE", "VENDOR_BUSY", "no", []),
    (NotSent("not sent", cause="connect"), "UNAVAILABLE", "NOT_SENT", "no", []),
    (ShuttingDown("stopping"), "UNAVAILABLE", "SHUTTING_DOWN", "no", []),
    (NotSent("fails fast", cause="x", retry_after_s=3), "UNAVAILABLE", "NOT_SENT", "no", [RetryInfo]),
    (StoreUnavailable("no answer"), "UNAVAILABLE", "STORE_UNAVAILABLE", "no", []),
    (CallerNotAllowed("app: may not"), "PERMISSION_DENIED", "CALLER_NOT_ALLOWED", "no", []),
    (RequestIdReused("other content"), "ALREADY_EXISTS", "REQUEST_ID_REUSED", "no", []),
    (Overloaded("full", retry_after_s=1), "RESOURCE_EXHAUSTED", "OVERLOADED", "no", [RetryInfo]),
    (
        Overloaded("too many wait", retry_after_s=1, sent=Sent.MAYBE),
        "RESOURCE_EXHAUSTED", "OVERLOADED", "maybe", [RetryInfo],
    ),
    (
        QuotaExceeded("spent", subject="app:shop", retry_after_s=7),
        "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "no", [RetryInfo, QuotaFailure],
    ),
    (OutcomeUnknown("unknown", cause="reset"), "UNKNOWN", "OUTCOME_UNKNOWN", "maybe", []),
    (VendorInternal("failed", vendor=ANSWER), "INTERNAL", "VENDOR_INTERNAL", "maybe", []),
    (
        EarlierFailure(Reason.VENDOR_INTERNAL, "failed", attempts=2, vendor=ANSWER),
        "INTERNAL", "VENDOR_INTERNAL", "maybe", [],
    ),
    (
        EarlierFailure(Reason.OUTCOME_UNKNOWN, "odd", attempts=1, vendor=VendorAnswer(response=PushResponse(seq=1))),
        "UNKNOWN", "OUTCOME_UNKNOWN", "maybe", [PushResponse],
    ),
    (DeadlineExceeded("early", sent=Sent.NO), "DEADLINE_EXCEEDED", "DEADLINE", "no", []),
    (DeadlineExceeded("late", sent=Sent.MAYBE), "DEADLINE_EXCEEDED", "DEADLINE", "maybe", []),
    (CallCancelled(sent=Sent.NO), "CANCELLED", "CANCELLED", "no", []),
    (CallCancelled(sent=Sent.MAYBE), "CANCELLED", "CANCELLED", "maybe", []),
    (SidecarBug("KeyError", sent=Sent.NO), "INTERNAL", "SIDECAR_BUG", "no", []),
    (SidecarBug("KeyError", sent=Sent.MAYBE), "INTERNAL", "SIDECAR_BUG", "maybe", []),
]  # fmt: skip


def only(status: Status, kind: type[M]) -> M:
    """Return the one detail of a kind."""
    found = [detail for detail in status.details if detail.Is(kind.DESCRIPTOR)]
    assert len(found) == 1
    message = kind()
    assert found[0].Unpack(message)
    return message


def has(status: Status, kind: type[Message]) -> bool:
    return any(detail.Is(kind.DESCRIPTOR) for detail in status.details)


def size_as_sent(status: Status) -> int:
    return len(base64.b64encode(status.SerializeToString()))


@pytest.mark.parametrize(("error", "code", "reason", "sent", "further"), TABLE, ids=lambda value: str(value)[:40])
def test_error_becomes_its_status(
    error: PushError, code: str, reason: str, sent: str, further: list[type[Message]]
) -> None:
    status = status_of(error)
    assert code_of(error) is getattr(grpc.StatusCode, code)
    assert status.code == getattr(grpc.StatusCode, code).value[0]
    assert status.message == error.description
    kinds = [detail.TypeName() for detail in status.details]
    assert kinds == ["google.rpc.ErrorInfo", *(kind.DESCRIPTOR.full_name for kind in further)]
    info = only(status, ErrorInfo)
    assert (info.reason, info.domain, info.metadata["sent"]) == (reason, "push-sidecar", sent)
    assert ErrorReason.Value(f"ERROR_REASON_{info.reason}") > 0


@pytest.mark.parametrize("error", [row[0] for row in TABLE], ids=lambda value: str(value)[:40])
def test_every_error_but_the_stops_forbids_that_the_callers_library_repeats_it(error: PushError) -> None:
    code, message, trailers = refusal_of(error, (("push-sidecar-trace", "[]"),))
    assert (code, message) == (code_of(error), error.description)
    told = ["push-sidecar-trace", "grpc-status-details-bin"]
    if isinstance(error, ShuttingDown):
        assert [key for key, _ in trailers] == told
    else:
        assert [key for key, _ in trailers] == [*told, "grpc-retry-pushback-ms"]
        assert trailers[-1][1] == "-1", "any number from 0 on is an order to retry"
    assert trailers[1][1] == status_of(error).SerializeToString()


def test_table_has_every_reason() -> None:
    assert {row[2] for row in TABLE} == set(Reason)


def test_every_reason_has_one_code_and_none_is_ok() -> None:
    assert set(CODES) == set(Reason)
    assert grpc.StatusCode.OK not in CODES.values()


def test_unavailable_always_means_not_sent() -> None:
    """A client library repeats UNAVAILABLE by itself."""
    unavailable = {row[3] for row in TABLE if row[1] == "UNAVAILABLE"}
    assert unavailable == {"no"}


# --- ErrorInfo.


def test_what_is_known_of_the_answer_is_in_the_metadata() -> None:
    answer = VendorAnswer(10103, "a message", 400, push_id="3895624686", seq=7, environment="dev")
    error = VendorRefused(Reason.VENDOR_REJECTED, "refused", vendor=answer)
    error.attempts = 3
    assert dict(only(status_of(error), ErrorInfo).metadata) == {
        "sent": "no",
        "attempts": "3",
        "vendor_code": "10103",
        "vendor_message": "a message",
        "http_status": "400",
        "push_id": "3895624686",
        "seq": "7",
        "environment": "dev",
    }


def test_what_is_unknown_is_left_out() -> None:
    assert dict(only(status_of(NotSent("n", cause="connect")), ErrorInfo).metadata) == {"sent": "no"}
    unknown = OutcomeUnknown("u", cause="answer", vendor=VendorAnswer(http_status=502))
    assert dict(only(status_of(unknown), ErrorInfo).metadata) == {"sent": "maybe", "http_status": "502"}


def test_code_zero_is_a_code() -> None:
    error = VendorRefused(Reason.TARGET_UNKNOWN, "refused", vendor=VendorAnswer(code=0))
    assert only(status_of(error), ErrorInfo).metadata["vendor_code"] == "0"


# --- BadRequest.


def test_violations_name_field_rule_and_words() -> None:
    error = InvalidRequest([VIOLATION, Violation("app", "app.platform", "is for ios")])
    found = only(status_of(error), BadRequest).field_violations
    assert [(v.field, v.reason, v.description) for v in found] == [
        ("token_list.tokens[3]", "string.max_len", "must be at most 64 characters"),
        ("app", "app.platform", "is for ios"),
    ]


def test_size_of_message_and_unknown_app_are_violations_too() -> None:
    (size,) = only(status_of(MessageTooLarge(5000, 4096)), BadRequest).field_violations
    assert (size.field, size.reason) == ("message", "message.max_size")
    assert size.description == "5000 bytes as sent, at most 4096 allowed"
    (app,) = only(status_of(UnknownApp("names no configured app")), BadRequest).field_violations
    assert (app.field, app.reason, app.description) == ("app", "app.known", "names no configured app")


def test_at_most_20_violations_are_told_and_the_message_counts_all() -> None:
    status = status_of(InvalidRequest([Violation(f"f[{n}]", "r.id", "wrong") for n in range(500)]))
    found = only(status, BadRequest).field_violations
    assert [v.field for v in found] == [f"f[{n}]" for n in range(20)]
    assert status.message == "f[0]: wrong [r.id] (and 499 more)"


# --- RetryInfo, QuotaFailure, ResourceInfo.


@pytest.mark.parametrize(
    ("after_s", "milliseconds"),
    [(0.0, 0), (0.0001, 1), (0.25, 250), (1, 1000), (59.9999, 60_000), (86_400, 86_400_000)],
)
def test_time_to_wait_is_rounded_up_to_milliseconds(after_s: float, milliseconds: int) -> None:
    status = status_of(Overloaded("full", retry_after_s=after_s))
    assert only(status, RetryInfo).retry_delay.ToMilliseconds() == milliseconds


def test_quota_names_whose_it_is() -> None:
    status = status_of(QuotaExceeded("its quota is spent", subject="app:shop", retry_after_s=7.0))
    (violation,) = only(status, QuotaFailure).violations
    assert (violation.subject, violation.description) == ("app:shop", "its quota is spent")
    assert only(status, RetryInfo).retry_delay.seconds == 7


@pytest.mark.parametrize("resource_type", ["device", "account", ""])
def test_unknown_target_is_told_by_type_and_never_by_name(resource_type: str) -> None:
    info = only(status_of(refused(Reason.TARGET_UNKNOWN, resource_type)), ResourceInfo)
    assert (info.resource_type, info.resource_name, info.owner) == (resource_type, "", "")
    assert info.description == "the vendor refused"


# --- The response of a list that failed as a whole.


def failed_list(response: PushResponse, **answer: str) -> VendorRefused:
    vendor = VendorAnswer(code=10305, response=response, **answer)  # type: ignore[arg-type]
    return VendorRefused(Reason.TARGET_UNKNOWN, "all failed", vendor=vendor, resource_type="device")


def results(count: int) -> list[TargetResult]:
    return [TargetResult(index=n, state="TARGET_STATE_REFUSED", vendor_code=6) for n in range(count)]


def test_response_of_a_failed_list_is_a_detail() -> None:
    response = PushResponse(push_id="5", vendor_code=10305, results=results(3), result_json='"[6,6,6]"')
    before = response.SerializeToString(deterministic=True)
    status = status_of(failed_list(response))
    assert [detail.TypeName() for detail in status.details] == [
        "google.rpc.ErrorInfo", "google.rpc.ResourceInfo", "pushsidecar.xg.v1.PushResponse",
    ]  # fmt: skip
    assert only(status, PushResponse) == response
    assert response.SerializeToString(deterministic=True) == before


def test_long_response_loses_its_text_first_and_keeps_its_results() -> None:
    response = PushResponse(push_id="5", vendor_code=10305, results=results(50), result_json="[" + "6," * 2000 + "6]")
    told = only(status_of(failed_list(response)), PushResponse)
    assert told.result_json == ""
    assert list(told.results) == results(50)
    assert len(response.result_json) > 4000


def test_results_of_a_long_list_are_shortened_from_the_end() -> None:
    response = PushResponse(push_id="5", vendor_code=10305, results=results(1000))
    told = only(status_of(failed_list(response)), PushResponse)
    assert 100 <= len(told.results) < 1000
    assert list(told.results) == results(len(told.results))
    assert (told.push_id, told.vendor_code) == ("5", 10305)
    assert len(response.results) == 1000


def test_response_of_another_shape_that_does_not_fit_is_left_out() -> None:
    response = Status(message="6" * 5000)
    assert "result_json" not in Status.DESCRIPTOR.fields_by_name
    status = status_of(VendorRefused(Reason.VENDOR_REJECTED, "no", vendor=VendorAnswer(code=1, response=response)))
    assert [detail.TypeName() for detail in status.details] == ["google.rpc.ErrorInfo"]


# --- Size.

WIDE = "\U0001f600" * 200
LONG_PATH = "ios_notification.alert.subtitle_loc_args" * 4
WORST = {
    "500 violations of long paths": InvalidRequest(
        [Violation(f"{LONG_PATH}[{n}]", "string.pattern_that_is_long", "must be " * 20) for n in range(500)]
    ),
    "a path that fits nowhere": InvalidRequest([Violation("p" * 10_000, "r.id", "wrong")]),
    "a description that fits nowhere": InvalidRequest([VIOLATION, Violation("f", "r.id", "d" * 10_000)]),
    "1000 results": failed_list(PushResponse(results=results(1000), result_json="6" * 5000)),
    "1000 results and a wide message": failed_list(
        PushResponse(results=results(1000), vendor_message=WIDE, push_id="9" * 20), message=WIDE, push_id="9" * 20
    ),
    "a wide message": VendorInternal("failed", vendor=VendorAnswer(10204, WIDE, 200, "1" * 20, 2**63 - 1, "product")),
    "an endless push_id": failed_list(
        PushResponse(results=results(1000), push_id="9" * 1_000_000, vendor_message=WIDE),
        push_id="9" * 1_000_000, message=WIDE, environment="product",
    ),
    "an endless wide push_id": failed_list(
        PushResponse(push_id="\U0001f600" * 1_000_000), push_id="\U0001f600" * 1_000_000, message=WIDE
    ),
    "quota with a wide message": QuotaExceeded(
        "its quota is spent", subject="app:" + "a" * 63, retry_after_s=1, vendor=VendorAnswer(10118, WIDE, 429)
    ),
    "an endless description": SidecarBug("K" * 10_000, sent=Sent.MAYBE),
}  # fmt: skip


@pytest.mark.parametrize("name", WORST)
def test_status_stays_under_4_kb_as_sent(name: str) -> None:
    error = WORST[name]
    error.attempts = 10
    status = status_of(error)
    assert size_as_sent(status) < 4096
    info = only(status, ErrorInfo)
    assert (info.reason, info.metadata["sent"]) == (error.reason, error.sent)


def test_violations_that_do_not_fit_are_left_out_and_the_others_stay() -> None:
    found = only(status_of(WORST["500 violations of long paths"]), BadRequest).field_violations
    assert 3 <= len(found) < 20
    assert [v.field for v in found] == [f"{LONG_PATH}[{n}]" for n in range(len(found))]
    (kept,) = only(status_of(WORST["a description that fits nowhere"]), BadRequest).field_violations
    assert kept.field == "token_list.tokens[3]"


def test_endless_push_id_is_cut_in_the_metadata_and_drops_the_response() -> None:
    status = status_of(WORST["an endless push_id"])
    assert only(status, ErrorInfo).metadata["push_id"] == "9" * 64
    assert not has(status, PushResponse)


def test_message_of_a_status_is_bounded() -> None:
    assert len(status_of(WORST["a path that fits nowhere"]).message) == 400
