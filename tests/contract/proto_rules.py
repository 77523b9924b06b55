"""Reads the fields of `PushRequest` and their `buf.validate` rules from the descriptors of the generated code.

A path names list elements by `[]`: `token_list.tokens[]`. Our stubs do not import `buf/validate/validate.proto`, so the rules
are unknown fields of the options; protovalidate's own generated module reads them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from protovalidate._gen.buf.validate.validate_pb import FieldRules, MessageRules, OneofRules

from pushsidecar.xg.v1 import PushRequest

# The number of the options `buf.validate.message`, `.oneof` and `.field` (buf/validate/validate.proto).
OPTION_NUMBER = 1159

# Bounds of one value are one rule: `int32.gte_lte`.
BOUNDS = ("gt", "gte", "lt", "lte")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the request, at every place where it can stand."""

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


def fields(message: Descriptor = PushRequest.DESCRIPTOR, prefix: str = "") -> Iterator[Field]:
    """Yield every field below a message, containers before what they hold."""
    for descriptor in message.fields:
        field = Field(prefix + descriptor.name, descriptor)
        yield field
        if field.is_container:
            below = "[]." if descriptor.is_repeated else "."
            yield from fields(descriptor.message_type, field.path + below)


def rules(message: Descriptor = PushRequest.DESCRIPTOR, prefix: str = "") -> Iterator[Rule]:
    """Yield every rule below a message, with the path at which it is reported."""
    for raw in _options(message.GetOptions()):
        for cel in MessageRules.from_binary(raw).cel:
            yield Rule(prefix + cel.id.partition(".")[0], cel.id, {})
    for oneof in message.oneofs:
        if any(OneofRules.from_binary(raw).required for raw in _options(oneof.GetOptions())):
            yield Rule(prefix + oneof.name, "required", {})
    for descriptor in message.fields:
        path = prefix + descriptor.name
        for raw in _options(descriptor.GetOptions()):
            yield from _field_rules(path, FieldRules.from_binary(raw))
        if descriptor.message_type is not None and is_ours(descriptor.message_type):
            yield from rules(descriptor.message_type, path + ("[]." if descriptor.is_repeated else "."))


def _options(options: Message) -> list[bytes]:
    return [field.data for field in UnknownFieldSet(options) if field.field_number == OPTION_NUMBER]


def _field_rules(path: str, found: Any) -> Iterator[Rule]:
    if found.required:
        yield Rule(path, "required", {})
    for cel in found.cel:
        yield Rule(path, cel.id, {})
    if found.type is None:
        return
    kind, typed = found.type.field, found.type.value
    bounds = {}
    for name in _set_names(typed):
        value = getattr(typed, name)
        if name == "items":
            yield from _field_rules(path + "[]", value)
        elif name in BOUNDS:
            bounds[name] = value
        else:
            yield Rule(path, f"{kind}.{name}", {name: int(value)})
    if bounds:
        limits = {name: int(getattr(value, "seconds", value)) for name, value in bounds.items()}
        yield Rule(path, f"{kind}.{'_'.join(sorted(bounds))}", limits)
