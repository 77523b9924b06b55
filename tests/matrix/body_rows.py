"""Rows: bodies of an answer 200. Only a JSON object with one integer `ret_code` is a verdict."""

import gzip
import json

from sidecar.simulator import Fault, Garbage, Kind
from tests.matrix.faults import raw, simulated
from tests.matrix.row import Row
from tests.matrix.scripts import answers, head_of
from tests.matrix.verdict import ACCEPTED, PARTIAL, REJECTED, TARGET, UNKNOWN, Verdict
from tests.support.raw_server import OK


def body(
    name: str,
    text: str | bytes,
    verdict: Verdict = UNKNOWN,
    *,
    audience: str = "token",
    results: tuple[int, ...] | None = None,
) -> Row:
    """Return a row of a body."""
    fault = Fault(kind=Kind.HTTP, body=text, times=None)
    return Row(name, simulated(fault), verdict, audience=audience, results=results)


def result(name: str, value: object, verdict: Verdict, *codes: int, audience: str = "token") -> Row:
    """Return a row of success with a `result`; `codes` are the targets' that are told."""
    text = json.dumps({"ret_code": 0, "result": value})
    return body(f"{name} to {audience}", text, verdict, audience=audience, results=codes)


def typed(headers: str, text: bytes, verdict: Verdict) -> Row:
    """Return a row of a body that its headers say something of."""
    return Row(headers, raw(answers(head_of(text, headers=f"{headers}\r\n") + text)), verdict)


def garbage(kind: Garbage) -> Row:
    """Return a row of what the simulator has for garbage; the vendor did act on the push."""
    return Row(f"garbage: {kind}", simulated(Fault(kind=Kind.GARBAGE, garbage=kind, times=None)), UNKNOWN)


NESTED = b"[" * 100_000 + b"]" * 100_000
TEN_MEGABYTES = b'{"ret_code":0,"err_msg":"' + b"a" * 10_000_000 + b'"}'

ROWS = [
    *(garbage(kind) for kind in Garbage),
    # No JSON, or no object.
    body("white space", " \r\n\t "),
    body("truncated JSON", '{"ret_code": 0, "push_id'),
    body("JSON that lacks its brace", '{"ret_code": 0'),
    body("JSON and more", '{"ret_code": 0} ok'),
    body("two JSON objects", '{"ret_code": 0}\n{"ret_code": 0}'),
    body("single quotes", "{'ret_code': 0}"),
    body("a trailing comma", '{"ret_code": 0,}'),
    body("a comment", '{"ret_code": 0 /* fine */}'),
    body("a call of JavaScript", 'callback({"ret_code": 0})'),
    body("a list", '[{"ret_code": 0}]'),
    body("a number", "0"),
    body("a string", '"0"'),
    body("null", "null"),
    body("nested lists", NESTED),
    body("nested lists for a code", b'{"ret_code": ' + NESTED + b"}"),
    Row("ten megabytes", raw(answers(head_of(TEN_MEGABYTES) + TEN_MEGABYTES)), UNKNOWN, cause="response_too_large"),
    # Other characters.
    body("UTF-16", '{"ret_code": 0}'.encode("utf-16")),
    body("UTF-8 with a byte order mark", b'\xef\xbb\xbf{"ret_code": 0}'),
    body("GBK", '{"ret_code": 0, "err_msg": "成功"}'.encode("gbk")),
    body("half a surrogate pair", '{"ret_code": 0, "err_msg": "\\ud800"}'),
    body("a NUL", '{"ret_code": 0}\0'),
    typed("content-type: text/html", OK, ACCEPTED),
    typed("content-type: application/json; charset=gbk", OK, ACCEPTED),
    typed("content-encoding: gzip", gzip.compress(OK), UNKNOWN),
    typed("content-encoding: br", b"\x0b\x06\x80" + OK + b"\x03", UNKNOWN),
    # No integer.
    body("no code", "{}"),
    body("a code of another name", '{"RET_CODE": 0, "code": 0}'),
    body("a code further in", '{"result": {"ret_code": 0}}'),
    *(
        body(f"ret_code {text}", f'{{"ret_code": {text}}}')
        for text in ('"0"', '"10103"', "0.0", "0.5", "10103.0", "1e4", "true", "false", "null", "[0]", "{}", "NaN")
    ),
    body("ret_code 00", '{"ret_code": 00}'),
    body("ret_code +0", '{"ret_code": +0}'),
    # No documented code.
    body("ret_code 1", '{"ret_code": 1}'),
    body("ret_code 2^31", '{"ret_code": 2147483648}'),
    body("ret_code 2^64", '{"ret_code": 18446744073709551616}'),
    body("ret_code of 5000 digits", f'{{"ret_code": {"1" * 5000}}}'),
    # Twice the same key.
    body("two codes", '{"ret_code": 10201, "ret_code": 0}'),
    body("two codes, one written with escapes", '{"ret_code": 0, "\\u0072et_code": 10103}'),
    body("two push ids", '{"push_id": "1", "ret_code": 0, "push_id": "2"}', ACCEPTED),
    body("a code of its own in the result", '{"result": {"ret_code": 10103}, "ret_code": 0}', ACCEPTED),
    # Other fields of unexpected types are no reason to doubt the code.
    body(
        "fields of other types", '{"ret_code": 0, "push_id": {}, "seq": "x", "environment": 1, "err_msg": []}', ACCEPTED
    ),
    body("an unknown field", '{"ret_code": 0, "trace": {"a": [1, 2]}}', ACCEPTED),
    body("a refusal with fields of other types", '{"ret_code": 10103, "err_msg": 5, "result": {}}', REJECTED),
    # Entries of `result`: one code per target, or nothing that is read.
    result("[0]", [0], ACCEPTED, 0),
    result("'[0]'", "[0]", ACCEPTED, 0),
    result("[6]", [6], TARGET),
    result("'[6]'", "[6]", TARGET),
    result("[48]", [48], TARGET, audience="account"),
    result("[7]", [7], UNKNOWN),
    result("[7]", [7], UNKNOWN, audience="account"),
    result("6", 6, ACCEPTED),
    result("[6, 6]", [6, 6], ACCEPTED),
    result("[6]", [6], ACCEPTED, audience="all"),
    result("[6]", [6], ACCEPTED, audience="tag"),
    result("[0, 0]", [0, 0], ACCEPTED, 0, 0, audience="token_list"),
    result("[0, 6]", [0, 6], PARTIAL, 0, 6, audience="token_list"),
    result("'[48, 0]'", "[48, 0]", PARTIAL, 48, 0, audience="account_list"),
    result("[0, 7]", [0, 7], PARTIAL, 0, 7, audience="account_list"),
    result("[6, 6]", [6, 6], PARTIAL, 6, 6, audience="token_list"),
    result("[6]", [6], ACCEPTED, audience="token_list"),
    result("['0', '6']", ["0", "6"], ACCEPTED, audience="token_list"),
    result("[false, true]", [False, True], ACCEPTED, audience="token_list"),
    result("{'0': 6}", {"0": 6}, ACCEPTED, audience="token_list"),
    # Slow, but within the limits; and an answer after which the connection ends.
    Row("a slow drip", simulated(Fault(kind=Kind.DRIP, pause_s=0.005)), ACCEPTED),
    Row("a slow answer", simulated(Fault(kind=Kind.SLOW, latency_s=0.1)), ACCEPTED),
    Row("a close after the answer", simulated(Fault(kind=Kind.CLOSE_AFTER_ANSWER)), ACCEPTED),
]
