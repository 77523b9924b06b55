"""A request's fingerprint is of its content: what the wire may do differently does not count, all else does."""

import pytest

from pushsidecar.xg.v1 import (
    AndroidNotification,
    CustomContent,
    PushRequest,
    StringMap,
    TokenList,
)
from sidecar.delivery.idempotency import fingerprint

WITHOUT = ("app", "request_id")
WORDS = [f"key-{number}" for number in range(20)]


def request(words: list[str] = WORDS, **fields: object) -> PushRequest:
    entries = StringMap(entries={word: word for word in words})
    notification = AndroidNotification(title="title", content="content", custom_content=CustomContent(fields=entries))
    return PushRequest(**{"token_list": TokenList(tokens=["a", "b"]), "android_notification": notification, **fields})


def digest(message: PushRequest) -> bytes:
    return fingerprint(message, without=WITHOUT)


def test_order_of_map_entries_does_not_count() -> None:
    there, back = request(), request(WORDS[::-1])
    assert there.SerializeToString() != back.SerializeToString(), "else this proves nothing"
    assert digest(there) == digest(back)


def test_order_of_fields_on_the_wire_does_not_count() -> None:
    first, second = PushRequest(seq=5).SerializeToString(), PushRequest(stat_tag="x").SerializeToString()
    assert digest(PushRequest.FromString(first + second)) == digest(PushRequest.FromString(second + first))


@pytest.mark.parametrize("depth", ["request", "message"])
def test_unknown_fields_do_not_count(depth: str) -> None:
    unknown = b"\xc2\x3e\x03abc"  # field 1000, which no message here has
    plain = request().SerializeToString()
    if depth == "request":
        newer = PushRequest.FromString(plain + unknown)
    else:
        notification = request().android_notification.SerializeToString() + unknown
        newer = request(android_notification=AndroidNotification.FromString(notification))
    assert newer.SerializeToString() != plain
    assert digest(newer) == digest(request())


def test_app_and_id_do_not_count() -> None:
    assert digest(request(app="shop", request_id="1")) == digest(request(request_id="2"))


@pytest.mark.parametrize(
    "other",
    [
        request(seq=1),
        request(stat_tag="x"),
        request(token_list=TokenList(tokens=["b", "a"])),
        request(token="a"),
        request(multi_pkg=False),
        request(WORDS[1:]),
        request(push_id="5"),
    ],
    ids=["seq", "stat_tag", "order-of-targets", "audience", "set-to-false", "map-entry", "task"],
)
def test_everything_else_counts(other: PushRequest) -> None:
    assert digest(other) != digest(request())


def test_request_is_left_as_it_is() -> None:
    message = request(app="shop", request_id="1")
    before = message.SerializeToString(deterministic=True)
    digest(message)
    assert message.SerializeToString(deterministic=True) == before
