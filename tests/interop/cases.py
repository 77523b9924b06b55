"""The cases that callers of every language make, and what each must see: written from the tables of `docs/errors.md`.

It owns data alone. `shop` is the only Android app; of the iOS apps `narrow` is full, and `nowhere` has an address at
which nobody listens.
"""

from dataclasses import dataclass, field
from typing import Any, Final

NOTIFICATION: Final = {"title": "Secret title", "content": "Secret content"}
ERROR_INFO: Final = "google.rpc.ErrorInfo"
BAD_REQUEST: Final = "google.rpc.BadRequest"
RETRY_INFO: Final = "google.rpc.RetryInfo"
QUOTA_FAILURE: Final = "google.rpc.QuotaFailure"
RESOURCE_INFO: Final = "google.rpc.ResourceInfo"
PUSH_RESPONSE: Final = "pushsidecar.xg.v1.PushResponse"
LONG_TOKEN: Final = "t" * 65
ONE_ATTEMPT: Final = (1,)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One push and what its caller sees.

    `response` holds the fields that must be there, of the protobuf JSON; `attempts` any that may be told;
    `push_id` is a pattern.
    """

    name: str
    request: dict[str, Any]
    code: str
    timeout_s: float | None = None
    response: dict[str, Any] | None = None
    reason: str = ""
    sent: str = ""
    vendor_code: int | None = None
    http_status: int | None = None
    attempts: tuple[int | None, ...] = (None,)
    push_id: str = ""
    retry_after_s: float | None = None
    violations: set[tuple[str, str]] = field(default_factory=set)
    details: tuple[str, ...] = (ERROR_INFO,)


def android(app: str = "shop", **fields: Any) -> dict[str, Any]:
    """Return a push of a notification through the app `shop`."""
    return {"app": app, "androidNotification": NOTIFICATION, **fields}


def refused(name: str, request: dict[str, Any], code: str, reason: str, **expected: Any) -> Case:
    """Return a case whose push is provably not sent."""
    return Case(name=name, request=request, code=code, reason=reason, sent="no", **expected)


def uncertain(name: str, request: dict[str, Any], code: str, reason: str, **expected: Any) -> Case:
    """Return a case whose push may have gone out."""
    return Case(name=name, request=request, code=code, reason=reason, sent="maybe", **expected)


def vendor_says(
    code: int,
    grpc_code: str,
    reason: str,
    sent: str,
    *,
    details: tuple[str, ...] = (ERROR_INFO,),
    attempts: tuple[int, ...] = ONE_ATTEMPT,
) -> Case:
    """Return a case of a single push that the vendor answers with a code, under HTTP 200."""
    return Case(
        name=f"vendor code {code}",
        request=android(token=f"fault-ret-{code}:interop"),
        code=grpc_code,
        reason=reason,
        sent=sent,
        vendor_code=code,
        http_status=200,
        attempts=attempts,
        details=details,
    )


def http_says(status: int, grpc_code: str, reason: str, sent: str) -> Case:
    """Return a case of a single push that the vendor answers with an HTTP status and no JSON."""
    return Case(
        name=f"http {status}",
        request=android(token=f"fault-http-{status}:interop"),
        code=grpc_code,
        reason=reason,
        sent=sent,
        http_status=status,
        attempts=ONE_ATTEMPT,
    )


CASES: Final = (
    Case(
        name="accepted",
        request=android(token="token1", seq=7),
        code="OK",
        response={"outcome": "OUTCOME_ACCEPTED", "seq": "7", "attempts": 1},
    ),
    Case(
        name="accepted for everyone",
        request=android(all={}),
        code="OK",
        response={"outcome": "OUTCOME_ACCEPTED", "attempts": 1},
    ),
    Case(
        name="accepted in part",
        request=android(tokenList={"tokens": ["token1", "nobody"]}),
        code="OK",
        response={
            "outcome": "OUTCOME_PARTIAL",
            "vendorCode": 10304,
            "results": [
                {"state": "TARGET_STATE_ACCEPTED"},
                {"index": 1, "state": "TARGET_STATE_REFUSED", "vendorCode": 6},
            ],
        },
    ),
    Case(
        name="validated",
        request=android(token="token1", validateOnly=True),
        code="OK",
        response={"outcome": "OUTCOME_VALIDATED"},
    ),
    refused(
        "list failed as a whole",
        android(tokenList={"tokens": ["nobody", "nobody-else"]}),
        "NOT_FOUND",
        "TARGET_UNKNOWN",
        vendor_code=10305,
        http_status=200,
        attempts=ONE_ATTEMPT,
        push_id=r"[0-9]{10,20}",
        details=(ERROR_INFO, RESOURCE_INFO, PUSH_RESPONSE),
    ),
    refused(
        "two rules broken",
        {"app": "shop", "token": LONG_TOKEN, "androidNotification": {"content": "Secret content"}},
        "INVALID_ARGUMENT",
        "INVALID_REQUEST",
        violations={("token", "string.max_len"), ("android_notification.title", "string.min_len")},
        details=(ERROR_INFO, BAD_REQUEST),
    ),
    refused(
        "rule broken inside a list",
        android(tokenList={"tokens": ["token1", "token2", "token3", LONG_TOKEN]}),
        "INVALID_ARGUMENT",
        "INVALID_REQUEST",
        violations={("token_list.tokens[3]", "string.max_len")},
        details=(ERROR_INFO, BAD_REQUEST),
    ),
    refused(
        "rule between fields broken",
        android(token="token1", environment="ENVIRONMENT_DEV"),
        "INVALID_ARGUMENT",
        "INVALID_REQUEST",
        violations={("environment", "environment.ios_only")},
        details=(ERROR_INFO, BAD_REQUEST),
    ),
    refused(
        "too large",
        {"app": "shop", "token": "token1", "androidNotification": {"title": "T", "content": "x" * 4096}},
        "INVALID_ARGUMENT",
        "MESSAGE_TOO_LARGE",
        violations={("message", "message.max_size")},
        details=(ERROR_INFO, BAD_REQUEST),
    ),
    refused(
        "unknown app",
        android(app="store", token="token1"),
        "INVALID_ARGUMENT",
        "UNKNOWN_APP",
        violations={("app", "app.known")},
        details=(ERROR_INFO, BAD_REQUEST),
    ),
    vendor_says(10103, "INVALID_ARGUMENT", "VENDOR_REJECTED", "no"),
    vendor_says(10104, "FAILED_PRECONDITION", "CREDENTIALS_REFUSED", "no"),
    vendor_says(10105, "FAILED_PRECONDITION", "CERTIFICATE_INVALID", "no"),
    vendor_says(10606, "FAILED_PRECONDITION", "APP_NOT_REGISTERED", "no"),
    vendor_says(10110, "NOT_FOUND", "TARGET_UNKNOWN", "no", details=(ERROR_INFO, RESOURCE_INFO)),
    vendor_says(10201, "UNAVAILABLE", "VENDOR_BUSY", "no", attempts=(3,)),
    vendor_says(10101, "UNKNOWN", "OUTCOME_UNKNOWN", "maybe"),
    vendor_says(10204, "INTERNAL", "VENDOR_INTERNAL", "maybe"),
    refused(
        "list task over",
        android(tokenList={"tokens": ["fault-ret-10205"]}, pushId="4294967296"),
        "FAILED_PRECONDITION",
        "PUSH_TASK_EXPIRED",
        vendor_code=10205,
        http_status=200,
        attempts=ONE_ATTEMPT,
        details=(ERROR_INFO, PUSH_RESPONSE),
    ),
    http_says(404, "FAILED_PRECONDITION", "ENDPOINT_REFUSED", "no"),
    http_says(503, "UNKNOWN", "OUTCOME_UNKNOWN", "maybe"),
    refused(
        "quota spent",
        android(token="quota-spent"),
        "RESOURCE_EXHAUSTED",
        "QUOTA_EXCEEDED",
        http_status=429,
        attempts=ONE_ATTEMPT,
        retry_after_s=7,
        details=(ERROR_INFO, RETRY_INFO, QUOTA_FAILURE),
    ),
    uncertain(
        "answer lost",
        android(token="fault-reset-after-body"),
        "UNKNOWN",
        "OUTCOME_UNKNOWN",
        attempts=ONE_ATTEMPT,
    ),
    uncertain("answer cut", android(token="fault-half-body"), "UNKNOWN", "OUTCOME_UNKNOWN", attempts=ONE_ATTEMPT),
    refused(
        "vendor not reached",
        {"app": "nowhere", "token": "token1", "iosSilent": {}},
        "UNAVAILABLE",
        "NOT_SENT",
        attempts=(3,),
    ),
    refused(
        "sidecar full",
        {"app": "narrow", "token": "token1", "iosSilent": {}},
        "RESOURCE_EXHAUSTED",
        "OVERLOADED",
        retry_after_s=1,
        details=(ERROR_INFO, RETRY_INFO),
    ),
    uncertain(
        "deadline",
        android(token="fault-hang:deadline"),
        "DEADLINE_EXCEEDED",
        "DEADLINE",
        timeout_s=2,
        attempts=ONE_ATTEMPT,
    ),
)
