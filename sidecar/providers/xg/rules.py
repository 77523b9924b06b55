"""Checks a `PushRequest` against the contract, all rules at once. Pure; knows no configuration and no gRPC.

The rules stand in the proto as `buf.validate` annotations. What certainly breaks none of them is told by plain code
(`common/plain.py`); anything else is protovalidate's, and of lists of targets `lists.py`'s in its place. Here are only
the rules that need a parser: the texts of JSON objects, and the keys that they must not have.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import protovalidate
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from pushsidecar.xg.v1.content_pb2 import CustomContent, IosCustom
from pushsidecar.xg.v1.push_service_pb2 import PushRequest
from sidecar.errors import Violation
from sidecar.providers.common.plain import certainty
from sidecar.providers.xg.bounds import Bounded, bounded
from sidecar.providers.xg.expressions import EXPRESSIONS

# S1, iOS messages: `aps` and `custom` have their own fields, `xg` is reserved by the vendor.
RESERVED_EXTRA_KEYS = ("aps", "custom", "xg")

# Ours: the vendor names no limit. Without one of our own the interpreter's recursion limit would be the rule.
MAX_JSON_DEPTH = 100

_TIMES = ("expire_time", "send_time")

# Message -> its members that a parser checks, each with the keys that it must not have.
_OBJECTS: Mapping[str, Sequence[tuple[str, Sequence[str]]]] = {
    "android_notification": [("custom_content", ())],
    "android_message": [("custom_content", ())],
    "ios_notification": [("custom", ()), ("extra", RESERVED_EXTRA_KEYS)],
    "ios_silent": [("custom", ()), ("extra", RESERVED_EXTRA_KEYS)],
}

# Whether a request certainly breaks no rule of the proto. `test_certainty.py` compares it with protovalidate.
is_certain = certainty(PushRequest.DESCRIPTOR, EXPRESSIONS)
_validator = protovalidate.Validator()
# Numbers with a fraction stay text: a check must not refuse what a double cannot hold.
_decode = msgspec.json.Decoder(float_hook=str).decode


def violations(request: PushRequest) -> list[Violation]:
    """Return every broken rule, in the order of the proto; empty when the request is valid.

    Of what breaks more rules than an error can carry, only the first are told: `bounds.py` and `lists.py` say which.
    """
    found = [] if is_certain(request) else _bounded_violations(request)
    kind = request.WhichOneof("message")
    if kind is not None:
        message = getattr(request, kind)
        for name, refused_keys in _OBJECTS[kind]:
            content = getattr(message, name)
            which = content.WhichOneof("content")
            if which == "json" or (which is not None and refused_keys):
                found.extend(_object_violations(content, f"{kind}.{name}", refused_keys))
    return found


def _bounded_violations(request: PushRequest) -> list[Violation]:
    """Return the broken rules of the proto, as many as are worth a look."""
    checked = bounded(request)
    return proto_violations(request) if checked is None else _merged(proto_violations(checked.rest), checked)


def proto_violations(request: PushRequest) -> list[Violation]:
    """Return every broken rule of the proto as protovalidate finds it, in any number and at any cost."""
    # A Duration or Timestamp outside of what protobuf allows cannot be evaluated: it is told apart first.
    malformed = [name for name in _TIMES if request.HasField(name) and not _is_well_formed(getattr(request, name))]
    if not malformed:
        return [_violation(v) for v in _validator.collect_violations(request)]
    rest = PushRequest()
    rest.CopyFrom(request)
    for name in malformed:
        rest.ClearField(name)
    told = [Violation(name, f"{name}.well_formed", "is outside of the type's range") for name in malformed]
    return told + proto_violations(rest)


def _merged(found: list[Violation], checked: Bounded) -> list[Violation]:
    """Put the broken rules of the list of targets where protovalidate would have told them."""
    if checked.list_rules is None or not checked.broken:
        return found
    path = checked.list_rules.path
    place = next(i for i, violation in enumerate(found) if violation.field == path)
    return [*found[:place], *checked.broken, *found[place + 1 :]]


def _is_well_formed(value: Duration | Timestamp) -> bool:
    try:
        value.ToJsonString()
    except ValueError:
        return False
    return True


def _violation(violation: protovalidate.Violation) -> Violation:
    proto = violation.proto
    path = ""
    if proto.field is not None:
        for element in proto.field.elements:
            path += f".{element.field_name}" if path else element.field_name
            if element.subscript is not None:
                path += f"[{element.subscript.value}]"
    if proto.rule is None and "." in proto.rule_id:
        # A rule across fields: protovalidate gives it the message's path; the contract names the field in the id.
        leaf = proto.rule_id.partition(".")[0]
        path = f"{path}.{leaf}" if path else leaf
    return Violation(path, proto.rule_id, _in_words(path, proto.rule_id, proto.message))


def _in_words(path: str, rule: str, message: str) -> str:
    """Replace the texts of protovalidate that leave a reader guessing."""
    if rule == "required" and (choices := _ONEOF_CHOICES.get(path.rpartition(".")[2])):
        return f"one of {', '.join(choices)} is required"
    return {
        "must be at least 1 characters": "must not be empty",
        "must contain at least 1 item(s)": "must not be empty",
        "value must be one of the defined enum values": "must be one of the values that the contract names",
    }.get(message, message)


def _oneof_choices(message: Any) -> Iterator[tuple[str, list[str]]]:
    for oneof in message.oneofs:
        yield oneof.name, [field.name for field in oneof.fields]
    for field in message.fields:
        if field.message_type is not None and field.message_type.file.package == message.file.package:
            yield from _oneof_choices(field.message_type)


_ONEOF_CHOICES = dict(_oneof_choices(PushRequest.DESCRIPTOR))


def _object_violations(
    content: CustomContent | IosCustom, path: str, refused_keys: Sequence[str]
) -> Iterator[Violation]:
    which = content.WhichOneof("content")
    keys: Iterable[str]
    if which == "json":
        value = _decoded(content.json)
        if not isinstance(value, dict) or not _is_shallow(value):
            yield Violation(
                f"{path}.json",
                "json.object",
                f"must be the text of one JSON object, at most {MAX_JSON_DEPTH} levels deep",
            )
            return
        keys = value
    elif which == "fields":
        keys = content.fields.entries.keys()
    else:
        return
    for key in refused_keys:
        if key in keys:
            yield Violation(f"{path}.{which}", "extra.reserved_key", f"must not have the key {key!r}")


def _decoded(text: str) -> Any:
    """Return what a JSON text means, or None when it is no JSON."""
    try:
        return _decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def _is_shallow(value: Any) -> bool:
    """Whether a value is nested no deeper than allowed; a flat object is one level."""
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return True
    return not any(isinstance(item, dict | list) for item in level)
