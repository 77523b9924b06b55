"""Every kind of answer against the verdict that the contract gives it, all written by hand."""

import json
from typing import Any

import pytest

from pushsidecar.type.v1.target_state_pb2 import TARGET_STATE_ACCEPTED, TARGET_STATE_REFUSED, TARGET_STATE_UNKNOWN
from pushsidecar.xg.v1 import push_service_pb2 as pb
from sidecar.errors import OutcomeUnknown, PushError, QuotaExceeded, Reason, Sent, VendorInternal, VendorRefused
from sidecar.providers.xg.codes import CodeClass
from sidecar.providers.xg.read import MAX_RETRY_AFTER_S, Question, read
from sidecar.transport.reply import Reply
from tests.providers.xg.audiences import AUDIENCES, LISTS, request_to

QUOTA_RETRY_AFTER_S = 61.0


def ask(
    body: bytes,
    *,
    status: int = 200,
    audience: str = "token",
    targets: int = 3,
    headers: dict[str, str] | None = None,
    code_classes: dict[int, CodeClass] | None = None,
) -> pb.PushResponse:
    question = Question(request_to(audience, targets), "shop", code_classes or {}, QUOTA_RETRY_AFTER_S)
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return read(Reply(status, pairs, body), question)


def verdict(body: bytes, **how: Any) -> Reason | str:
    """Return the reason of the error, or ACCEPTED or PARTIAL."""
    try:
        return pb.Outcome.Name(ask(body, **how).outcome).removeprefix("OUTCOME_")
    except PushError as error:
        return error.reason


def failure(body: bytes, **how: Any) -> PushError:
    with pytest.raises(PushError) as raised:
        ask(body, **how)
    return raised.value


def answer(ret_code: Any = 0, **members: Any) -> bytes:
    return json.dumps({"ret_code": ret_code, **members}).encode()


# --- Precedence: the code if it counts, else the status.

# Status -> verdict without a usable body.
BY_STATUS = {
    **dict.fromkeys([100, 101, 102, 200, 201, 202, 204, 206, 299, 303], "OUTCOME_UNKNOWN"),
    **dict.fromkeys([300, 301, 302, 304, 305, 307, 308, 399], "ENDPOINT_REFUSED"),
    **dict.fromkeys([400, 413, 414, 431], "VENDOR_REJECTED"),
    **dict.fromkeys([401, 403, 407], "CREDENTIALS_REFUSED"),
    **dict.fromkeys([404, 405, 415], "ENDPOINT_REFUSED"),
    **dict.fromkeys([402, 406, 408, 409, 410, 411, 412, 416, 418, 421, 422, 426, 428, 451], "OUTCOME_UNKNOWN"),
    429: "QUOTA_EXCEEDED",
    **dict.fromkeys([500, 501, 502, 503, 504, 505, 511, 599], "OUTCOME_UNKNOWN"),
}
# Code -> verdict where it counts; one for each kind.
BY_CODE = {
    10103: "VENDOR_REJECTED",
    10104: "CREDENTIALS_REFUSED",
    10105: "CERTIFICATE_INVALID",
    10606: "APP_NOT_REGISTERED",
    10205: "PUSH_TASK_EXPIRED",
    10110: "TARGET_UNKNOWN",
    10201: "VENDOR_BUSY",
    10204: "VENDOR_INTERNAL",
    10101: "OUTCOME_UNKNOWN",
    99999: "OUTCOME_UNKNOWN",
    -1: "OUTCOME_UNKNOWN",
}
SENT = {
    "ACCEPTED": None,
    **dict.fromkeys(
        ["VENDOR_REJECTED", "CREDENTIALS_REFUSED", "CERTIFICATE_INVALID", "APP_NOT_REGISTERED", "ENDPOINT_REFUSED",
         "PUSH_TASK_EXPIRED", "TARGET_UNKNOWN", "VENDOR_BUSY", "QUOTA_EXCEEDED"], "no"
    ),
    **dict.fromkeys(["OUTCOME_UNKNOWN", "VENDOR_INTERNAL"], "maybe"),
}  # fmt: skip


@pytest.mark.parametrize(("status", "expected"), BY_STATUS.items())
@pytest.mark.parametrize("body", [b"", b"<html></html>", b'{"err_msg": "no code"}'], ids=["empty", "html", "no-code"])
def test_without_a_code_the_status_decides(status: int, expected: str, body: bytes) -> None:
    error = failure(body, status=status)
    assert (error.reason, error.sent) == (expected, SENT[expected])
    assert error.vendor is not None
    assert (error.vendor.http_status, error.vendor.code) == (status, None)


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 400, 401, 403, 404, 408, 409, 413, 415, 429, 451])
@pytest.mark.parametrize(("code", "expected"), BY_CODE.items())
def test_code_decides_under_2xx_and_4xx(status: int, code: int, expected: str) -> None:
    error = failure(answer(code), status=status)
    assert (error.reason, error.sent) == (expected, SENT[expected])
    assert error.vendor is not None
    assert (error.vendor.http_status, error.vendor.code) == (status, code)


@pytest.mark.parametrize("status", [100, 101, 300, 302, 304, 307, 399, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("code", [0, *BY_CODE])
def test_code_does_not_decide_under_1xx_3xx_and_5xx(status: int, code: int) -> None:
    error = failure(answer(code), status=status)
    assert (error.reason, error.sent) == (BY_STATUS[status], SENT[BY_STATUS[status]])
    assert error.vendor is not None
    assert error.vendor.code == code


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_zero_is_accepted_under_2xx(status: int) -> None:
    assert verdict(answer(0), status=status) == "ACCEPTED"


@pytest.mark.parametrize("status", [status for status in BY_STATUS if not 200 <= status <= 299])
def test_zero_counts_only_under_2xx(status: int) -> None:
    assert verdict(answer(0), status=status) == BY_STATUS[status]


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_one_verdict(status: int) -> None:
    default = "ENDPOINT_REFUSED" if 300 <= status <= 399 else "OUTCOME_UNKNOWN"
    expected = BY_STATUS.get(status, default)
    error = failure(b"", status=status)
    assert (error.reason, error.sent) == (expected, SENT[expected])
    assert str(status) in error.description


# --- What a usable code is.


@pytest.mark.parametrize(
    "code",
    [
        b'"10103"', b'"0"', b"10103.0", b"0.0", b"1e4", b"true", b"false", b"null", b"[10103]", b'{"code": 10103}',
        b"2147483648", b"-2147483649", b"9223372036854775808", b"1" * 5000, b"010103", b"0x1", b"",
    ],
    ids=lambda code: code[:20].decode() or "nothing",
)  # fmt: skip
def test_ret_code_that_is_no_integer_says_nothing(code: bytes) -> None:
    error = failure(b'{"ret_code": ' + code + b', "push_id": "1"}')
    assert (error.reason, error.sent) == ("OUTCOME_UNKNOWN", "maybe")
    assert error.vendor is not None
    assert error.vendor.code is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, "OUTCOME_UNKNOWN"), (400, "OUTCOME_UNKNOWN"), (401, "OUTCOME_UNKNOWN"), (404, "OUTCOME_UNKNOWN"),
        (429, "OUTCOME_UNKNOWN"), (302, "ENDPOINT_REFUSED"), (500, "OUTCOME_UNKNOWN"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "code", [b"2147483648", b"-2147483649", b"1" * 30, b"1" * 5000, b"-" + b"1" * 5000], ids=lambda code: code[:12]
)
def test_integer_that_no_document_can_name_decides_as_a_code_does(code: bytes, status: int, expected: str) -> None:
    """What the vendor did is unknown, as with every undocumented code: the status beside it proves nothing."""
    error = failure(b'{"ret_code": ' + code + b"}", status=status)
    assert (error.reason, error.sent) == (expected, SENT[expected])


def test_code_that_is_no_integer_leaves_the_word_to_the_status() -> None:
    for code in (b"2147483648.0", b"1e40", b'"2147483648"', b"null"):
        assert failure(b'{"ret_code": ' + code + b"}", status=404).reason == "ENDPOINT_REFUSED"


@pytest.mark.parametrize("code", [2**31 - 1, -(2**31)])
def test_smallest_and_largest_code_are_read(code: int) -> None:
    error = failure(answer(code))
    assert error.vendor is not None
    assert (error.reason, error.vendor.code) == ("OUTCOME_UNKNOWN", code)


@pytest.mark.parametrize(
    "body",
    [
        b'{"ret_code": 0, "ret_code": 10103}', b'{"ret_code": 10103, "ret_code": 0}', b'{"ret_code":0,"ret_code":0}',
        b'{"ret_code": "x", "result": {"ret_code": 1}, "ret_code": 10103}',
        b'{"ret_code": 10110, "ret_cod\\u0065": 0}', b'{"\\u0072et_code": 0, "ret_code": 10110}',
    ],
)  # fmt: skip
def test_two_codes_say_nothing(body: bytes) -> None:
    assert verdict(body) == "OUTCOME_UNKNOWN"
    assert verdict(body, status=400) == "VENDOR_REJECTED"


@pytest.mark.parametrize(
    "body",
    [
        b'{"result": {"ret_code": 1}, "ret_code": 10103}',
        b'{"ret_code": 10103, "result": [{"ret_code": 1}, {"ret_code": 2}]}',
        b'{"ret_code": 10103, "result": "\\"ret_code\\"", "other": ' + b"1" * 5000 + b', "x": {"ret_code": 0}}',
        b'{"err_msg": "\\"ret_code\\": 0, \\"ret_code\\"", "ret_code": 10103}',
    ],
)
def test_code_deeper_inside_is_no_second_code(body: bytes) -> None:
    assert verdict(body) == "VENDOR_REJECTED"


GARBAGE = {
    "empty": b"",
    "space": b"  \n",
    "html": b"<!DOCTYPE html><html><body>OK</body></html>",
    "null": b"null",
    "number": b"0",
    "string": b'"ret_code"',
    "array": b'[{"ret_code": 0}]',
    "truncated": b'{"ret_code": 0, "push_id": "12',
    "trailing": b'{"ret_code": 0} {}',
    "trailing-nul": b'{"ret_code": 0}\x00',
    "no-quotes": b"{ret_code: 0}",
    "gbk": '{"ret_code": 0, "err_msg": "成功"}'.encode("gbk"),
    "broken-utf-8": b'{"ret_code": 0, "other": "\xff"}',
    "utf-16": '{"ret_code": 0}'.encode("utf-16"),
    "utf-16-le": '{"ret_code": 0}'.encode("utf-16-le"),
    "byte-order-mark": b'\xef\xbb\xbf{"ret_code": 0}',
    "nested-arrays": b'{"ret_code": 0, "other": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested-objects": b'{"a":' * 100_000 + b"0" + b"}" * 100_000,
    "nan": b'{"ret_code": 0, "other": NaN}',
    "nan-code": b'{"ret_code": NaN}',
    "infinity": b'{"ret_code": 0, "other": -Infinity}',
    "control-character": b'{"ret_code": 0, "other": "\n"}',
    "lone-surrogate": b'{"ret_code": 0, "push_id": "\\ud800"}',
    "empty-object": b"{}",
    "other-case": b'{"RET_CODE": 0}',
}


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in GARBAGE.items()])
@pytest.mark.parametrize("audience", AUDIENCES)
def test_body_that_is_no_json_object_with_a_code_says_nothing(body: bytes, audience: str) -> None:
    error = failure(body, audience=audience)
    assert (error.reason, error.sent) == ("OUTCOME_UNKNOWN", "maybe")
    assert error.vendor is not None
    assert (error.vendor.code, error.vendor.message, error.vendor.response) == (None, "", None)


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in GARBAGE.items()])
def test_garbage_under_a_refusing_status_goes_by_the_status(body: bytes) -> None:
    assert verdict(body, status=401) == "CREDENTIALS_REFUSED"


def test_member_that_is_nested_too_deep_to_read_is_as_absent() -> None:
    response = ask(b'{"ret_code": 0, "result": "' + b"[" * 100_000 + b'"}')
    assert response.outcome == pb.OUTCOME_ACCEPTED
    assert list(response.results) == []


def test_unknown_members_and_white_space_do_not_matter() -> None:
    assert verdict(b' {\n"x": {"ret_code": 10103}, "ret_code" : 0 , "y": [null, 1.5e300] }\r\n ') == "ACCEPTED"


# --- Classes.


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("code", [10118, 99999, 1, -1, 2**31 - 1, -(2**31)])
def test_undocumented_code_is_outcome_unknown(code: int, audience: str) -> None:
    error = failure(answer(code), audience=audience)
    assert isinstance(error, OutcomeUnknown)
    assert error.cause == "vendor_code"
    assert str(code) in error.description


@pytest.mark.parametrize("code", [10302, 10304])
@pytest.mark.parametrize("audience", AUDIENCES)
def test_partly_failed_is_a_success_of_a_list_only(code: int, audience: str) -> None:
    expected = "PARTIAL" if audience in LISTS else "OUTCOME_UNKNOWN"
    assert verdict(answer(code), audience=audience) == expected


@pytest.mark.parametrize("audience", LISTS)
@pytest.mark.parametrize(
    ("result", "expected"),
    [([0, 0, 0], "ACCEPTED"), ([0, 6, 0], "PARTIAL"), ([7, 0, 0], "PARTIAL"), ([6, 48, 6], "PARTIAL"),
     ([0, 6], "ACCEPTED"), (None, "ACCEPTED"), ("", "ACCEPTED")],
)  # fmt: skip
def test_zero_with_a_refused_target_is_partial(audience: str, result: Any, expected: str) -> None:
    for shape in (result, json.dumps(result)):
        assert verdict(answer(0, result=shape), audience=audience) == expected


@pytest.mark.parametrize("audience", ["token", "account"])
@pytest.mark.parametrize(
    ("target_code", "expected"),
    [(0, "ACCEPTED"), (6, "TARGET_UNKNOWN"), (48, "TARGET_UNKNOWN"), (7, "OUTCOME_UNKNOWN"), (-1, "OUTCOME_UNKNOWN"),
     (10110, "OUTCOME_UNKNOWN")],
)  # fmt: skip
def test_code_of_a_single_target(audience: str, target_code: int, expected: str) -> None:
    for result in ([target_code], f"[{target_code}]"):
        assert verdict(answer(0, result=result), audience=audience) == expected


def test_error_of_a_single_target_says_what_the_vendor_said() -> None:
    error = failure(answer(0, push_id="5", result="[6]"))
    assert isinstance(error, VendorRefused)
    assert (error.sent, error.resource_type) == (Sent.NO, "device")
    assert error.vendor is not None
    assert (error.vendor.code, error.vendor.push_id, error.vendor.response) == (0, "5", None)
    assert "6" in error.description


@pytest.mark.parametrize("result", [[6], "[6]", [0, 6, 0]])
@pytest.mark.parametrize("audience", ["all", "tag"])
def test_result_of_a_push_without_targets_is_passed_on_and_not_judged(audience: str, result: Any) -> None:
    response = ask(answer(0, result=result), audience=audience)
    assert response.outcome == pb.OUTCOME_ACCEPTED
    assert list(response.results) == []
    assert json.loads(response.result_json) == result


@pytest.mark.parametrize(
    ("audience", "resource_type"),
    [("token", "device"), ("token_list", "device"), ("account", "account"), ("account_list", "account"), ("all", "")],
)
def test_unknown_target_is_named_by_its_kind(audience: str, resource_type: str) -> None:
    error = failure(answer(10110), audience=audience)
    assert isinstance(error, VendorRefused)
    assert error.resource_type == resource_type


@pytest.mark.parametrize(("audience", "code"), [("account_list", 10303), ("token_list", 10305)])
def test_list_that_failed_as_a_whole_carries_the_response(audience: str, code: int) -> None:
    body = answer(code, push_id=7, seq=3, environment="dev", err_msg="all failed", result="[6, 48, 7]")
    error = failure(body, audience=audience)
    assert (error.reason, error.sent) == ("TARGET_UNKNOWN", "no")
    assert error.vendor is not None
    assert error.vendor.response == pb.PushResponse(
        push_id="7",
        seq=3,
        environment=pb.ENVIRONMENT_DEV,
        vendor_code=code,
        vendor_message="all failed",
        result_json='"[6, 48, 7]"',
        results=[
            pb.TargetResult(index=0, state=TARGET_STATE_REFUSED, vendor_code=6),
            pb.TargetResult(index=1, state=TARGET_STATE_REFUSED, vendor_code=48),
            pb.TargetResult(index=2, state=TARGET_STATE_UNKNOWN, vendor_code=7),
        ],
    )


@pytest.mark.parametrize("audience", ["all", "tag", "token", "account"])
def test_push_that_is_no_list_carries_no_response(audience: str) -> None:
    error = failure(answer(10303), audience=audience)
    assert error.vendor is not None
    assert error.vendor.response is None


@pytest.mark.parametrize(
    ("code_class", "expected"),
    [(CodeClass.VENDOR_BUSY, "VENDOR_BUSY"), (CodeClass.VENDOR_REJECTED, "VENDOR_REJECTED"),
     (CodeClass.VENDOR_INTERNAL, "VENDOR_INTERNAL"), (CodeClass.TARGET_UNKNOWN, "TARGET_UNKNOWN")],
)  # fmt: skip
@pytest.mark.parametrize("code", [10100, 10103, 99999])
def test_configuration_can_reclass_a_code(code: int, code_class: CodeClass, expected: str) -> None:
    assert verdict(answer(code), code_classes={code: code_class}) == expected
    assert verdict(answer(10105), code_classes={code: code_class}) == "CERTIFICATE_INVALID"


def test_code_that_is_called_a_spent_quota_tells_the_configured_wait() -> None:
    error = failure(answer(10999), code_classes={10999: CodeClass.QUOTA_EXCEEDED})
    assert isinstance(error, QuotaExceeded)
    assert (error.sent, error.retry_after_s, error.subject) == ("no", QUOTA_RETRY_AFTER_S, "app:shop")


def test_reclassed_code_still_counts_only_under_2xx_and_4xx() -> None:
    classes = {10100: CodeClass.VENDOR_BUSY}
    assert verdict(answer(10100), status=404, code_classes=classes) == "VENDOR_BUSY"
    assert verdict(answer(10100), status=503, code_classes=classes) == "OUTCOME_UNKNOWN"


def test_vendor_that_failed_while_acting_is_maybe() -> None:
    error = failure(answer(10204))
    assert isinstance(error, VendorInternal)
    assert "may have gone out" in error.description


# --- Members of the answer.


@pytest.mark.parametrize(
    ("push_id", "expected"),
    [("3895624686", "3895624686"), (3895624686, "3895624686"), (0, "0"), ("", ""), (None, ""), (True, ""), (1.5, ""),
     ([1], ""), ({}, ""), (-1, "-1"), (10**19, "10000000000000000000"), (10**40, "1" + "0" * 40), ("x", "x")],
)  # fmt: skip
def test_push_id_is_read_as_text_or_number(push_id: Any, expected: str) -> None:
    assert ask(answer(0, push_id=push_id)).push_id == expected


def test_push_id_may_be_absent_or_huge() -> None:
    assert ask(answer(0)).push_id == ""
    assert ask(answer(0, push_id="9" * 1_000_000)).push_id == "9" * 1_000_000


@pytest.mark.parametrize(
    ("push_id", "shown"),
    [("3895624686", "3895624686"), (3895624686, "3895624686"), ("9" * 20, "9" * 20), ("9" * 21, ""), ("token-0", ""),
     ("12\u0663", ""), ("-1", ""), ("0", ""), ("", "")],
)  # fmt: skip
def test_error_shows_a_push_id_only_when_it_is_a_number(push_id: Any, shown: str) -> None:
    """Errors are logged by those who get them; a vendor that repeats a target there must not have it spread."""
    error = failure(answer(10103, push_id=push_id), audience="token")
    assert error.vendor is not None
    assert error.vendor.push_id == shown


@pytest.mark.parametrize(
    ("seq", "expected"),
    [(7, 7), (0, 0), (-1, -1), (2**63 - 1, 2**63 - 1), (-(2**63), -(2**63)), (2**63, 0), (1.0, 0), ("7", 0), (True, 0),
     (None, 0), ([], 0)],
)  # fmt: skip
def test_seq_is_read_as_an_integer_of_64_bits(seq: Any, expected: int) -> None:
    assert ask(answer(0, seq=seq)).seq == expected
    error = failure(answer(10103, seq=seq))
    assert error.vendor is not None
    assert error.vendor.seq == expected


@pytest.mark.parametrize(
    ("environment", "expected", "text"),
    [("product", pb.ENVIRONMENT_PRODUCT, "product"), ("dev", pb.ENVIRONMENT_DEV, "dev"), ("Product", 0, ""),
     ("", 0, ""), (None, 0, ""), (1, 0, ""), ("other", 0, "")],
)  # fmt: skip
def test_environment_is_echoed_where_it_is_known(environment: Any, expected: int, text: str) -> None:
    assert ask(answer(0, environment=environment)).environment == expected
    error = failure(answer(10103, environment=environment))
    assert error.vendor is not None
    assert error.vendor.environment == text


@pytest.mark.parametrize("err_msg", [None, 5, ["x"], {"x": 1}, True, ""])
def test_message_that_is_no_text_is_empty(err_msg: Any) -> None:
    assert ask(answer(0, err_msg=err_msg)).vendor_message == ""


def test_message_is_cut_at_200_characters_not_bytes() -> None:
    assert ask(answer(0, err_msg="繁" * 1000)).vendor_message == "繁" * 200
    error = failure(answer(10103, err_msg="😀" * 201))
    assert error.vendor is not None
    assert error.vendor.message == "😀" * 200


def test_message_has_nothing_of_the_request() -> None:
    error = failure(answer(10110, err_msg='token-0 unknown; {"title": "a title", "content": "a content"}'))
    assert error.vendor is not None
    assert error.vendor.message == '[...] unknown; {"title": "[...]", "content": "[...]"}'


def test_value_at_the_cut_does_not_survive_in_part() -> None:
    error = failure(answer(10110, err_msg="x" * 196 + "token-0"))
    assert error.vendor is not None
    assert error.vendor.message == "x" * 196 + "[..."


STATES = {0: TARGET_STATE_ACCEPTED, 6: TARGET_STATE_REFUSED, 48: TARGET_STATE_REFUSED, 7: TARGET_STATE_UNKNOWN}


@pytest.mark.parametrize("audience", LISTS)
@pytest.mark.parametrize("codes", [[0, 0, 0], [0, 6, 48], [7, 7, 7]])
def test_result_is_read_target_by_target(audience: str, codes: list[int]) -> None:
    for result in (codes, json.dumps(codes), f" {codes} "):
        response = ask(answer(10304, result=result), audience=audience)
        found = [(entry.index, entry.state, entry.vendor_code) for entry in response.results]
        assert found == [(index, STATES[code], code) for index, code in enumerate(codes)]
        assert json.loads(response.result_json) == result


@pytest.mark.parametrize(
    "result",
    [
        "", "x", "0", "[0,0]", "[0,0,0", "null", "{}", [0, 0], [0, 0, 0, 0], [], [0, 0, "0"], [0, 0, None],
        [0, 0, 0.0], [0, 0, True], [False, False, False], [0, 0, [0]], [0, 0, 2**31], [0, 0, 10**30], {"": ""},
        {"token-0": 0}, 0, None, True, "[0,0,NaN]", "['0','0','0']", '"[0,0,0]"',
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("code", [0, 10304])
def test_result_of_another_shape_is_passed_on_and_not_read(result: Any, code: int) -> None:
    response = ask(answer(code, result=result), audience="token_list")
    assert list(response.results) == []
    assert json.loads(response.result_json) == result
    assert response.outcome == (pb.OUTCOME_PARTIAL if code else pb.OUTCOME_ACCEPTED)


def test_result_is_passed_on_as_the_vendor_wrote_it() -> None:
    raw = '{"a" : 9007199254740993.10, "b":[ 1e2 ],"a":"\\u7e41繁"}'
    response = ask(f'{{"ret_code": 0, "result": {raw}}}'.encode())
    assert response.result_json == raw


def test_absent_result_is_empty() -> None:
    assert ask(answer(0)).result_json == ""


def test_thousand_targets_are_read() -> None:
    codes = [0, 6] * 500
    response = ask(answer(10304, result=json.dumps(codes)), audience="token_list", targets=1000)
    assert [entry.vendor_code for entry in response.results] == codes


def test_answers_of_the_documents() -> None:
    # S1, "标签推送应答消息" and "单设备推送应答消息".
    tag = ask(
        b'{"seq": 0, "environment": "product", "ret_code": 0, "push_id": "3895624686"}', audience="tag"
    )  # fmt: skip
    assert tag == pb.PushResponse(
        push_id="3895624686", environment=pb.ENVIRONMENT_PRODUCT, outcome=pb.OUTCOME_ACCEPTED
    )  # fmt: skip
    single = ask(
        b'{"seq": 0, "push_id": "427184209", "ret_code": 0, "environment": "dev", "err_msg": "", "result": "[0]"}'
    )
    assert single == pb.PushResponse(
        push_id="427184209",
        environment=pb.ENVIRONMENT_DEV,
        outcome=pb.OUTCOME_ACCEPTED,
        results=[pb.TargetResult(index=0, state=TARGET_STATE_ACCEPTED)],
        result_json='"[0]"',
    )


# --- Quota.


def quota(retry_after: str | None) -> QuotaExceeded:
    error = failure(b"", status=429, headers={} if retry_after is None else {"retry-after": retry_after})
    assert isinstance(error, QuotaExceeded)
    return error


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("7", 7.0), ("0", 0.0), ("0003600", 3600.0), ("86400", 86400.0), ("86401", MAX_RETRY_AFTER_S),
        ("9" * 400, MAX_RETRY_AFTER_S),
        # Dates far from any clock that runs this.
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_S), ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0), ("Sun Nov  6 08:49:37 1994", 0.0),
        ("Sun, 06 Nov 1994 08:49:37", 0.0),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_date(header: str, expected: float) -> None:
    assert quota(header).retry_after_s == expected


@pytest.mark.parametrize(
    "header",
    [None, "", " ", "soon", "-5", "1.5", "7s", "\u0667", "\u00b2", "inf", "NaN", "Mon, 32 Jan 2020 00:00:00 GMT",
     "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2020 00:00:00 +99999999999999"],
)  # fmt: skip
def test_unreadable_retry_after_is_the_configured_time(header: str | None) -> None:
    assert quota(header).retry_after_s == QUOTA_RETRY_AFTER_S


def test_quota_names_the_app() -> None:
    error = quota("7")
    assert (error.sent, error.subject) == (Sent.NO, "app:shop")
    assert error.vendor is not None
    assert error.vendor.http_status == 429


def test_retry_after_of_another_status_is_not_read() -> None:
    assert verdict(b"", status=503, headers={"retry-after": "x"}) == "OUTCOME_UNKNOWN"
