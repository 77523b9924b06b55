"""The work that one request can cause is bounded, and nothing valid is refused for it."""

import pytest

from pushsidecar.xg.v1 import (
    TAG_OP_OR,
    AcceptTime,
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
from sidecar.providers.xg.bounds import check_message_bound, shortened
from sidecar.providers.xg.render import MAX_MESSAGE_BYTES, render
from sidecar.providers.xg.rules import violations

ANDROID = AndroidMessage(title="t", content="c")
MANY = 300_000


@pytest.mark.parametrize(
    ("audience", "rule", "at_most"),
    [
        ({"token_list": TokenList(tokens=[""] * MANY)}, "repeated.max_items", 1002),
        ({"account_list": AccountList(accounts=[""] * MANY)}, "repeated.max_items", 1002),
        ({"tag": TagAudience(tags=[""] * MANY, op=TAG_OP_OR)}, "string.min_len", 513),
        ({"tag": TagAudience(tags=["x"] * MANY, op=TAG_OP_OR)}, "tags.max_total_len", 1),
    ],
)
def test_an_endless_list_of_broken_targets_is_not_looked_at_to_its_end(
    audience: dict[str, object], rule: str, at_most: int
) -> None:
    found = violations(PushRequest(android_message=ANDROID, **audience))  # type: ignore[arg-type]
    assert rule in {violation.rule for violation in found}
    assert len(found) <= at_most


@pytest.mark.parametrize(
    "audience",
    [
        {"token_list": TokenList(tokens=["x"] * 1000)},
        {"account_list": AccountList(accounts=["x"] * 1000)},
        {"tag": TagAudience(tags=["x"] * 512, op=TAG_OP_OR)},
    ],
)
def test_the_longest_valid_lists_are_left_alone(audience: dict[str, object]) -> None:
    request = PushRequest(android_message=ANDROID, **audience)  # type: ignore[arg-type]
    assert shortened(request) is request
    assert violations(request) == []


def test_a_shortened_request_differs_in_its_targets_alone() -> None:
    request = PushRequest(
        app="shop", token_list=TokenList(tokens=["x"] * 2000), android_message=ANDROID, multi_pkg=False, seq=7
    )
    request.expire_time.seconds = 60
    short = shortened(request)
    assert len(short.token_list.tokens) == 1001
    del request.token_list.tokens[1001:]
    assert short == request


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
