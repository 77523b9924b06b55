"""What can be seen of a push, and the verdicts: the rows of the design's table of events, written by hand."""

from dataclasses import dataclass
from typing import Any, NamedTuple


class Verdict(NamedTuple):
    """What the caller is told, and the status of the server's span: of gRPC's codes some are the server's failures.

    `reason` is the outcome where the code is OK; then `sent` is not told.
    """

    code: str
    reason: str
    sent: str
    server_span: str


ACCEPTED = Verdict("OK", "ACCEPTED", "", "unset")
PARTIAL = Verdict("OK", "PARTIAL", "", "unset")
REJECTED = Verdict("INVALID_ARGUMENT", "VENDOR_REJECTED", "no", "unset")
CREDENTIALS = Verdict("FAILED_PRECONDITION", "CREDENTIALS_REFUSED", "no", "unset")
CERTIFICATE = Verdict("FAILED_PRECONDITION", "CERTIFICATE_INVALID", "no", "unset")
NOT_REGISTERED = Verdict("FAILED_PRECONDITION", "APP_NOT_REGISTERED", "no", "unset")
ENDPOINT = Verdict("FAILED_PRECONDITION", "ENDPOINT_REFUSED", "no", "unset")
EXPIRED = Verdict("FAILED_PRECONDITION", "PUSH_TASK_EXPIRED", "no", "unset")
TARGET = Verdict("NOT_FOUND", "TARGET_UNKNOWN", "no", "unset")
BUSY = Verdict("UNAVAILABLE", "VENDOR_BUSY", "no", "error")
NOT_SENT = Verdict("UNAVAILABLE", "NOT_SENT", "no", "error")
QUOTA = Verdict("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "no", "unset")
UNKNOWN = Verdict("UNKNOWN", "OUTCOME_UNKNOWN", "maybe", "error")
INTERNAL = Verdict("INTERNAL", "VENDOR_INTERNAL", "maybe", "error")
DEADLINE_UNSENT = Verdict("DEADLINE_EXCEEDED", "DEADLINE", "no", "error")
DEADLINE_MAYBE = Verdict("DEADLINE_EXCEEDED", "DEADLINE", "maybe", "error")


class Attempt(NamedTuple):
    """The span of one call to the vendor: its status, and its `error.type` ("" for none)."""

    status: str
    error_type: str


DONE = Attempt("unset", "")


@dataclass(frozen=True)
class Seen:
    """What was seen of a push from every side."""

    verdict: Verdict
    attempts: int
    calls: int
    connections: int
    retry_after_s: Any
    spans: tuple[Attempt, ...]
