"""Turns a `PushError` into a gRPC status with its details: the only place that knows gRPC codes of errors."""

from collections.abc import Mapping
from math import ceil
from typing import Any, NamedTuple

import grpc
from google.protobuf.any_pb2 import Any as AnyPb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status

from sidecar.errors import (
    InvalidRequest,
    MessageTooLarge,
    NotSent,
    Overloaded,
    PushError,
    QuotaExceeded,
    Reason,
    UnknownApp,
    VendorRefused,
    Violation,
)

DOMAIN = "push-sidecar"
DETAILS_KEY = "grpc-status-details-bin"
# The sidecar has repeated what may be repeated; a caller's gRPC library that did so, too, would multiply it. -1 is
# "do not retry" (gRFC A6). Any number from 0 on is an order to retry after so many ms.
NO_RETRY = ("grpc-retry-pushback-ms", "-1")
MAX_VIOLATIONS = 20
# As sent, in base64, it is 4/3 of this; larger trailers are lost by some clients.
MAX_STATUS_BYTES = 3000
MAX_MESSAGE_CHARS = 400
MAX_PUSH_ID_CHARS = 64

CODES: Mapping[Reason, grpc.StatusCode] = {
    Reason.INVALID_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MESSAGE_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNKNOWN_APP: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.CALLER_NOT_ALLOWED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.VENDOR_REJECTED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.CREDENTIALS_REFUSED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.CERTIFICATE_INVALID: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.APP_NOT_REGISTERED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ENDPOINT_REFUSED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.PUSH_TASK_EXPIRED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.TARGET_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    Reason.VENDOR_BUSY: grpc.StatusCode.UNAVAILABLE,
    Reason.NOT_SENT: grpc.StatusCode.UNAVAILABLE,
    Reason.SHUTTING_DOWN: grpc.StatusCode.UNAVAILABLE,
    Reason.STORE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.QUOTA_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.OUTCOME_UNKNOWN: grpc.StatusCode.UNKNOWN,
    Reason.VENDOR_INTERNAL: grpc.StatusCode.INTERNAL,
    Reason.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.CANCELLED: grpc.StatusCode.CANCELLED,
    Reason.REQUEST_ID_REUSED: grpc.StatusCode.ALREADY_EXISTS,
    Reason.SIDECAR_BUG: grpc.StatusCode.INTERNAL,
}

Trailers = tuple[tuple[str, str | bytes], ...]


class Refusal(NamedTuple):
    """How a call ends that failed: what gRPC sends to its caller."""

    code: grpc.StatusCode
    message: str
    trailers: Trailers


def refusal_of(error: PushError, trailers: Trailers = ()) -> Refusal:
    """Return what the caller is told of an error, with `trailers` before those of the error."""
    status = status_of(error)
    trailers += ((DETAILS_KEY, status.SerializeToString()),)
    # A call that a stopping sidecar had not started is for the next one.
    if error.reason is not Reason.SHUTTING_DOWN:
        trailers += (NO_RETRY,)
    return Refusal(code_of(error), status.message, trailers)


def code_of(error: PushError) -> grpc.StatusCode:
    """Return the gRPC code of an error."""
    return CODES[error.reason]


def status_of(error: PushError) -> Status:
    """Return the whole status: code, message and details, within the size that clients take."""
    status = Status(code=code_of(error).value[0], message=error.description[:MAX_MESSAGE_CHARS])
    _add(status, _error_info(error))
    for detail in _details(error):
        _add(status, detail)
    if isinstance(error, InvalidRequest | MessageTooLarge | UnknownApp):
        _add(status, _bad_request(status, error.violations))
    response = error.vendor.response if error.vendor else None
    if response is not None:
        _add_response(status, response)
    return status


def _error_info(error: PushError) -> details.ErrorInfo:
    metadata = {"sent": str(error.sent)}
    if error.attempts:
        metadata["attempts"] = str(error.attempts)
    vendor = error.vendor
    if vendor is not None:
        known: dict[str, Any] = {
            "vendor_code": vendor.code,
            "vendor_message": vendor.message or None,
            "http_status": vendor.http_status,
            "push_id": vendor.push_id[:MAX_PUSH_ID_CHARS] or None,
            "seq": vendor.seq or None,
            "environment": vendor.environment or None,
        }
        metadata |= {key: str(value) for key, value in known.items() if value is not None}
    return details.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)


def _details(error: PushError) -> list[Message]:
    if isinstance(error, Overloaded | NotSent) and error.retry_after_s is not None:
        return [_retry_info(error.retry_after_s)]
    if isinstance(error, QuotaExceeded):
        violation = details.QuotaFailure.Violation(subject=error.subject, description=error.description)
        return [_retry_info(error.retry_after_s), details.QuotaFailure(violations=[violation])]
    if isinstance(error, VendorRefused) and error.reason is Reason.TARGET_UNKNOWN:
        # No resource name: it would be the token or the account.
        return [details.ResourceInfo(resource_type=error.resource_type, description=error.description)]
    return []


def _bad_request(status: Status, violations: list[Violation]) -> details.BadRequest:
    """Gather the violations, as many as are allowed and fit."""
    bad_request = details.BadRequest()
    for violation in violations[:MAX_VIOLATIONS]:
        bad_request.field_violations.add(
            field=violation.field, reason=violation.rule, description=violation.description
        )
        if not _fits(status, bad_request):
            del bad_request.field_violations[-1]
            break
    return bad_request


def _retry_info(after_s: float) -> details.RetryInfo:
    delay = Duration()
    delay.FromMilliseconds(ceil(after_s * 1000))
    return details.RetryInfo(retry_delay=delay)


def _add_response(status: Status, response: Message) -> None:
    """Add the provider's answer, shortened until it fits: first its raw text goes, then the last results.

    A provider's response need not have either field; one that does not fit without them is left out.
    """
    shortened = type(response)()
    shortened.CopyFrom(response)
    if "result_json" in response.DESCRIPTOR.fields_by_name and not _fits(status, shortened):
        shortened.ClearField("result_json")
    results = getattr(shortened, "results", [])
    while len(results) and not _fits(status, shortened):
        del results[len(results) // 2 :]
    if _fits(status, shortened):
        _add(status, shortened)


def _fits(status: Status, detail: Message) -> bool:
    # 100: the type URL and the lengths around it.
    size: int = status.ByteSize() + detail.ByteSize() + 100
    return size <= MAX_STATUS_BYTES


def _add(status: Status, detail: Message) -> None:
    packed = AnyPb()
    packed.Pack(detail)
    status.details.append(packed)
