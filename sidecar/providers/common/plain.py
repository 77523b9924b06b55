"""Tells by plain code, at a fraction of protovalidate's cost, that a message is certainly valid. Pure; knows no vendor.

The checks are built from the `buf.validate` annotations of the descriptors, so that the proto stays the only place that
has rules. What is not understood here makes whatever it is about *not certain*: a member of an annotation that is not
named below, a type of another package, a CEL expression whose very text is not among those that the provider has in
Python. What is not certain is protovalidate's to judge, and it alone puts in words what is broken.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from sidecar.providers.common.annotations import Annotation, NotUnderstoodError
from sidecar.providers.common.value_checks import (
    Check,
    both,
    of_duration,
    of_enum,
    of_int,
    of_items,
    of_text,
    of_texts,
    of_timestamp,
)

# protobuf has several implementations of a descriptor, without a common type.
Descriptor = Any

# Of a longer list nothing is certain: its items are not looked at, and so the work for one has a bound.
MAX_ITEMS_LOOKED_AT = 1000

# Numbers of members in buf/validate/validate.proto.
MESSAGE_CEL = 3
ONEOF_REQUIRED = 1
FIELD_CEL, FIELD_REQUIRED, FIELD_IGNORE = 23, 25, 27
FIELD_INT32, FIELD_STRING, FIELD_ENUM, FIELD_REPEATED, FIELD_DURATION, FIELD_TIMESTAMP = 3, 14, 16, 18, 21, 22
REPEATED_MIN_ITEMS, REPEATED_MAX_ITEMS, REPEATED_UNIQUE, REPEATED_ITEMS = 1, 2, 3, 4
CEL_EXPRESSION = 3
IGNORE_IF_ZERO_VALUE = 1

# A field's name, the check of its value, and whether it may be absent: not set, or zero where that is the same.
_Field = tuple[str, Check, bool]
# A oneof's name, the checks of its fields, and whether it may be absent.
_Oneof = tuple[str, Mapping[str, Check], bool]


def certainty(message: Descriptor, expressions: Mapping[str, Check]) -> Check:
    """Build the check that is true only for messages of this type that break no rule.

    `expressions` are the CEL expressions that may stand in the proto, each as it is written there, and their meaning.
    """
    return _Builder(expressions).of_message(message) or _always


def _always(_: Any) -> bool:
    return True


def _never(_: Any) -> bool:
    return False


class _Builder:
    """Builds the checks of messages and of their fields; None in place of a check that is always true."""

    def __init__(self, expressions: Mapping[str, Check]) -> None:
        self._expressions = expressions
        self._built: dict[str, Check | None] = {}

    def of_message(self, message: Descriptor) -> Check | None:
        name = message.full_name
        if name not in self._built:
            self._built[name] = _never  # for a message of this type inside of this one
            with suppress(NotUnderstoodError):
                self._built[name] = self._build(message)
        return self._built[name]

    def _build(self, message: Descriptor) -> Check | None:
        annotation = Annotation.of(message)
        across = self._cel(annotation, MESSAGE_CEL)
        annotation.end()
        oneofs = [found for oneof in message.oneofs if (found := self._of_oneof(oneof)) is not None]
        zeros: list[_Field] = []
        parts: list[_Field] = []
        for field in message.fields:
            if field.containing_oneof is None:
                check, may_be_absent = self._of_field(field)
                if check is not None or not may_be_absent:
                    (parts if field.has_presence else zeros).append((field.name, check or _always, may_be_absent))
        return _of_members(zeros, parts, oneofs, across) if zeros or parts or oneofs or across else None

    def _of_oneof(self, oneof: Descriptor) -> _Oneof | None:
        annotation = Annotation.of(oneof)
        is_required = bool(annotation.take_int(ONEOF_REQUIRED))
        annotation.end()
        checks = {}
        for field in oneof.fields:
            check, may_be_absent = self._of_field(field)
            if not may_be_absent and len(oneof.fields) > 1:
                raise NotUnderstoodError
            is_required = is_required or not may_be_absent
            if check is not None:
                checks[field.name] = check
        return (oneof.name, checks, not is_required) if checks or is_required else None

    def _of_field(self, field: Descriptor) -> tuple[Check | None, bool]:
        """Return the check of a field's value, and whether it may be absent."""
        annotation = Annotation.of(field)
        is_required = bool(annotation.take_int(FIELD_REQUIRED))
        ignore = annotation.take_int(FIELD_IGNORE) or 0
        try:
            check = self._of_list(field, annotation) if field.is_repeated else self._of_value(field, annotation)
            for expression in self._cel(annotation, FIELD_CEL):
                check = both(check, expression) if check else expression
            annotation.end()
        except NotUnderstoodError:
            check = _never
        if ignore not in {0, IGNORE_IF_ZERO_VALUE}:
            check = _never
        if is_required:
            return check, False
        if check is None or field.has_presence or ignore == IGNORE_IF_ZERO_VALUE:
            return check, True
        return check, check(field.default_value)

    def _cel(self, annotation: Annotation, number: int) -> list[Check]:
        found = []
        for rule in annotation.take_all(number):
            meaning = self._expressions.get(Annotation(rule).take_text(CEL_EXPRESSION))
            if meaning is None:
                raise NotUnderstoodError
            found.append(meaning)
        return found

    def _of_list(self, field: Descriptor, annotation: Annotation) -> Check | None:
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            if self._of_value(entry.fields_by_name["value"], Annotation()) is not None:
                raise NotUnderstoodError
            return None
        of_list = annotation.take_message(FIELD_REPEATED)
        least, most = of_list.take_int(REPEATED_MIN_ITEMS) or 0, of_list.take_int(REPEATED_MAX_ITEMS)
        is_unique = bool(of_list.take_int(REPEATED_UNIQUE))
        of_item = of_list.take_message(REPEATED_ITEMS)
        of_list.end()
        counts = range(least, min(MAX_ITEMS_LOOKED_AT, MAX_ITEMS_LOOKED_AT if most is None else most) + 1)
        has_rules = bool(least or is_unique) or most is not None
        if field.type == field.TYPE_STRING:
            text = of_item.take_message(FIELD_STRING)
            of_item.end()
            return of_texts(counts, text, is_unique=is_unique) if has_rules or text.has_members else None
        check = self._of_value(field, of_item)
        of_item.end()
        if is_unique:
            raise NotUnderstoodError
        return of_items(counts, check or _always) if has_rules or check else None

    def _of_value(self, field: Descriptor, annotation: Annotation) -> Check | None:
        """Return the check of one value. Rules of another type than the value's are left, and so not understood."""
        if field.type == field.TYPE_MESSAGE:
            return self._of_part(field.message_type, annotation)
        if field.type == field.TYPE_STRING:
            return of_text(annotation.take_message(FIELD_STRING))
        if field.type == field.TYPE_INT32:
            return of_int(annotation.take_message(FIELD_INT32))
        if field.type == field.TYPE_ENUM:
            return of_enum(annotation.take_message(FIELD_ENUM), frozenset(field.enum_type.values_by_number))
        return None

    def _of_part(self, message: Descriptor, annotation: Annotation) -> Check | None:
        if message.full_name == "google.protobuf.Duration":
            return of_duration(annotation.take_message(FIELD_DURATION))
        if message.full_name == "google.protobuf.Timestamp":
            return of_timestamp(annotation.take_message(FIELD_TIMESTAMP))
        if message.full_name.startswith("google."):
            raise NotUnderstoodError
        return self.of_message(message)


def _of_members(
    zeros: Sequence[_Field], parts: Sequence[_Field], oneofs: Sequence[_Oneof], across: Sequence[Check]
) -> Check:
    """Build the check of a message from those of its members; `zeros` are the fields that are never unset, but zero."""

    # Written out, since every function that is called here is called for every push.
    def is_certain(message: Any) -> bool:
        for name, check, may_be_absent in zeros:
            value = getattr(message, name)
            if not (check(value) if value else may_be_absent):
                return False
        for name, check, may_be_absent in parts:
            if not (check(getattr(message, name)) if message.HasField(name) else may_be_absent):
                return False
        for oneof, checks, may_be_absent in oneofs:
            name = message.WhichOneof(oneof)
            if not (checks[name](getattr(message, name)) if name in checks else may_be_absent or name):
                return False
        for check in across:  # noqa: SIM110  # a generator costs as much as its checks
            if not check(message):
                return False
        return True

    return is_certain
