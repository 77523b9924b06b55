"""The access log: a line for each push that failed, or for each, as `log.access` has it. Nothing of a push is in it."""

import logging

from sidecar.delivery.call import Call
from sidecar.errors import PushError, Reason, Sent
from sidecar.telemetry.logs import ACCESS_ANSWERED, ACCESS_FAILED

_answered = logging.getLogger(ACCESS_ANSWERED)
_failed = logging.getLogger(ACCESS_FAILED)


def log_push(call: Call, error: PushError | None, *, code: str, duration_s: float) -> None:
    """Write the line of a push that has ended with this gRPC status code."""
    if error is not None:
        _failed.log(_level(error), "push failed", extra=_fields(call, error, code, duration_s))
    elif _answered.isEnabledFor(logging.INFO):
        _answered.info("push answered", extra=_fields(call, None, code, duration_s))


def _level(error: PushError) -> int:
    if error.reason is Reason.SIDECAR_BUG:
        return logging.ERROR
    return logging.WARNING if error.sent is Sent.MAYBE else logging.INFO


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
        fields |= {"reason": error.reason.value, "sent": str(error.sent), "attempts": error.attempts}
        if error.vendor is not None and error.vendor.code is not None:
            fields["vendor_code"] = error.vendor.code
    return fields | call.trace.ids
