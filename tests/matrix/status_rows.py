"""Rows: HTTP statuses, and which of status and `ret_code` decides.

A non-zero code decides with 2xx and 4xx, the code 0 with 2xx only; everything else goes by the status.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from sidecar.simulator import Fault, Kind
from tests.matrix.faults import redirect, simulated
from tests.matrix.row import TRIES, Row
from tests.matrix.stage import QUOTA_RETRY_AFTER_S
from tests.matrix.verdict import (
    ACCEPTED,
    BUSY,
    CERTIFICATE,
    CREDENTIALS,
    ENDPOINT,
    EXPIRED,
    INTERNAL,
    QUOTA,
    REJECTED,
    TARGET,
    UNKNOWN,
    Verdict,
)


def answer(number: int, body: str = "", headers: Mapping[str, str] | None = None) -> Fault:
    """Return an answer with this status, given to every call."""
    return Fault(kind=Kind.HTTP, status=number, body=body, headers=headers or {}, times=None)


def status(number: int, verdict: Verdict, *, headers: Mapping[str, str] | None = None, said: str = "") -> Row:
    """Return a row of an answer without a body."""
    return Row(f"{number}{said}", simulated(answer(number, headers=headers)), verdict)


def page(number: int, verdict: Verdict) -> Row:
    """Return a row of an answer with a page, as proxies and gateways give it."""
    body = f"<html><h1>{number}</h1></html>"
    return Row(f"{number} with a page", simulated(answer(number, body, {"Content-Type": "text/html"})), verdict)


def code(number: int, ret_code: int, verdict: Verdict, *, attempts: int = 1, retry_after_s: Any = None) -> Row:
    """Return a row of an answer with a status and a code."""
    fault = simulated(answer(number, f'{{"ret_code": {ret_code}, "err_msg": "said"}}'))
    name = f"{number} with ret_code {ret_code}"
    return Row(name, fault, verdict, attempts=attempts, calls=attempts, retry_after_s=retry_after_s)


def no_code(number: int, body: str, verdict: Verdict, *, retry_after_s: float | None = None) -> Row:
    """Return a row of an answer with a status and a body that is no verdict."""
    return Row(f"{number} with {body}", simulated(answer(number, body)), verdict, retry_after_s=retry_after_s)


def quota(said: str, retry_after: str | None, expected_s: float) -> Row:
    """Return a row of a quota that is spent; the next push waits for its time."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Row(f"429 {said}", simulated(answer(429, headers=headers)), QUOTA, retry_after_s=expected_s)


def in_two_seconds() -> Fault:
    """Return a spent quota with a date of HTTP: of whole seconds, so that it is one second away at least."""
    at = datetime.now(UTC) + timedelta(seconds=2)
    return answer(429, headers={"Retry-After": format_datetime(at, usegmt=True)})


REFUSED_BY_STATUS = {
    **dict.fromkeys([400, 413, 414, 431], REJECTED),
    **dict.fromkeys([401, 403, 407], CREDENTIALS),
    **dict.fromkeys([300, 304, 404, 405, 415], ENDPOINT),
}
# Nothing usable: other 2xx, 408 and the other 4xx, 5xx.
UNKNOWN_BY_STATUS = [201, 202, 203, 204, 205, 206, 207, 226, 402, 406, 408, 409, 410, 412, 417, 418, 421, 422, 423]
UNKNOWN_BY_STATUS += [425, 426, 428, 451, 499, 500, 501, 502, 503, 504, 505, 507, 511, 599]

ROWS = [
    *(status(number, verdict) for number, verdict in REFUSED_BY_STATUS.items()),
    *(status(number, UNKNOWN) for number in UNKNOWN_BY_STATUS),
    *(Row(text, redirect(text), ENDPOINT) for text in ("301 Moved Permanently", "302 Found")),
    # How a server commonly answers a POST that it has processed.
    Row("303 See Other", redirect("303 See Other"), UNKNOWN),
    code(303, 0, UNKNOWN),
    code(303, 10105, UNKNOWN),
    *(Row(text, redirect(text), ENDPOINT) for text in ("307 Temporary Redirect", "308 Permanent Redirect")),
    status(408, UNKNOWN, headers={"Connection": "close"}, said=" and the end of the connection"),
    # Not the quota: whatever it says of later, the push may have gone out.
    status(503, UNKNOWN, headers={"Retry-After": "1"}, said=" with Retry-After"),
    page(200, UNKNOWN),
    page(201, UNKNOWN),
    page(403, CREDENTIALS),
    page(404, ENDPOINT),
    page(413, REJECTED),
    page(502, UNKNOWN),
    page(504, UNKNOWN),
    # The quota is spent: RetryInfo says when, and the app is paused until then.
    quota("without Retry-After", None, QUOTA_RETRY_AFTER_S),
    quota("at once", "0", 0.0),
    quota("in seconds", "1", 1.0),
    quota("with a date that has passed", "Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    Row("429 with a date", simulated(in_two_seconds), QUOTA, retry_after_s=pytest.approx(1.4, abs=0.6)),
    quota("with words", "soon", QUOTA_RETRY_AFTER_S),
    quota("with a fraction", "0.5", QUOTA_RETRY_AFTER_S),
    quota("with seconds below zero", "-5", QUOTA_RETRY_AFTER_S),
    quota("with no date at all", "Wed, 99 Foo 2015 07:28:00 GMT", QUOTA_RETRY_AFTER_S),
    # The code decides.
    code(201, 0, ACCEPTED),
    code(202, 0, ACCEPTED),
    code(206, 0, ACCEPTED),
    code(299, 10103, REJECTED),
    code(200, 10105, CERTIFICATE),
    code(400, 10105, CERTIFICATE),
    code(401, 10103, REJECTED),
    code(403, 10110, TARGET),
    code(404, 10110, TARGET),
    code(404, 10204, INTERNAL),
    code(404, 10101, UNKNOWN),
    code(404, 99999, UNKNOWN),
    code(408, 10103, REJECTED),
    code(418, 10205, EXPIRED),
    code(400, 2**31, UNKNOWN),
    code(404, 2**64, UNKNOWN),
    code(429, 10103, REJECTED),
    code(429, 10101, UNKNOWN),
    code(400, 10201, BUSY, attempts=TRIES),
    code(429, 10203, BUSY, attempts=TRIES),
    # The status decides: success is none, and a gateway's error is not the vendor's word.
    code(400, 0, REJECTED),
    code(401, 0, CREDENTIALS),
    code(404, 0, ENDPOINT),
    code(408, 0, UNKNOWN),
    code(418, 0, UNKNOWN),
    code(429, 0, QUOTA, retry_after_s=QUOTA_RETRY_AFTER_S),
    code(302, 0, ENDPOINT),
    code(302, 10105, ENDPOINT),
    code(500, 0, UNKNOWN),
    code(503, 0, UNKNOWN),
    code(500, 10105, UNKNOWN),
    code(500, 10103, UNKNOWN),
    code(502, 10110, UNKNOWN),
    code(503, 10201, UNKNOWN),
    no_code(400, '{"ret_code": "10101"}', REJECTED),
    no_code(404, '{"ret_code": 10101.5}', ENDPOINT),
    no_code(401, '[{"ret_code": 10101}]', CREDENTIALS),
    no_code(429, '{"ret_code": null}', QUOTA, retry_after_s=QUOTA_RETRY_AFTER_S),
    no_code(418, '{"ret_code": "0"}', UNKNOWN),
]
