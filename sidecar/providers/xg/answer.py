"""Decodes the vendor's answer. What an answer means is `read.py`'s to say.

The forms that the vendor's documents and real answers show are decoded at once, into a typed struct. Everything else
is decoded member by member, where a member of another type, or one that cannot be read, is as absent. Both ways give
the same for whatever both can read; a test compares them.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

_INT64 = range(-(2**63), 2**63)
# Stands for an integer of more digits than are read: like itself, no code that a document can name.
_ENDLESS = 2**63


class Answer(msgspec.Struct, gc=False):
    """The members of an answer. S1, "Push API应答参数"; S0 has `push_id` as a number and `result` as an object."""

    # Any integer; None: the answer has no code, or not exactly one.
    ret_code: int | None = None
    push_id: str | int = ""
    seq: Annotated[int, msgspec.Meta(ge=_INT64[0], le=_INT64[-1])] = 0
    environment: str = ""
    err_msg: str = ""
    # As the vendor wrote it; empty: absent.
    result: msgspec.Raw = msgspec.Raw()


_decode_answer = msgspec.json.Decoder(Answer).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def decode(body: bytes) -> Answer:
    """Decode a body; an answer without any member when it is no JSON object in UTF-8, or has two codes."""
    answer = decode_documented(body)
    return decode_by_member(body) if answer is None else answer


def decode_documented(body: bytes) -> Answer | None:
    """Decode an answer whose members have the types that are known; None for any other body."""
    if _may_have_two_codes(body):
        return None
    try:
        body.decode()
        return _decode_answer(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def decode_by_member(body: bytes) -> Answer:
    """Decode a body as `decode` does, whatever types its members have."""
    members = _members(body)
    push_id, seq = _value(members.get("push_id")), _value(members.get("seq"))
    return Answer(
        ret_code=_code(members.get("ret_code")),
        push_id=push_id if isinstance(push_id, str) or type(push_id) is int else "",
        seq=seq if type(seq) is int and seq in _INT64 else 0,
        environment=_text(members.get("environment")),
        err_msg=_text(members.get("err_msg")),
        result=members.get("result", msgspec.Raw()),
    )


def _members(body: bytes) -> Mapping[str, msgspec.Raw]:
    try:
        members = _decode_members(body)
        body.decode()
        return {} if _may_have_two_codes(body) and _has_two_codes(body) else members
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return {}


def _may_have_two_codes(body: bytes) -> bool:
    # A name can also be written with escapes.
    return body.count(b'"ret_code"') > 1 or b"\\u" in body


def _has_two_codes(body: bytes) -> bool:
    """Say whether `ret_code` stands twice in the outermost object: which of them counts would be a guess."""
    names: list[str] = json.loads(body, object_pairs_hook=lambda pairs: [name for name, _ in pairs], parse_int=str)
    return names.count("ret_code") > 1


def _value(raw: msgspec.Raw | None) -> Any:
    """Return a member's value; None when it is absent or unreadable."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def _code(raw: msgspec.Raw | None) -> int | None:
    value = _value(raw)
    if type(value) is int:
        return value
    return _ENDLESS if raw is not None and bytes(raw).removeprefix(b"-").isdigit() else None


def _text(raw: msgspec.Raw | None) -> str:
    value = _value(raw)
    return value if isinstance(value, str) else ""
