"""Builds valid requests in which one field stands out, and says what the body must have for it.

The expected values are written by hand: what is set is also what the body must have, unless `EXPECTED` lists the field.
"""

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from pushsidecar.xg.v1 import PushRequest

from .proto_rules import FieldDescriptor

# What to set where the default of the type would break a rule, or would not stand out.
PROBES: dict[str, Any] = {
    "tag.op": 2,
    "account.account_push_type": 2,
    "android_notification.icon_type": 2,
    "android_notification.action.browser.url": "https://example.org/probe",
    "environment": 2,
    "push_id": "77",
}

# What the body must have, where it is not the value that was set.
EXPECTED: dict[str, Any] = {
    "token_list.tokens": ["probe"],
    "account_list.accounts": ["probe"],
    "tag.op": "OR",
    "account.account_push_type": 1,
    "android_notification.icon_type": 1,
    "android_notification.ring": 1,
    "android_notification.vibrate": 1,
    "android_notification.lights": 1,
    "android_notification.clearable": 1,
    "android_notification.action.browser.confirm": 1,
    "android_notification.accept_time[].start.hours": "07",
    "android_notification.accept_time[].start.minutes": "07",
    "android_notification.accept_time[].end.hours": "07",
    "android_notification.accept_time[].end.minutes": "07",
    "android_message.accept_time[].start.hours": "07",
    "android_message.accept_time[].start.minutes": "07",
    "android_message.accept_time[].end.hours": "07",
    "android_message.accept_time[].end.minutes": "07",
    "android_notification.custom_content.json": {"probe": "value"},
    "android_message.custom_content.json": {"probe": "value"},
    "ios_notification.mutable_content": 1,
    "ios_notification.content_available": 1,
    "ios_notification.custom.json": {"probe": "value"},
    "ios_notification.extra.fields.entries": "value",
    "ios_notification.extra.json": "value",
    "ios_silent.custom.json": {"probe": "value"},
    "ios_silent.extra.fields.entries": "value",
    "ios_silent.extra.json": "value",
    "expire_time": 7,
    "send_time": "1970-01-01 08:00:07",
    "environment": "dev",
}

# What a choice alone decides.
CHOICES: dict[str, tuple[str, Any]] = {
    "all": ("audience_type", "all"),
    "tag": ("audience_type", "tag"),
    "token": ("audience_type", "token"),
    "token_list": ("audience_type", "token_list"),
    "account": ("audience_type", "account"),
    "account_list": ("audience_type", "account_list"),
    "android_notification": ("message_type", "notify"),
    "android_message": ("message_type", "message"),
    "ios_notification": ("message_type", "notify"),
    "ios_silent": ("message_type", "message"),
    "android_notification.action.activity": ("message.android.action.action_type", 1),
    "android_notification.action.browser": ("message.android.action.action_type", 2),
    "android_notification.action.intent": ("message.android.action.action_type", 3),
}

# What a message needs so that it is valid.
NEEDED: dict[str, dict[str, Any]] = {
    "TagAudience": {"tags": ["base"], "op": 1},
    "TokenList": {"tokens": ["base"]},
    "Account": {"account": "base"},
    "AccountList": {"accounts": ["base"]},
    "AndroidNotification": {"title": "base", "content": "base"},
    "AndroidMessage": {"title": "base", "content": "base"},
    "IosNotification": {"title": "base"},
    "BrowserAction": {"url": "http://base"},
    "AcceptTime": {"start": {}, "end": {}},
    "Loop": {"times": 1, "interval_days": 1},
}


def base(path: str) -> PushRequest:
    """Return a valid request that has what the field at the path needs, and not the field."""
    first = path.partition(".")[0].removesuffix("[]")
    oneofs = PushRequest.DESCRIPTOR.oneofs_by_name
    audience = first if first in {f.name for f in oneofs["audience"].fields} else "all"
    if first == "push_id":
        audience = "token_list"
    message = first if first in {f.name for f in oneofs["message"].fields} else "android_message"
    if first == "environment":
        message = "ios_silent"
    request = PushRequest()
    _choose(request, audience)
    _choose(request, message)
    return request


def probe(path: str) -> tuple[PushRequest, Any]:
    """Return `base` with the field set, and what the body must have for it (nothing known of a container)."""
    request = base(path)
    value = _set(request, path, path)
    return request, EXPECTED.get(path, value)


def _choose(request: PushRequest, name: str) -> None:
    if name == "token":
        request.token = "base"
    else:
        fill(getattr(request, name))


def fill(message: Message) -> None:
    """Set a message, and in it what one of this type must have."""
    message.SetInParent()
    for name, value in NEEDED.get(message.DESCRIPTOR.name, {}).items():
        if value == {}:
            getattr(message, name).SetInParent()
        elif isinstance(value, list):
            getattr(message, name)[:] = value
        else:
            setattr(message, name, value)


def _set(message: Message, path: str, whole: str) -> Any:
    """Set the field at the path, make what lies above it valid, and return the value that was set."""
    name, _, rest = path.partition(".")
    if rest:
        held = getattr(message, name.removesuffix("[]"))
        below = held.add() if name.endswith("[]") else held
        fill(below)
        return _set(below, rest, whole)
    field = message.DESCRIPTOR.fields_by_name[name]
    value = PROBES.get(whole, _value(field))
    target = getattr(message, name)
    if isinstance(value, dict):
        target.update(value)
    elif isinstance(value, list):
        target[:] = value
    elif isinstance(target, Duration | Timestamp):
        target.seconds = value
    elif isinstance(target, Message):
        fill(target)
    else:
        setattr(message, name, value)
    return value


def _value(field: FieldDescriptor) -> Any:
    """Return a value that no request has by chance."""
    if field.message_type is not None:
        return {"probe": "value"} if field.message_type.GetOptions().map_entry else 7
    if field.is_repeated:
        return ["probe"]
    if field.cpp_type == field.CPPTYPE_STRING:
        return '{"probe":"value"}' if field.name == "json" else "probe"
    return True if field.cpp_type == field.CPPTYPE_BOOL else 7
