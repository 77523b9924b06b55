"""What the annotations of a message make certain, and what stays protovalidate's to judge.

The messages are made here, each of one field and its annotation, as a later version of a contract may have them.
"""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import duration_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from protovalidate._gen.buf.validate.validate_pb import FieldRules, MessageRules, OneofRules

from sidecar.providers.common.plain import MAX_ITEMS_LOOKED_AT, certainty

F = FieldDescriptorProto
OPTION = b"\xba\x48"  # the tag of number 1159, as bytes with a length
EVEN = "this % 2 == 0"


def annotate(options: Message, rules: Any) -> None:
    raw = rules.to_binary()
    options.MergeFromString(OPTION + bytes([len(raw)]) + raw)


def message_class(
    field_type: int,
    field_rules: str = "{}",
    *,
    message_rules: str = "{}",
    oneof_rules: str | None = None,
    others_in_oneof: int = 0,
    is_repeated: bool = False,
    is_optional: bool = False,
    type_name: str = "",
) -> type[Message]:
    """Return the class of a message of one field, `value`, and of others only where a oneof has them."""
    field = F(name="value", number=1, type=field_type)  # type: ignore[arg-type]
    if type_name:
        field.type_name = type_name
    field.label = F.LABEL_REPEATED if is_repeated else F.LABEL_OPTIONAL
    message = DescriptorProto(name="New", field=[field])
    if oneof_rules is not None or is_optional:
        message.oneof_decl.add(name="_value" if is_optional else "choice")
        message.field[0].oneof_index = 0
        message.field[0].proto3_optional = is_optional
    for index in range(others_in_oneof):
        message.field.add(name=f"other_{index}", number=2 + index, type=F.TYPE_INT32, oneof_index=0)
    if oneof_rules is not None:
        annotate(message.oneof_decl[0].options, OneofRules.from_json(oneof_rules))
    annotate(message.options, MessageRules.from_json(message_rules))
    annotate(message.field[0].options, FieldRules.from_json(field_rules))
    pool = DescriptorPool()
    file = FileDescriptorProto(name="new.proto", package="new", syntax="proto3", message_type=[message])
    for known in (duration_pb2, timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
        file.dependency.append(known.DESCRIPTOR.name)
    file.enum_type.add(name="Kind").value.add(name="NONE", number=0)
    file.enum_type[0].value.add(name="ONE", number=1)
    pool.Add(file)  # type: ignore[no-untyped-call]
    return GetMessageClass(pool.FindMessageTypeByName("new.New"))  # type: ignore[no-any-return, no-untyped-call]


def check_of(kind: type[Message]) -> Callable[[Any], bool]:
    return certainty(kind.DESCRIPTOR, {EVEN: lambda value: value % 2 == 0})


UNKNOWN_ANNOTATIONS = {
    "another rule of texts": (F.TYPE_STRING, '{"string": {"email": true}}', "a@b.example"),
    "another rule beside one that is understood": (F.TYPE_STRING, '{"string": {"minLen": "1", "prefix": "a"}}', "a"),
    "a pattern that is no range": (F.TYPE_STRING, '{"string": {"pattern": "^a+$"}}', "a"),
    "a range without its end": (F.TYPE_STRING, '{"string": {"pattern": "^[!-~]+"}}', "a"),
    "another rule of numbers": (F.TYPE_INT32, '{"int32": {"gt": 1}}', 2),
    "bounds that mean outside of": (F.TYPE_INT32, '{"int32": {"gte": 5, "lte": 1}}', 7),
    "a rule of numbers of 64 bits": (F.TYPE_INT64, '{"int64": {"gte": "1"}}', 2),
    "a rule of fractions": (F.TYPE_DOUBLE, '{"double": {"finite": true}}', 1.5),
    "a rule of flags": (F.TYPE_BOOL, '{"bool": {"const": true}}', True),
    "a rule of bytes": (F.TYPE_BYTES, '{"bytes": {"minLen": "1"}}', b"a"),
    "another rule of enums": (F.TYPE_ENUM, '{"enum": {"notIn": [0]}}', 1),
    "another expression": (F.TYPE_INT32, '{"cel": [{"id": "x", "expression": "this % 2 == 0 "}]}', 2),
    "an expression without an id": (F.TYPE_INT32, '{"celExpression": ["this % 2 == 0"]}', 2),
    "rules that are always ignored": (F.TYPE_INT32, '{"int32": {"gte": 1}, "ignore": "IGNORE_ALWAYS"}', 1),
    "a rule of another type": (F.TYPE_STRING, '{"int32": {"gte": 1}}', "1"),
}  # fmt: skip


@pytest.mark.parametrize(("field_type", "rules", "value"), UNKNOWN_ANNOTATIONS.values(), ids=UNKNOWN_ANNOTATIONS)
def test_a_new_field_with_an_annotation_that_is_not_understood_is_never_certain(
    field_type: int, rules: str, value: Any
) -> None:
    type_name = ".new.Kind" if field_type == F.TYPE_ENUM else ""
    always_there = message_class(field_type, rules, type_name=type_name)
    assert not check_of(always_there)(always_there(value=value))
    assert not check_of(always_there)(always_there())
    optional = message_class(field_type, rules, type_name=type_name, is_optional=True)
    assert not check_of(optional)(optional(value=value))
    assert check_of(optional)(optional())
    if rules != UNKNOWN_ANNOTATIONS["rules that are always ignored"][1]:
        in_a_list = message_class(
            field_type, f'{{"repeated": {{"items": {rules}}}}}', type_name=type_name, is_repeated=True
        )
        assert not check_of(in_a_list)(in_a_list(value=[value]))


@pytest.mark.parametrize(
    "rules",
    [
        '{"cel": [{"id": "x", "expression": "this.value == 1"}]}',
        '{"celExpression": ["this.value == 1"]}',
        '{"oneof": [{"fields": ["value"], "required": true}]}',
    ],
)
def test_a_message_with_an_annotation_that_is_not_understood_is_never_certain(rules: str) -> None:
    kind = message_class(F.TYPE_INT32, message_rules=rules)
    assert not check_of(kind)(kind(value=1))
    assert not check_of(kind)(kind())


def test_a_oneof_whose_field_must_be_chosen_is_never_certain() -> None:
    """But one of that field alone, such as an optional field, is a field that must be set."""
    kind = message_class(F.TYPE_INT32, '{"required": true}', oneof_rules="{}", others_in_oneof=1)
    assert not check_of(kind)(kind(value=1))
    kind = message_class(F.TYPE_INT32, '{"required": true}', is_optional=True)
    assert check_of(kind)(kind(value=0))
    assert not check_of(kind)(kind())


def test_a_oneof_that_is_required_must_be_set() -> None:
    kind = message_class(F.TYPE_INT32, oneof_rules='{"required": true}', others_in_oneof=1)
    assert check_of(kind)(kind(value=0))
    assert check_of(kind)(kind(other_0=0))
    assert not check_of(kind)(kind())


def test_a_new_type_of_another_package_is_never_certain() -> None:
    kind = message_class(F.TYPE_MESSAGE, type_name=".google.protobuf.StringValue")
    assert not check_of(kind)(kind(value={"value": "x"}))
    assert check_of(kind)(kind())


def test_a_message_inside_of_one_of_its_own_type_is_never_certain() -> None:
    kind = message_class(F.TYPE_MESSAGE, type_name=".new.New")
    assert not check_of(kind)(kind(value=kind()))
    assert check_of(kind)(kind())


@pytest.mark.parametrize(
    ("field_type", "rules", "right", "wrong"),
    [
        (F.TYPE_STRING, '{"string": {"maxLen": "3"}}', ["", "abc", "标准的"], ["abcd"]),
        (F.TYPE_STRING, '{"string": {"minLen": "2"}}', ["ab"], ["", "a", "😀"]),
        (F.TYPE_STRING, '{"string": {"pattern": "^[a-c]+$"}}', ["a", "cab"], ["", "d", "a\n", "é"]),
        (F.TYPE_STRING, '{"string": {"minLen": "2"}, "ignore": "IGNORE_IF_ZERO_VALUE"}', ["", "ab"], ["a"]),
        (F.TYPE_STRING, '{"required": true}', ["a"], [""]),
        (F.TYPE_INT32, '{"int32": {"gte": -1}}', [-1, 0, 7], [-2]),
        (F.TYPE_INT32, '{"int32": {"gte": 1, "lte": 3}}', [1, 3], [0, 4]),
        (F.TYPE_ENUM, '{"enum": {"definedOnly": true}}', [0, 1], [2, -1]),
        (F.TYPE_INT32, '{"cel": [{"id": "x", "expression": "this % 2 == 0"}]}', [0, 2], [1]),
        (F.TYPE_INT64, "{}", [0, -(2**63)], []),
    ],
)
def test_a_new_field_with_annotations_that_are_understood_is_checked(
    field_type: int, rules: str, right: list[Any], wrong: list[Any]
) -> None:
    kind = message_class(field_type, rules, type_name=".new.Kind" if field_type == F.TYPE_ENUM else "")
    check = check_of(kind)
    assert [check(kind(value=value)) for value in right] == [True] * len(right)
    assert [check(kind(value=value)) for value in wrong] == [False] * len(wrong)


def test_a_list_that_is_longer_than_is_looked_at_is_not_certain() -> None:
    kind = message_class(F.TYPE_STRING, '{"repeated": {"items": {"string": {"minLen": "1"}}}}', is_repeated=True)
    check = check_of(kind)
    assert check(kind())
    assert check(kind(value=["x"] * MAX_ITEMS_LOOKED_AT))
    assert not check(kind(value=["x"] * (MAX_ITEMS_LOOKED_AT + 1)))


def test_only_durations_of_whole_seconds_and_times_that_protobuf_allows_are_certain() -> None:
    kind = message_class(F.TYPE_MESSAGE, type_name=".google.protobuf.Duration")
    durations = [(315_576_000_000, 0), (-1, 0), (315_576_000_001, 0), (1, 1), (1, -1)]
    assert [check_of(kind)(kind(value={"seconds": s, "nanos": n})) for s, n in durations] == [True, True, *[False] * 3]
    kind = message_class(F.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp")
    times = [(-62_135_596_800, 0), (253_402_300_799, 999_999_999), (-62_135_596_801, 0), (253_402_300_800, 0), (1, -1)]
    assert [check_of(kind)(kind(value={"seconds": s, "nanos": n})) for s, n in times] == [True, True, *[False] * 3]
