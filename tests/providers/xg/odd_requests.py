"""Makes requests at random, of every audience, message and option: most of them a step away from a valid one.

Deterministic by its seed. The limits around which values lie are read from the proto, as `tests/contract` reads them.
"""

import random
from collections.abc import Iterator
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from pushsidecar.xg.v1 import PushRequest
from tests.contract.case_table import cases
from tests.contract.probes import fill
from tests.contract.proto_rules import is_ours, rules

_LIMITS = {limit for rule in rules() for limit in rule.limits.values()}
_SMALL_LIMITS = sorted(limit for limit in _LIMITS if 0 <= limit <= 1000)
_LENGTHS = [0, *(length for limit in _SMALL_LIMITS[:-1] for length in (limit - 1, limit, limit + 1) if length > 0), 513]
_NUMBERS = sorted({-(2**31), 2**31 - 1, *(limit + step for limit in _SMALL_LIMITS for step in (-1, 0, 1)), -3, -2})
_SECONDS = sorted({10**17, -(10**17), *(limit + step for limit in _LIMITS for step in (-1, 0, 1))})
_NANOS = (0, 0, 0, 1, -1, 999_999_999, 10**9, -(10**9))
_ENUM_NUMBERS = (0, 1, 2, 3, 9, -1, 2**31 - 1)
_COUNTS = (0, 1, 1, 1, 2, 2, 5, 19, 20, 21, 22, 60)
_LONG_COUNTS = (512, 513, 999, 1000, 1001)

# Of one, two, three and four bytes in UTF-8; blanks and controls; what matters to a pattern.
_CHARACTERS = ("x", "X", "~", "!", "7", "é", "\u06f7", "标", "😀", "\ufeff")
_BLANKS = (" ", "\t", "\n", "\r\n", "\0", "\x1f", "\x7f", "\x80", "\u00a0", "\u2028")
_TEXTS = (
    "0", "7", "18446744073709551616", "1" * 20, "1" * 21, "-1", "+1", "1.0", "1_0", "\u0661",
    "http://x", "https://x/y?z#w", "HTTP://X", "hTTps://é", "http://", "http:///", "http://?", "http://#x", "http:// x",
    "http://x y", "http://x\n", " http://x", "ftp://x", "http:x", "http\u017f://x", "http://\x7f", "http://x\u00a0",
    "//x", "{}", '{"a":1}', '{"aps":1}', "[]", "{",
)  # fmt: skip
# A field of the number 100 that no message of the contract has.
_UNKNOWN = b"\xa0\x06\x01"

_AUDIENCES = [field.name for field in PushRequest.DESCRIPTOR.oneofs_by_name["audience"].fields]
_MESSAGES = [field.name for field in PushRequest.DESCRIPTOR.oneofs_by_name["message"].fields]
_CASES = [case.request for case in cases() if case.request.ByteSize() < 2000]


def odd_requests(seed: int, count: int) -> Iterator[PushRequest]:
    """Yield this many requests; those of a seed are the same every time."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    for _ in range(count):
        request = _plain(chance) if chance.random() < 0.7 else _copied(chance.choice(_CASES))
        for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
            _change(chance, request)
        if chance.random() < 0.05:
            request.MergeFromString(_UNKNOWN)
        yield request


def _copied(request: PushRequest) -> PushRequest:
    copy = PushRequest()
    copy.CopyFrom(request)
    return copy


def _plain(chance: random.Random) -> PushRequest:
    """Return a valid request, of each audience and message as often, with an option or two."""
    request = PushRequest()
    audience = chance.choice(_AUDIENCES)
    if audience == "token":
        request.token = "t" * chance.choice([1, 40, 64])
    else:
        fill(getattr(request, audience))
    message = chance.choice(_MESSAGES)
    fill(getattr(request, message))
    if chance.random() < 0.5:
        request.app = request.stat_tag = chance.choice(["shop", "店" * 255])
        request.request_id = "r" * 128
        request.expire_time.seconds = chance.choice([0, 60, 259_200])
    if chance.random() < 0.3:
        if message.startswith("ios"):
            request.environment = 2
        if audience in {"all", "tag"}:
            request.send_time.seconds = 1_900_000_000
            request.loop.times = request.loop.interval_days = 14
        elif audience.endswith("list"):
            request.push_id = "77"
    return request


def _change(chance: random.Random, message: Message) -> None:
    """Change one member of the message, or of a message inside of it, to anything."""
    chosen = chance.random()
    if chosen < 0.02:
        message.MergeFromString(_UNKNOWN)
    elif chosen < 0.05:
        for oneof in message.DESCRIPTOR.oneofs:
            message.ClearField(oneof.name)
    elif message.DESCRIPTOR.fields:
        field = chance.choice(message.DESCRIPTOR.fields)
        if chosen < 0.15:
            message.ClearField(field.name)
        else:
            _set(chance, message, field)


def _set(chance: random.Random, message: Message, field: Any) -> None:
    name = field.name
    if field.message_type is None and field.is_repeated:
        getattr(message, name)[:] = _texts(chance)
    elif field.message_type is None:
        setattr(message, name, _value(chance, field))
    elif field.message_type.GetOptions().map_entry:
        getattr(message, name)[chance.choice(["", "k", "aps", "é"])] = chance.choice(_TEXTS)
    elif field.is_repeated:
        del getattr(message, name)[:]
        for _ in range(chance.choice([0, 1, 2, 6])):
            fill(item := getattr(message, name).add())
            if chance.random() < 0.5:
                _change(chance, item)
    else:
        _change_part(chance, getattr(message, name))


def _change_part(chance: random.Random, part: Message) -> None:
    if isinstance(part, Duration | Timestamp):
        part.seconds = chance.choice(_SECONDS)
        part.nanos = chance.choice(_NANOS)
    elif is_ours(part.DESCRIPTOR):
        part.SetInParent()
        if chance.random() < 0.6:
            fill(part)
        if chance.random() < 0.9:
            _change(chance, part)


def _value(chance: random.Random, field: Any) -> Any:
    if field.type == field.TYPE_STRING:
        return _text(chance)
    if field.type == field.TYPE_BOOL:
        return chance.random() < 0.5
    return chance.choice(_ENUM_NUMBERS if field.type == field.TYPE_ENUM else _NUMBERS)


def _text(chance: random.Random) -> str:
    if chance.random() < 0.3:
        return chance.choice(_TEXTS)
    text = chance.choice(_CHARACTERS) * chance.choice(_LENGTHS)
    if chance.random() < 0.2:
        at = chance.choice([0, len(text) // 2, len(text)])
        text = text[:at] + chance.choice(_BLANKS) + text[at:]
    return text


def _texts(chance: random.Random) -> list[str]:
    count = chance.choice(_LONG_COUNTS if chance.random() < 0.05 else _COUNTS)
    texts = [f"i{index}" for index in range(count)]
    for _ in range(chance.choice([0, 0, 1, 2]) if texts else 0):
        texts[chance.randrange(count)] = _text(chance)
    if texts and chance.random() < 0.15:
        texts[chance.randrange(count)] = texts[0]
    return texts
