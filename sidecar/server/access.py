"""The access log: a line for each push that failed, or for each, as `log.access` has it. Nothing of a push is in it."""

import logging
import re

from sidecar.delivery.call import Call
from sidecar.errors import (
    InvalidRequest,
    MessageTooLarge,
    NotSent,
    OutcomeUnknown,
    PushError,
    Reason,
    Sent,
    UnknownApp,
)
from sidecar.telemetry.logs import ACCESS_ANSWERED, ACCESS_FAILED

_answered = logging.getLogger(ACCESS_ANSWERED)
_failed = logging.getLogger(ACCESS_FAILED)


def log_push(call: Call, error: PushError | None, *, code: str, duration_s: float) -> None:
    """Write the line of a push that has ended with this gRPC status code."""
    if error is not None:
        _failed.log(_level(error), "push failed", extra=_fields(call, error, code, duration_s))
    elif _answered.isEnabledFor(logging.INFO):
        _answered.info("push answered", extra=_fields(call, None, code, duration_s))


# Of these an operator has to hear, though nothing was sent: the configuration, the way to the vendor, the store, the
# capacity or a quota is to blame. What is not among them is a caller's own mistake or haste, a target that is gone, or
# a stop.
_FOR_OPERATORS = frozenset({
    Reason.CALLER_NOT_ALLOWED, Reason.CREDENTIALS_REFUSED, Reason.CERTIFICATE_INVALID, Reason.APP_NOT_REGISTERED,
    Reason.ENDPOINT_REFUSED, Reason.VENDOR_BUSY, Reason.NOT_SENT, Reason.STORE_UNAVAILABLE, Reason.OVERLOADED,
    Reason.QUOTA_EXCEEDED,
})  # fmt: skip

# A place in a list is shown; the key of a map is what the caller wrote.
_SUBSCRIPT = re.compile(r"\[(?!\d{1,6}\]).*\]", re.DOTALL)


def _level(error: PushError) -> int:
    if error.reason is Reason.SIDECAR_BUG:
        return logging.ERROR
    return logging.WARNING if error.sent is Sent.MAYBE or error.reason in _FOR_OPERATORS else logging.INFO


def _fields(call: Call, error: PushError | None, code: str, duration_s: float) -> dict[str, object]:
    fields: dict[str, object] = {
        "app": call.app,
        "provider": call.provider,
        "audience": call.audience,
        "caller": call.caller,
        "code": code,
        "duration_s": round(duration_s, 6),
        "replayed": call.replayed,
    }
    if error is not None:
        fields |= _failure(call, error)
    return fields | call.ids


def _failure(call: Call, error: PushError) -> dict[str, object]:
    """Return what is known of a failure; nothing of the push and nothing of the vendor's words."""
    # An error that is raised because the caller left knows of no attempts; the call does.
    fields: dict[str, object] = {
        "reason": error.reason.value,
        "sent": str(error.sent),
        "attempts": error.attempts or call.attempts,
    }
    if isinstance(error, NotSent | OutcomeUnknown):
        fields["cause"] = error.cause
    if error.vendor is not None:
        known = {"http_status": error.vendor.http_status, "vendor_code": error.vendor.code}
        fields |= {name: value for name, value in known.items() if value is not None}
    if isinstance(error, InvalidRequest | MessageTooLarge | UnknownApp):
        first = error.violations[0]
        fields |= {"field": _SUBSCRIPT.sub("[...]", first.field), "rule": first.rule}
    return fields
