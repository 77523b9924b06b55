"""Rows: every class of the vendor's codes, to single targets, lists and everybody; and what the vendor does by itself.

Every code there is, is in the table of errors' own test.
"""

from typing import Any

from sidecar.simulator import Fault, Kind
from tests.matrix.faults import simulated
from tests.matrix.row import TRIES, Row
from tests.matrix.verdict import (
    ACCEPTED,
    BUSY,
    CERTIFICATE,
    CREDENTIALS,
    DONE,
    EXPIRED,
    INTERNAL,
    NOT_REGISTERED,
    PARTIAL,
    REJECTED,
    TARGET,
    UNKNOWN,
    Attempt,
    Verdict,
)


def code(number: int, verdict: Verdict, *, audience: str = "token", attempts: int = 1, **more: Any) -> Row:
    """Return a row of a code that every call is answered with."""
    fault = Fault(kind=Kind.RET_CODE, ret_code=number, times=None, **more)
    return Row(
        f"{number} to {audience}", simulated(fault), verdict, audience=audience, attempts=attempts, calls=attempts
    )


def partial(number: int, audience: str, *results: int) -> Row:
    """Return a row of a list that failed in part."""
    fault = Fault(kind=Kind.RET_CODE, ret_code=number, times=None, result=list(results))
    return Row(f"{number} to {audience}", simulated(fault), PARTIAL, audience=audience, results=results)


def by_itself(audience: str, verdict: Verdict, *results: int) -> Row:
    """Return a row of what the vendor answers when nothing goes wrong but what is asked of it."""
    return Row(f"to {audience}", simulated(), verdict, audience=audience, results=results)


def busy(times: int) -> Row:
    """Return a row of a vendor that is busy a few times."""
    fault = Fault(kind=Kind.RET_CODE, ret_code=10201, times=times)
    spans = (*[Attempt("error", "VENDOR_BUSY")] * times, DONE)
    return Row(f"10201, {times} times", simulated(fault), ACCEPTED, attempts=times + 1, calls=times + 1, spans=spans)


ROWS = [
    # Refused.
    *(code(number, REJECTED) for number in (10102, 10107, 10202)),
    code(10103, REJECTED, audience="all"),
    code(10115, REJECTED, audience="account"),
    code(10117, REJECTED, audience="token_list"),
    code(10104, CREDENTIALS),
    code(10104, CREDENTIALS, audience="tag"),
    code(10105, CERTIFICATE),
    code(10606, NOT_REGISTERED),
    code(10205, EXPIRED, audience="token_list"),
    code(10205, EXPIRED, audience="account_list"),
    code(10110, TARGET),
    code(10116, TARGET, audience="account"),
    code(10303, TARGET, audience="account_list", result=[48, 48]),
    code(10305, TARGET, audience="token_list", result=[6, 6]),
    # Busy before anything was pushed: tried again, but never to everybody.
    *(code(10201, BUSY, audience=audience, attempts=TRIES) for audience in ("token", "account", "token_list")),
    *(code(10203, BUSY, audience=audience, attempts=TRIES) for audience in ("token", "account_list")),
    *(code(number, BUSY, audience=audience) for number in (10201, 10203) for audience in ("all", "tag")),
    busy(1),
    busy(2),
    # Maybe.
    *(code(number, UNKNOWN) for number in (10100, 10101, 10206, 10207)),
    *(code(10101, UNKNOWN, audience=audience) for audience in ("all", "tag", "token_list")),
    *(code(number, INTERNAL) for number in (10108, 10109, 10111, 10114, 10204, 10401, 10407, 10501, 10507)),
    *(code(number, INTERNAL) for number in (10601, 10605, 10701, 10702, 10707, 10713)),
    code(10204, INTERNAL, audience="all"),
    code(10301, INTERNAL, audience="account_list"),
    # Not documented.
    *(
        code(number, UNKNOWN)
        for number in (10118, 10199, 10208, 10306, 10408, 10508, 10607, 10703, 10714, 99999, 1, -1)
    ),
    # In part.
    partial(10302, "account_list", 0, 48),
    partial(10304, "token_list", 6, 0),
    partial(10304, "account_list", 0, 7),
    code(10302, UNKNOWN, audience="account"),
    code(10304, UNKNOWN),
    code(10304, UNKNOWN, audience="all"),
    # Nothing is scripted.
    *(by_itself(audience, ACCEPTED, 0) for audience in ("token", "account")),
    *(by_itself(audience, ACCEPTED, 0, 0) for audience in ("token_list", "account_list")),
    *(by_itself(audience, ACCEPTED) for audience in ("all", "tag")),
    *(by_itself(audience, TARGET) for audience in ("unknown token", "unknown account", "account without device")),
    *(by_itself(audience, TARGET) for audience in ("unknown tokens", "unknown accounts")),
    by_itself("half-known tokens", PARTIAL, 0, 6),
    by_itself("half-known accounts", PARTIAL, 48, 0),
    by_itself("ended task", EXPIRED),
]
