"""The two ways of decoding an answer: at once, and member by member. What answers mean is in `test_read.py`."""

import random
from collections import Counter
from typing import Any

import pytest

from sidecar.errors import PushError
from sidecar.providers.xg.answer import Answer, decode, decode_by_member, decode_documented
from sidecar.providers.xg.codes import CodeClass
from sidecar.providers.xg.read import Question, read, read_answer
from sidecar.transport.reply import Reply
from tests.providers.xg.audiences import AUDIENCES, request_to

ANSWERS = 30_000

# --- Mutated answers. Each value is JSON, or nearly.

ODD: list[bytes] = [
    b"", b"null", b"true", b"0", b"-0", b"7", b"0.0", b"1.0", b"1e2", b"-1", b"01", b'""', b'"0"', b'"x"',
    b"[]", b"[0]", b"{}", b'{"":""}', b'{"ret_code":0}', b'{"ret_code":10110}', b"NaN", b"-Infinity",
    b"2147483647", b"2147483648", b"-2147483649", b"9223372036854775807", b"9223372036854775808",
    b"-9223372036854775809", b"18446744073709551616", b"1" * 30, b"1" * 5000, b"-" + b"1" * 5000, b"1e400",
    b'"\xff"', b'"\\ud800"', b'"\\u0030"', b'"\\n"', b'"\x00"', '"繁"'.encode(), b'"token-0 is not known"',
    b"[" * 5000, b"[" * 5000 + b"]" * 5000, b'"' + b"[" * 5000 + b'"',
]  # fmt: skip
USUAL: dict[bytes, list[bytes]] = {
    b'"ret_code"': [*[b"0"] * 9, b"10302", b"10304", b"10110", b"10305", b"10204", b"10999", b"-1"],
    b'"push_id"': [b'"3895624686"', b'"0"', b"3895624686", b"0", b'"token-0"'],
    b'"seq"': [b"0", b"5", b"-3"],
    b'"environment"': [b'"product"', b'"dev"', b'"other"', b'""'],
    b'"err_msg"': [b'""', b'"ok"', b'"token-0 has no device"'],
    b'"result"': [
        b'"[0]"', b'"[0,0,0]"', b'"[0, 6, 48]"', b'"[6]"', b'"[7]"', b"[0]", b"[0,0,0]", b"[0,6,0]", b"[6]",
        b"[48,7,6]", b'""', b'"[]"', b'"[0,0]"', b'"[0,0,0.0]"', b"[0,0,true]", b"[0,0,2147483648]", b'["0","0","0"]',
        b'"[\\"0\\",0,0]"', b'"[0,\\u0030,0]"', b'"[0,0,0"', b'" [0] "', b'"\\"[0]\\""',
    ],
}  # fmt: skip
OTHER_NAMES = [
    b'"x"',
    b'"RET_CODE"',
    b'"ret_cod\\u0065"',
    b'"\\u0072et_code"',
    b'"push\\u005fid"',
    b'"resul\\u0074"',
    b'""',
]
SPACES = [b"", b"", b" ", b"\n\t"]
BYTES = [
    b"",
    b'"',
    b"\\",
    b"\\u",
    b",",
    b":",
    b"{",
    b"}",
    b"[",
    b"]",
    b"0",
    b".",
    b"e",
    b"\xff",
    b"\x00",
    b"\xef\xbb\xbf",
]
STATUSES = [200] * 8 + [201, 204, 299, 199, 303, 400, 404, 429, 500, 503]
CLASSES: list[dict[int, CodeClass]] = [
    {}, {}, {}, {0: CodeClass.VENDOR_BUSY}, {0: CodeClass.PARTIAL}, {10304: CodeClass.ACCEPTED},
    {10110: CodeClass.ACCEPTED, 10999: CodeClass.QUOTA_EXCEEDED},
]  # fmt: skip


def an_answer(rng: random.Random) -> bytes:
    names = [name for name in USUAL if rng.random() < 0.85]
    rng.shuffle(names)
    members = [(name, rng.choice(USUAL[name])) for name in names]
    kind = rng.random()
    if kind > 0.4:
        for _ in range(rng.randint(1, 2)):
            name = rng.choice([*USUAL, *OTHER_NAMES])
            members.insert(rng.randint(0, len(members)), (name, rng.choice(USUAL.get(name, []) + ODD)))
    if kind > 0.7 and members:
        at = rng.randrange(len(members))
        members[at] = (members[at][0], rng.choice(ODD))
    space = rng.choice(SPACES)
    body = b"{" + b",".join(space + name + b":" + space + value for name, value in members) + space + b"}"
    if kind > 0.85:
        at = rng.randint(0, len(body))
        body = body[:at] + rng.choice(BYTES) + body[at + rng.randint(0, 2) :]
    return body


def a_question(rng: random.Random) -> Question:
    # All by the same word: the answers name a target.
    request = request_to(rng.choice(AUDIENCES), rng.choice([1, 2, 3]), account="token")
    return Question(request, "shop", rng.choice(CLASSES), 61.0)


def told(answer: Answer | None, reply: Reply, question: Question) -> Any:
    """Return all that a caller can see of the response or the error."""
    try:
        response = read(reply, question) if answer is None else read_answer(answer, reply, question)
    except PushError as error:
        return type(error), error.reason, error.sent, vars(error)
    return response.SerializeToString(deterministic=True)


def test_both_ways_read_the_same() -> None:
    rng = random.Random(20261129)  # noqa: S311  # no secret
    ways: Counter[bool] = Counter()
    for _ in range(ANSWERS):
        body, question = an_answer(rng), a_question(rng)
        reply = Reply(rng.choice(STATUSES), [(b"Retry-After", b"7")], body, 0.1)
        assert told(None, reply, question) == told(decode_by_member(body), reply, question), (body, question.audience)
        ways[decode_documented(body) is not None] += 1
    # Else nothing was compared.
    assert min(ways.values()) > ANSWERS // 4, ways


@pytest.mark.parametrize(
    "body",
    [
        # S1, "标签推送应答消息" and "单设备推送应答消息"; S0, 通用基础返回值; and what real answers had.
        b'{"seq": 0, "environment": "product", "ret_code": 0, "push_id": "3895624686"}',
        b'{"seq": 0, "push_id": "427184209", "ret_code": 0, "environment": "dev", "err_msg": "", "result": "[0]"}',
        b'{"seq": 0, "push_id": 123, "ret_code": 0, "environment": "product", "err_msg": "", "result": {"": ""}}',
        b'{"seq":0,"push_id":"1026970095","ret_code":0,"environment":"dev","err_msg":"","result":"[0]"}',
        b'{"seq":0,"push_id":1,"ret_code":10304,"environment":"dev","err_msg":"some failed","result":[0,6]}',
        b'{"seq":0,"ret_code":10104,"environment":"","err_msg":"auth failed"}',
    ],
)
def test_documented_and_real_answers_are_decoded_at_once(body: bytes) -> None:
    assert decode_documented(body) is not None


@pytest.mark.parametrize(
    "body",
    [
        b'{"ret_code": "0"}', b'{"ret_code": 0.0}', b'{"ret_code": true}', b'{"ret_code": 0, "ret_code": 0}',
        b'{"ret_code": 0, "seq": 9223372036854775808}', b'{"ret_code": 0, "push_id": 1.0}',
        b'{"ret_code": 0, "x": "\xff"}',
        b'{"ret_code": 0, "ret_cod\\u0065": 1}', b'{"ret_code": 0, "err_msg": null}', b"[]", b"",
    ],
)  # fmt: skip
def test_anything_else_is_decoded_by_member(body: bytes) -> None:
    assert decode_documented(body) is None


def test_member_of_another_type_is_as_absent() -> None:
    answer = decode(b'{"ret_code": 0, "push_id": [1], "seq": "7", "environment": 1, "err_msg": {}, "result": 5}')
    assert (answer.ret_code, answer.push_id, answer.seq, answer.environment, answer.err_msg) == (0, "", 0, "", "")
    assert bytes(answer.result) == b"5"
