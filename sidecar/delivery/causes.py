"""Why attempts fail, in the words of logs and metrics, and the errors that come of it."""

from http import HTTPStatus

from sidecar.errors import NotSent, OutcomeUnknown, PushError
from sidecar.transport.shortage import DETAILS as SHORTAGES

# The caller's initial metadata could not be sent: it is gone.
EARLY_HEADERS = "early_headers"
# The caller left, or the stop cut the call off.
CANCELLED = "cancelled"

# Failures that say nothing of whether the vendor can be reached and answers: a caller that is gone, an old connection
# that it closed, answers that are none, and what we ran out of ourselves.
SAY_NOTHING = frozenset({
    CANCELLED, EARLY_HEADERS, "idle_connection_closed", "unsolicited_answer", "response_too_large", "response_invalid",
    *SHORTAGES,
})  # fmt: skip


_KNOWN_STATUSES = frozenset(HTTPStatus)


def failure_error(cause: str, *, may_have_left: bool, was_refused: bool = False) -> PushError:
    """Return the error of an attempt that has no answer; `was_refused`: the vendor's TLS refused our certificate."""
    what = cause.replace("_", " ")
    if may_have_left:
        return OutcomeUnknown(f"no usable answer from the vendor ({what}): the push may have gone out", cause=cause)
    if was_refused:
        return NotSent("the vendor's TLS refused the sidecar's certificate, and read nothing", cause=cause)
    return NotSent(f"nothing was sent to the vendor ({what})", cause=cause)


def status_label(status: int) -> str:
    """Return a status as a label: as it is if it is a registered one, else by its class. The vendor chooses it."""
    return str(status) if status in _KNOWN_STATUSES or status == 0 else f"{status // 100}xx"
