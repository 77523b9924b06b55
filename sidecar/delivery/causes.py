"""Why attempts fail, in the words of logs and metrics, and the errors that come of it."""

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


def failure_error(cause: str, *, may_have_left: bool) -> PushError:
    """Return the error of an attempt that has no answer."""
    what = cause.replace("_", " ")
    if may_have_left:
        return OutcomeUnknown(f"no usable answer from the vendor ({what}): the push may have gone out", cause=cause)
    return NotSent(f"nothing was sent to the vendor ({what})", cause=cause)
