"""Reads the fields of `PushRequest` and their `buf.validate` rules from the descriptors of the generated code.

A path names list elements by `[]`: `token_list.tokens[]`. Our stubs do not import `buf/validate/validate.proto`, so the
rules are unknown fields of the options; protovalidate's own generated module reads them.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from protovalidate._gen.buf.validate.validate_pb import FieldRules, MessageRules, OneofRules

from pushsidecar.xg.v1 import PushRequest

# protobuf has several implementations of a descriptor, without a common type.
Descriptor = Any
FieldDescriptor = Any

# The number of the options `buf.validate.message`, `.oneof` and `.field` (buf/validate/validate.proto).
OPTION_NUMBER = 1159

# Bounds of one value are one rule: `int32.gte_lte`.
BOUNDS = ("gt", "gte", "lt", "lte")

# Members of `FieldRules` that are not the rules of a type.
NOT_TYPED = ("required", "cel", "ignore")

# Rules that the proto cannot say, since they need a parser: found by the server only.
SIDECAR_RULES = frozenset(
    {
        ("android_notification.custom_content.json", "json.object"),
        ("android_message.custom_content.json", "json.object"),
        ("ios_notification.custom.json", "json.object"),
        ("ios_notification.extra.json", "json.object"),
        ("ios_notification.extra.json", "extra.reserved_key"),
        ("ios_notification.extra.fields", "extra.reserved_key"),
        ("ios_silent.custom.json", "json.object"),
        ("ios_silent.extra.json", "json.object"),
        ("ios_silent.extra.json", "extra.reserved_key"),
        ("ios_silent.extra.fields", "extra.reserved_key"),
    }
)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the request, at one of the places where it can stand."""

    path: str
    descriptor: FieldDescriptor

    @property
    def is_container(self) -> bool:
        """Whether it only holds other fields of ours."""
        message = self.descriptor.message_type
        return message is not None and is_ours(message)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, and its limits by name (`{"gte": 0, "lte": 23}`) where it has any."""

    path: str
    rule_id: str
    limits: dict[str, int]


def is_ours(message: Descriptor) -> bool:
    """Whether the message belongs to our contract, and is no map entry."""
    return str(message.file.package).startswith("pushsidecar.") and not message.GetOptions().map_entry


def fields(message: Descriptor | None = None, prefix: str = "") -> Iterator[Field]:
    """Yield every field below a message (`PushRequest`), containers before what they hold."""
    for descriptor in (message or PushRequest.DESCRIPTOR).fields:
        field = Field(prefix + descriptor.name, descriptor)
        yield field
        if field.is_container:
            yield from fields(descriptor.message_type, field.path + _below(descriptor))


def rules(message: Descriptor | None = None, prefix: str = "") -> Iterator[Rule]:
    """Yield every rule below a message (`PushRequest`), with the path at which it is reported."""
    message = message or PushRequest.DESCRIPTOR
    for raw in _options(message.GetOptions()):
        for cel in json.loads(MessageRules.from_binary(raw).to_json()).get("cel", []):
            yield Rule(prefix + cel["id"].partition(".")[0], cel["id"], {})
    for oneof in message.oneofs:
        for raw in _options(oneof.GetOptions()):
            if json.loads(OneofRules.from_binary(raw).to_json()).get("required"):
                yield Rule(prefix + oneof.name, "required", {})
    for descriptor in message.fields:
        path = prefix + descriptor.name
        for raw in _options(descriptor.GetOptions()):
            yield from _field_rules(path, json.loads(FieldRules.from_binary(raw).to_json()))
        if descriptor.message_type is not None and is_ours(descriptor.message_type):
            yield from rules(descriptor.message_type, path + _below(descriptor))


def _below(descriptor: FieldDescriptor) -> str:
    return "[]." if descriptor.is_repeated else "."


def _options(options: Message) -> list[bytes]:
    unknown = UnknownFieldSet(options)
    return [unknown[i].data for i in range(len(unknown)) if unknown[i].field_number == OPTION_NUMBER]


def _field_rules(path: str, raw: dict[str, Any]) -> Iterator[Rule]:
    if raw.get("required"):
        yield Rule(path, "required", {})
    for cel in raw.get("cel", []):
        yield Rule(path, cel["id"], {})
    for kind, typed in raw.items():
        if kind in NOT_TYPED:
            continue
        if "items" in typed:
            yield from _field_rules(path + "[]", typed.pop("items"))
        bounds = {name: _limit(typed.pop(name)) for name in BOUNDS if name in typed}
        if bounds:
            yield Rule(path, f"{kind}.{'_'.join(bounds)}", bounds)
        for name, value in typed.items():
            snake = re.sub("[A-Z]", lambda capital: "_" + capital[0].lower(), name)
            is_limit = value is not True and name != "pattern"
            yield Rule(path, f"{kind}.{snake}", {snake: _limit(value)} if is_limit else {})


def _limit(value: int | str) -> int:
    """Return a limit as a number: a duration and a point in time in seconds."""
    if isinstance(value, str) and value.endswith("Z"):
        return round(datetime.fromisoformat(value).timestamp())
    return int(str(value).removesuffix("s"))
