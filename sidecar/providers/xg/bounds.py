"""Bounds the work that one request can cause, before anything looks at it in full.

A request of the largest size that gRPC lets in could hold millions of broken values, each of which takes time to
report, as much text where the contract has 255 characters, or as many fields that are unknown here. What is over these
bounds would be refused in any case; fields that are unknown here decide nothing.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from google.protobuf.message import Message

from pushsidecar.xg.v1.content_pb2 import AcceptTime, TimeOfDay
from pushsidecar.xg.v1.push_service_pb2 import PushRequest
from sidecar.errors import MessageTooLarge, Violation
from sidecar.providers.xg.lists import LISTS, MAX_BROKEN_ITEMS, MAX_ITEMS_LOOKED_AT, ListRules, list_violations
from sidecar.providers.xg.render import MAX_MESSAGE_BYTES

# JSON writes every text of a message at least as long as protobuf does, but for a few bytes of lengths.
MAX_MESSAGE_PROTO_BYTES = 2 * MAX_MESSAGE_BYTES
# `{"start":{"hour":"00","min":"00"},"end":{"hour":"00","min":"00"}}`
ACCEPT_TIME_BYTES = 65

# What protovalidate may see whole. The rules of all that fits into this take no millisecond, but for long lists.
SMALL_REQUEST_BYTES = MAX_MESSAGE_PROTO_BYTES
# Of a text outside of the message. Every maximum of the contract is below this, so a longer text is told in any case.
MAX_CHARS_LOOKED_AT = 1024

# As many as an error can carry (`server/status.py`). One span can break four: hours and minutes, at both ends.
MAX_BROKEN_RULES_OF_SPANS = 20
FEW_SPANS = MAX_BROKEN_RULES_OF_SPANS // 4

LAST_HOUR = 23
LAST_MINUTE = 59

_WITH_SPANS = frozenset({"android_notification", "android_message"})


class Bounded(NamedTuple):
    """What is left to check of a request, and what is known of its list of targets, if it has one.

    In `rest` the list has one valid item in the place of all; or none when rules are `broken`, so that
    `repeated.min_items` marks the place of these among the other violations.
    """

    rest: PushRequest
    list_rules: ListRules | None
    broken: Sequence[Violation]


def check_message_bound(request: PushRequest) -> None:
    """Refuse a message that cannot fit, however it is rendered.

    Raises `MessageTooLarge`.
    """
    kind = request.WhichOneof("message")
    if kind is None:
        return
    message = getattr(request, kind)
    spans = len(message.accept_time) if kind in _WITH_SPANS else 0
    is_over = message.ByteSize() > MAX_MESSAGE_PROTO_BYTES and _known(message).ByteSize() > MAX_MESSAGE_PROTO_BYTES
    if is_over or spans * ACCEPT_TIME_BYTES > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(MAX_MESSAGE_BYTES + 1, MAX_MESSAGE_BYTES, at_least=True)


def bounded(request: PushRequest) -> Bounded | None:
    """Check a list of targets, and cut what breaks more rules, or has more text, than is worth a look.

    None when the request may be looked at as it is. It is left alone in any case.
    """
    rules = LISTS.get(request.WhichOneof("audience") or "")
    targets = getattr(getattr(request, rules.audience), rules.field) if rules is not None else ()
    spans = _spans(request)
    if len(targets) <= MAX_BROKEN_ITEMS and len(spans) <= FEW_SPANS and request.ByteSize() <= SMALL_REQUEST_BYTES:
        return None
    rest = PushRequest()
    for field, value in request.ListFields():
        if rules is None or field.name != rules.audience:
            _copy(rest, field.name, value)
    del _spans(rest)[_spans_worth_a_look(spans) :]
    broken: Sequence[Violation] = ()
    if rules is not None:
        broken = list_violations(rules, targets[:MAX_ITEMS_LOOKED_AT])
        audience = getattr(rest, rules.audience)
        audience.SetInParent()
        getattr(audience, rules.field)[:] = [] if broken else ["x"]
        if rules.audience == "tag":
            rest.tag.op = request.tag.op
    rest.DiscardUnknownFields()
    return Bounded(rest, rules, broken)


def _copy(rest: PushRequest, name: str, value: Any) -> None:
    if isinstance(value, str):
        setattr(rest, name, value[:MAX_CHARS_LOOKED_AT])
    elif isinstance(value, Message):
        getattr(rest, name).CopyFrom(value)
        if name == "account":
            rest.account.account = rest.account.account[:MAX_CHARS_LOOKED_AT]
    else:
        setattr(rest, name, value)


def _known(message: Message) -> Message:
    """Return a message without the fields that are unknown here."""
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    return known


def _spans(request: PushRequest) -> Any:
    """Return the `accept_time` of the message; nothing where it cannot have one."""
    kind = request.WhichOneof("message")
    return getattr(request, kind).accept_time if kind in _WITH_SPANS else []


def _spans_worth_a_look(spans: Sequence[AcceptTime]) -> int:
    """Return how many spans, from the first, break as many rules as can be told."""
    broken_rules = 0
    for index, span in enumerate(spans):
        broken_rules += _broken_rules(span.start) if span.HasField("start") else 1
        broken_rules += _broken_rules(span.end) if span.HasField("end") else 1
        if broken_rules >= MAX_BROKEN_RULES_OF_SPANS:
            return index + 1
    return len(spans)


def _broken_rules(time: TimeOfDay) -> int:
    return (not 0 <= time.hours <= LAST_HOUR) + (not 0 <= time.minutes <= LAST_MINUTE)
