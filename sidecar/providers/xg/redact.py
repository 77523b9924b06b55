"""Takes the caller's own texts out of what the vendor says, so that an error message can go to a log."""

from collections.abc import Iterator
from typing import Any

import msgspec
from google.protobuf.message import Message

from pushsidecar.xg.v1.push_service_pb2 import PushRequest

MAX_VENDOR_MESSAGE_CHARS = 200
PLACEHOLDER = "[...]"

# Not the caller's content: names of configuration and of the vendor.
_KEPT_FIELDS = frozenset({"pushsidecar.xg.v1.PushRequest.app", "pushsidecar.xg.v1.PushRequest.push_id"})

_decode = msgspec.json.Decoder(float_hook=str).decode
_encode = msgspec.json.Encoder().encode


def redact(message: str, request: PushRequest) -> str:
    """Replace every target, title, content and custom value of the request in `message`, and cut it at 200 characters.

    A value is looked for as it is and as JSON writes it, longest first.
    """
    if message:
        for text in sorted(_texts(request), key=len, reverse=True):
            message = message.replace(text, PLACEHOLDER)
    return message[:MAX_VENDOR_MESSAGE_CHARS]


def _texts(request: PushRequest) -> set[str]:
    found: set[str] = set()
    for text in _strings(request):
        if text:
            found.update((text, _encode(text)[1:-1].decode()))
    return found


def _strings(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.full_name in _KEPT_FIELDS:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key, entry in value.items():
                yield from (key, entry)
            continue
        for item in value if field.is_repeated else (value,):
            if isinstance(item, Message):
                yield from _strings(item)
            elif isinstance(item, str):
                yield item
                if field.name == "json":
                    yield from _leaves(_decode(item))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)
