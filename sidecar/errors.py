"""What can go wrong with a push, as one small closed tree. No gRPC and no HTTP here: `server/status.py` maps it.

PushError                 every failure that a caller can be told of; says whether the push may have gone out
├── InvalidRequest        a rule of the contract is broken: every violation at once
├── MessageTooLarge       the rendered message is over the vendor's limit
├── UnknownApp            no configured app fits
├── CallerNotAllowed      the caller may not use this app, or is nobody that the configuration knows
├── VendorRefused         the vendor said no, and did nothing (of a list: for every target)
├── VendorBusy            the vendor could not create the task; nothing was pushed
├── NotSent               no byte of the body left
├── ShuttingDown          accepted, but not started when the stop came
├── StoreUnavailable      the store of request ids cannot be reached
├── RequestIdReused       the same request id came with other content
├── Overloaded            as many calls in flight and waiting, or as many bytes held by calls, as configured
├── QuotaExceeded         the vendor's quota is spent, or the caller's rate
├── OutcomeUnknown        sent, and no usable answer
├── VendorInternal        the vendor failed while acting
├── EarlierFailure        what an earlier call with the same request id ended with, given again
├── DeadlineExceeded      the caller's deadline came first
├── CallCancelled         the caller hung up
└── SidecarBug            ours
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar


class Sent(StrEnum):
    """Whether the push may have gone out: `no` is a proof, `maybe` is everything else."""

    NO = "no"
    MAYBE = "maybe"


class Reason(StrEnum):
    """Why a call failed: the names of `pushsidecar.type.v1.ErrorReason` without their prefix."""

    INVALID_REQUEST = "INVALID_REQUEST"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    UNKNOWN_APP = "UNKNOWN_APP"
    CALLER_NOT_ALLOWED = "CALLER_NOT_ALLOWED"
    VENDOR_REJECTED = "VENDOR_REJECTED"
    CREDENTIALS_REFUSED = "CREDENTIALS_REFUSED"
    CERTIFICATE_INVALID = "CERTIFICATE_INVALID"
    APP_NOT_REGISTERED = "APP_NOT_REGISTERED"
    ENDPOINT_REFUSED = "ENDPOINT_REFUSED"
    PUSH_TASK_EXPIRED = "PUSH_TASK_EXPIRED"
    TARGET_UNKNOWN = "TARGET_UNKNOWN"
    VENDOR_BUSY = "VENDOR_BUSY"
    NOT_SENT = "NOT_SENT"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    OVERLOADED = "OVERLOADED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    VENDOR_INTERNAL = "VENDOR_INTERNAL"
    DEADLINE = "DEADLINE"
    CANCELLED = "CANCELLED"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    SIDECAR_BUG = "SIDECAR_BUG"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: where, which, and in words that never quote the value."""

    field: str
    rule: str
    description: str


@dataclass(frozen=True, slots=True)
class VendorAnswer:
    """What is known of the vendor's answer to a call that failed. `None` is unknown."""

    code: int | None = None
    message: str = ""
    http_status: int | None = None
    push_id: str = ""
    seq: int = 0
    environment: str = ""
    # The provider's own answer message, for a list that failed as a whole. For the caller only, never for telemetry.
    response: Any = field(default=None, repr=False)


class PushError(Exception):
    """A push that did not succeed.

    `attempts` counts the calls to the vendor that were made for it; delivery sets it.
    """

    reason: ClassVar[Reason]
    sent: Sent = Sent.NO

    def __init__(self, description: str, *, vendor: VendorAnswer | None = None) -> None:
        super().__init__(description)
        self.description = description
        self.vendor = vendor
        self.attempts = 0


class InvalidRequest(PushError):
    """A rule of the contract is broken."""

    reason = Reason.INVALID_REQUEST

    def __init__(self, violations: list[Violation]) -> None:
        first = violations[0]
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        super().__init__(f"{first.field}: {first.description} [{first.rule}]{more}")
        self.violations = violations


class MessageTooLarge(PushError):
    """The rendered message is over the vendor's limit. Sizes in bytes; `at_least`: it was not rendered to its end."""

    reason = Reason.MESSAGE_TOO_LARGE

    def __init__(self, size: int, limit: int, *, at_least: bool = False) -> None:
        self.size, self.limit = size, limit
        about = "at least " if at_least else ""
        too_large = f"{about}{size} bytes as sent, at most {limit} allowed"
        self.violations = [Violation("message", "message.max_size", too_large)]
        super().__init__(f"message: {self.violations[0].description}")


class UnknownApp(PushError):
    """No configured app fits what `app` and the message ask for."""

    reason = Reason.UNKNOWN_APP

    def __init__(self, description: str) -> None:
        super().__init__(f"app: {description}")
        self.violations = [Violation("app", "app.known", description)]


class CallerNotAllowed(PushError):
    """The caller may not use this app, or is nobody that the configuration knows."""

    reason = Reason.CALLER_NOT_ALLOWED


class VendorRefused(PushError):
    """The vendor refused the call and did nothing. `refusal` is one of `REFUSALS`."""

    REFUSALS: ClassVar = frozenset({
        Reason.VENDOR_REJECTED, Reason.CREDENTIALS_REFUSED, Reason.CERTIFICATE_INVALID, Reason.APP_NOT_REGISTERED,
        Reason.ENDPOINT_REFUSED, Reason.PUSH_TASK_EXPIRED, Reason.TARGET_UNKNOWN,
    })  # fmt: skip

    def __init__(self, refusal: Reason, description: str, *, vendor: VendorAnswer, resource_type: str = "") -> None:
        super().__init__(description, vendor=vendor)
        self.reason = refusal  # type: ignore[misc]  # the one class with several reasons: they differ in nothing else
        self.resource_type = resource_type


class VendorBusy(PushError):
    """The vendor could not create the push task."""

    reason = Reason.VENDOR_BUSY


class NotSent(PushError):
    """No byte of the push left this process, or the vendor's TLS refused our certificate before it read any.

    `cause` is a short token such as `connect`. `retry_after_s` is set where it is known when another try makes sense.
    """

    reason = Reason.NOT_SENT

    def __init__(self, description: str, *, cause: str, retry_after_s: float | None = None) -> None:
        super().__init__(description)
        self.cause = cause
        self.retry_after_s = retry_after_s


class ShuttingDown(PushError):
    """The stop came before the call was started."""

    reason = Reason.SHUTTING_DOWN


class StoreUnavailable(PushError):
    """The store of request ids did not answer, so whether the push was made before cannot be known."""

    reason = Reason.STORE_UNAVAILABLE


class RequestIdReused(PushError):
    """The request id belongs to a push with other content."""

    reason = Reason.REQUEST_ID_REUSED


class Overloaded(PushError):
    """Every place in flight and in the queue is taken, or all the bytes, or the store of request ids is full.

    `sent` is `no`; `maybe` only where too many repetitions wait for an earlier call with their id.
    """

    reason = Reason.OVERLOADED

    def __init__(self, description: str, *, retry_after_s: float, sent: Sent = Sent.NO) -> None:
        super().__init__(description)
        self.retry_after_s = retry_after_s
        self.sent = sent


class QuotaExceeded(PushError):
    """A quota is spent: the vendor's (`subject` is `app:NAME`), or the caller's own rate (`caller:NAME`)."""

    reason = Reason.QUOTA_EXCEEDED

    def __init__(
        self, description: str, *, subject: str, retry_after_s: float, vendor: VendorAnswer | None = None
    ) -> None:
        super().__init__(description, vendor=vendor)
        self.subject = subject
        self.retry_after_s = retry_after_s


class OutcomeUnknown(PushError):
    """The push was sent and no usable answer came. `cause` is a short token such as `read_timeout`."""

    reason = Reason.OUTCOME_UNKNOWN
    sent = Sent.MAYBE

    def __init__(self, description: str, *, cause: str, vendor: VendorAnswer | None = None) -> None:
        super().__init__(description, vendor=vendor)
        self.cause = cause


class VendorInternal(PushError):
    """The vendor failed while it acted on the push."""

    reason = Reason.VENDOR_INTERNAL
    sent = Sent.MAYBE


class EarlierFailure(PushError):
    """The error of an earlier call with the same request id, given again: as it was, and always `sent=maybe`."""

    sent = Sent.MAYBE

    def __init__(self, reason: Reason, description: str, *, attempts: int, vendor: VendorAnswer) -> None:
        super().__init__(description, vendor=vendor)
        self.reason = reason  # type: ignore[misc]  # whichever it was
        self.attempts = attempts


class DeadlineExceeded(PushError):
    """The caller's deadline came before the answer."""

    reason = Reason.DEADLINE

    def __init__(self, description: str, *, sent: Sent) -> None:
        super().__init__(description)
        self.sent = sent


class CallCancelled(PushError):
    """The caller hung up: for our own records, since nobody is there to be told."""

    reason = Reason.CANCELLED

    def __init__(self, *, sent: Sent) -> None:
        super().__init__("the caller hung up")
        self.sent = sent


class SidecarBug(PushError):
    """An error of ours. `kind` is the exception's type: its text may quote a push."""

    reason = Reason.SIDECAR_BUG

    def __init__(self, kind: str, *, sent: Sent) -> None:
        super().__init__(f"an error of the sidecar ({kind}): please report it with the sidecar's log")
        self.sent = sent
