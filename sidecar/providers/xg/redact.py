"""Takes the caller's own texts out of what the vendor says, so that an error message can go to a log."""

import json
import re
from collections.abc import Iterator

import msgspec
from google.protobuf.message import Message

from pushsidecar.xg.v1.push_service_pb2 import PushRequest

MAX_VENDOR_MESSAGE_CHARS = 200
PLACEHOLDER = "[...]"

# Not the caller's content: names of configuration and of the vendor.
_KEPT_FIELDS = frozenset({"pushsidecar.xg.v1.PushRequest.app", "pushsidecar.xg.v1.PushRequest.push_id"})

# The strings and numbers of a valid JSON text. No parser: equal keys all count, and depth does not matter.
_JSON_SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*')

_decode = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


def redact(message: str, request: PushRequest) -> str:
    """Replace every target, title, content and custom value of the request in `message`, and cut it at 200 characters.

    A value is looked for as it is and as JSON writes it; where several begin at one place, the longest is replaced.
    """
    if not message:
        return ""
    texts = _texts(request)
    lengths = sorted({len(text) for text in texts}, reverse=True)
    kept: list[str] = []
    size = at = 0
    # One pass, and no further than what is kept: an endless message, or a text such as ".", costs no more than others.
    while at < len(message) and size < MAX_VENDOR_MESSAGE_CHARS:
        found = next((length for length in lengths if message[at : at + length] in texts), 0)
        kept.append(PLACEHOLDER if found else message[at])
        size += len(kept[-1])
        at += found or 1
    return "".join(kept)[:MAX_VENDOR_MESSAGE_CHARS]


def _texts(request: PushRequest) -> set[str]:
    found: set[str] = set()
    for text in _strings(request):
        if text:
            found.add(text)
            if not text.isalnum():  # an ordinary token: JSON writes it as it is
                found.add(_encode(text)[1:-1].decode())
            if not text.isascii():
                found.add(json.dumps(text)[1:-1])
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
                    yield from _json_scalars(item)


def _json_scalars(text: str) -> Iterator[str]:
    for scalar in _JSON_SCALAR.findall(text):
        if scalar.startswith('"'):
            yield scalar[1:-1]
            yield _decode(scalar)
        else:
            yield scalar
