"""The work that one request can cause is bounded, and nothing valid is refused for it."""

import pytest

from pushsidecar.xg.v1 import (
    ENVIRONMENT_DEV,
    TAG_OP_OR,
    AcceptTime,
    Account,
    AccountList,
    AndroidMessage,
    AndroidNotification,
    CustomContent,
    IosAlert,
    IosNotification,
    PushRequest,
    StringMap,
    TagAudience,
    TimeOfDay,
    TokenList,
)
from sidecar.errors import MessageTooLarge, Reason
from sidecar.providers.xg.bounds import MAX_CHARS_LOOKED_AT, SMALL_REQUEST_BYTES, bounded, check_message_bound
from sidecar.providers.xg.lists import LISTS, MAX_ITEM_CHARS_LOOKED_AT
from sidecar.providers.xg.render import MAX_MESSAGE_BYTES, render
from sidecar.providers.xg.rules import proto_violations, violations
from tests.contract.proto_rules import fields, rules

ANDROID = AndroidMessage(title="t", content="c")
MANY = 300_000
MEGABYTES = 4_100_000
# A field of the number 100 that no message of the contract has: a varint of three bytes.
UNKNOWN = b"\xa0\x06\x01"


def to_token(**fields: object) -> PushRequest:
    return PushRequest(**{"token": "x", "android_message": ANDROID, **fields})  # type: ignore[arg-type]


def to_list(tokens: list[str]) -> PushRequest:
    return PushRequest(token_list=TokenList(tokens=tokens), android_message=ANDROID)


def nested(field: int, content: bytes) -> bytes:
    """Return a field that holds a message of any size, as it stands on the wire."""
    size, length = len(content), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([field << 3 | 2]) + length + bytes([size]) + content


def parsed(*parts: bytes) -> PushRequest:
    return PushRequest.FromString(b"".join(parts))


UNKNOWN_FIELDS = UNKNOWN * (MEGABYTES // len(UNKNOWN))
WITH_UNKNOWN_FIELDS = {
    "in the request": parsed(to_token().SerializeToString(), UNKNOWN_FIELDS),
    "in the message": parsed(
        PushRequest(token="x").SerializeToString(), nested(9, ANDROID.SerializeToString() + UNKNOWN_FIELDS)
    ),
    "in the audience": parsed(
        PushRequest(android_message=ANDROID).SerializeToString(),
        nested(5, TokenList(tokens=["x"]).SerializeToString() + UNKNOWN_FIELDS),
    ),
    "in a time": parsed(to_token().SerializeToString(), nested(12, b"\x08\x3c" + UNKNOWN_FIELDS)),
}

LARGE = {
    "empty tokens": to_list([""] * MANY),
    "empty accounts": PushRequest(account_list=AccountList(accounts=[""] * MANY), android_message=ANDROID),
    "empty tags": PushRequest(tag=TagAudience(tags=[""] * MANY, op=TAG_OP_OR), android_message=ANDROID),
    "tags": PushRequest(tag=TagAudience(tags=["x"] * MANY, op=TAG_OP_OR), android_message=ANDROID),
    "long tokens": to_list(["x" * 4000 + str(index) for index in range(1000)]),
    "a long token in a list": to_list(["x" * MEGABYTES]),
    "a long token": to_token(token="x" * MEGABYTES),
    "a long account": PushRequest(account=Account(account="x" * MEGABYTES), android_message=ANDROID),
    "a long app": to_token(app="x" * MEGABYTES),
    "a long stat_tag": to_token(stat_tag="x" * MEGABYTES),
    "a long request_id": to_token(request_id="x" * MEGABYTES),
    "a long push_id": PushRequest(token_list=TokenList(tokens=["x"]), android_message=ANDROID, push_id="1" * MEGABYTES),
    "spans of accept_time": to_token(android_message=AndroidMessage(accept_time=[AcceptTime()] * 63)),
}


@pytest.mark.parametrize("request_", [pytest.param(request, id=name) for name, request in LARGE.items()])
def test_what_is_too_much_is_refused_after_a_look_at_a_part(request_: PushRequest) -> None:
    before = request_.ByteSize()
    found = violations(request_)
    assert 0 < len(found) <= 2 + 2 * 20
    checked = bounded(request_)
    assert checked is not None
    assert checked.rest.ByteSize() < 2000
    assert request_.ByteSize() == before


@pytest.mark.parametrize("request_", [pytest.param(r, id=name) for name, r in WITH_UNKNOWN_FIELDS.items()])
def test_fields_that_are_unknown_here_are_neither_looked_at_nor_refused(request_: PushRequest) -> None:
    assert request_.ByteSize() > MEGABYTES
    check_message_bound(request_)
    assert violations(request_) == []
    checked = bounded(request_)
    assert checked is not None
    assert checked.rest.ByteSize() < 100
    assert request_.ByteSize() > MEGABYTES


def test_a_small_request_is_looked_at_as_it_is() -> None:
    assert bounded(to_token(app="shop", stat_tag="x")) is None
    assert bounded(to_list([f"t{index}" for index in range(20)])) is None


def test_a_list_of_the_greatest_length_does_not_hide_other_rules() -> None:
    request = to_list([f"t{index}" for index in range(1001)])
    request.app = request.stat_tag = "x" * 256
    request.push_id = "x"
    request.environment = ENVIRONMENT_DEV
    assert [(violation.field, violation.rule) for violation in violations(request)] == [
        ("environment", "environment.ios_only"),
        ("app", "string.max_len"),
        ("token_list.tokens", "repeated.max_items"),
        ("stat_tag", "string.max_len"),
        ("push_id", "push_id.decimal"),
    ]


@pytest.mark.parametrize(
    "audience",
    [
        {"token_list": TokenList(tokens=[f"t{index}" for index in range(1000)])},
        {"account_list": AccountList(accounts=[f"a{index}" for index in range(1000)])},
        {"tag": TagAudience(tags=[chr(0x4E00 + index) for index in range(512)], op=TAG_OP_OR)},
    ],
)
def test_the_longest_valid_lists_pass(audience: dict[str, object]) -> None:
    assert violations(PushRequest(android_message=ANDROID, **audience)) == []  # type: ignore[arg-type]


ALL_WRONG = AcceptTime(start=TimeOfDay(hours=24, minutes=60), end=TimeOfDay(hours=-1, minutes=-1))
NO_END = AcceptTime(start=TimeOfDay())


@pytest.mark.parametrize(("wrong", "told"), [(ALL_WRONG, 5), (NO_END, 20)])
def test_spans_are_told_until_as_many_rules_are_broken_as_an_error_can_carry(wrong: AcceptTime, told: int) -> None:
    right = AcceptTime(start=TimeOfDay(hours=23, minutes=59), end=TimeOfDay())
    request = to_token(
        android_message=AndroidMessage(title="t", content="c", accept_time=[*[right] * 30, *[wrong] * 25])
    )
    found = violations(request)
    assert len(found) == 20
    assert found == proto_violations(request)[:20]
    assert len({violation.field.partition("]")[0] for violation in found}) == told


def test_every_list_that_has_rules_is_bounded() -> None:
    with_rules = {
        field.path
        for field in fields()
        if field.descriptor.is_repeated
        and any(rule.path == field.path or rule.path.startswith(field.path + "[]") for rule in rules())
    }
    spans = {"android_notification.accept_time", "android_message.accept_time"}
    assert with_rules == {rules.path for rules in LISTS.values()} | spans


def test_what_is_looked_at_of_a_text_is_more_than_any_may_have() -> None:
    maxima = [rule.limits["max_len"] for rule in rules() if "max_len" in rule.limits]
    assert max(maxima) < min(MAX_CHARS_LOOKED_AT, MAX_ITEM_CHARS_LOOKED_AT)
    assert MAX_CHARS_LOOKED_AT < SMALL_REQUEST_BYTES


def spans(count: int) -> list[AcceptTime]:
    return [AcceptTime(start=TimeOfDay(), end=TimeOfDay())] * count


@pytest.mark.parametrize(
    "message",
    [
        {"android_notification": AndroidNotification(accept_time=[AcceptTime()] * MANY)},
        {"android_message": AndroidMessage(title="t", content="c", accept_time=spans(64))},
        {"android_message": AndroidMessage(title="t" * 9000, content="c")},
        {"ios_notification": IosNotification(alert=IosAlert(loc_args=[""] * MANY))},
        {"ios_notification": IosNotification(extra=CustomContent(json="[" * 10_000))},
    ],
)
def test_a_message_that_cannot_fit_is_refused_before_it_is_looked_at(message: dict[str, object]) -> None:
    with pytest.raises(MessageTooLarge) as raised:
        check_message_bound(PushRequest(token="x", **message))  # type: ignore[arg-type]
    assert raised.value.reason is Reason.MESSAGE_TOO_LARGE
    assert raised.value.description == "message: at least 4097 bytes as sent, at most 4096 allowed"


@pytest.mark.parametrize(
    "message",
    [
        AndroidMessage(title="t", content="c", accept_time=spans(61)),
        AndroidMessage(title="é" * 1000, content="c" * 2000),
        AndroidMessage(
            title="t",
            content="c",
            custom_content=CustomContent(fields=StringMap(entries={f"{i:03}": "" for i in range(440)})),
        ),
    ],
)
def test_messages_that_nearly_fill_the_limit_pass(message: AndroidMessage) -> None:
    request = PushRequest(token="x", android_message=message)
    check_message_bound(request)
    assert MAX_MESSAGE_BYTES - 200 < render(request).message_bytes <= MAX_MESSAGE_BYTES
