"""Turns a valid `PushRequest` into the vendor's JSON body. Pure: no I/O, no configuration, no checks but the size.

Unset, zero and empty are left out, unless `docs/xg-mapping.md` says otherwise. Member order follows the proto.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

import msgspec

from pushsidecar.xg.v1.android_pb2 import Action, AndroidMessage, AndroidNotification
from pushsidecar.xg.v1.audience_pb2 import Account, TagAudience
from pushsidecar.xg.v1.content_pb2 import AcceptTime, CustomContent, IosCustom, TimeOfDay
from pushsidecar.xg.v1.ios_pb2 import IosAlert, IosNotification, IosSilent
from pushsidecar.xg.v1.push_service_pb2 import PushRequest
from sidecar.errors import MessageTooLarge

# S0, "API限制": the message body, that is the field `message`, is limited to 4K. Counted in UTF-8 bytes (ours).
MAX_MESSAGE_BYTES = 4096

# The vendor does not state the zone of `send_time`; its servers are in UTC+8 (ours).
SEND_TIME_ZONE = timezone(timedelta(hours=8))

# From our enum numbers (0 is "unspecified") to the vendor's values.
TAG_OPS = {1: "AND", 2: "OR"}
ENVIRONMENTS = {1: "product", 2: "dev"}
ACCOUNT_PUSH_TYPES = {1: 0, 2: 1}
ICON_TYPES = {1: 0, 2: 1}

# What stands in `message` itself; anything else of a notification in its `android`.
_BESIDE_ANDROID = ("title", "content", "accept_time", "xg_media_resources")

Json = dict[str, Any]
# Returns what a value renders to; None for nothing.
Render = Callable[[Any], Any]

_encode = msgspec.json.Encoder().encode


class Form(NamedTuple):
    """What the choice of a message decides."""

    platform: str
    message_type: str


FORMS = {
    "android_notification": Form("android", "notify"),
    "android_message": Form("android", "message"),
    "ios_notification": Form("ios", "notify"),
    "ios_silent": Form("ios", "message"),
}


class Rendered(msgspec.Struct, frozen=True, gc=False):
    """A body ready to send. `message_bytes` is the size of its `message`."""

    body: bytes
    message_bytes: int

    def __repr__(self) -> str:
        return f"Rendered(message_bytes={self.message_bytes})"  # nothing of the push


def render(request: PushRequest, *, default_environment: str = "product") -> Rendered:
    """Render a request that `rules.violations` found valid.

    `default_environment` (`product` or `dev`) is used for iOS where the request names none.

    Raises `MessageTooLarge` when the rendered `message` is over the vendor's limit.
    """
    form = FORMS[request.WhichOneof("message") or ""]
    message = _encode(_message(request))
    if len(message) > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(len(message), MAX_MESSAGE_BYTES)
    body = _audience(request)
    body["platform"] = form.platform
    body["message_type"] = form.message_type
    body["message"] = msgspec.Raw(message)
    _add_options(body, request, form, default_environment)
    return Rendered(_encode(body), len(message))


def _audience(request: PushRequest) -> Json:
    kind = request.WhichOneof("audience")
    if kind == "tag":
        return {"audience_type": "tag", "tag_list": _tags(request.tag)}
    if kind == "token":
        return {"audience_type": "token", "token_list": [request.token]}
    if kind == "account":
        return _account(request.account)
    if kind == "token_list":
        return _list("token_list", request.token_list.tokens[:], request.push_id)
    if kind == "account_list":
        return _list("account_list", request.account_list.accounts[:], request.push_id)
    return {"audience_type": "all"}


def _tags(audience: TagAudience) -> Json:
    return {"tags": list(audience.tags), "op": TAG_OPS[audience.op]}


def _account(audience: Account) -> Json:
    body: Json = {"audience_type": "account", "account_list": [audience.account]}
    if audience.account_type:
        body["account_type"] = audience.account_type
    if audience.account_push_type:
        body["account_push_type"] = ACCOUNT_PUSH_TYPES[audience.account_push_type]
    return body


def _list(kind: str, targets: list[str], push_id: str) -> Json:
    # S1: "0" creates a task, any other value continues one.
    return {"audience_type": kind, kind: targets, "push_id": push_id or "0"}


def _message(request: PushRequest) -> Json:
    kind = request.WhichOneof("message")
    if kind == "android_notification":
        android = _members(request.android_notification)
        message = {name: android.pop(name) for name in _BESIDE_ANDROID if name in android}
        if android:
            message["android"] = android
        return message
    if kind == "android_message":
        message = _members(request.android_message)
        if (custom := message.pop("custom_content", None)) is not None:
            message["android"] = {"custom_content": custom}
        return message
    if kind == "ios_notification":
        message = {}
        _add_nonzero(message, request.ios_notification, "title", "content")
        message["ios"] = _ios(_aps(request.ios_notification), request.ios_notification)
        return message
    return {"ios": _ios({"content-available": 1}, request.ios_silent)}


def _members(part: AndroidNotification | AndroidMessage) -> Json:
    """Return what is set, in the order of the proto."""
    members = {}
    for field, value in part.ListFields():
        name, render_value = _ANDROID[field]
        if render_value is None:
            members[name] = value
        elif (json := render_value(value)) is not None:
            members[name] = json
    return members


def _add_nonzero(target: Json, source: Any, *names: str) -> None:
    for name in names:
        if value := getattr(source, name):
            target[name] = value


def _spans(spans: Iterable[AcceptTime]) -> list[Json]:
    return [{"start": _clock(span.start), "end": _clock(span.end)} for span in spans]


def _clock(time: TimeOfDay) -> Json:
    return {"hour": f"{time.hours:02}", "min": f"{time.minutes:02}"}


def _action(action: Action) -> Json:
    kind = action.WhichOneof("kind")
    if kind == "activity":
        body: Json = {"action_type": 1}
        activity = action.activity
        if activity.activity:
            body["activity"] = activity.activity
        flags = {}
        if activity.HasField("intent_flag"):
            flags["if"] = activity.intent_flag
        if activity.HasField("pending_intent_flag"):
            flags["pf"] = activity.pending_intent_flag
        if flags:
            body["aty_attr"] = flags
        return body
    if kind == "browser":
        browser: Json = {"url": action.browser.url}
        if action.browser.HasField("confirm"):
            browser["confirm"] = int(action.browser.confirm)
        return {"action_type": 2, "browser": browser}
    return {"action_type": 3, "intent": action.intent}


def _content(content: CustomContent | IosCustom) -> Any:
    """Return what a content renders to, or None when it is empty."""
    kind = content.WhichOneof("content")
    if kind == "json":
        return msgspec.Raw(content.json.encode())
    if kind == "fields":
        # A proto map has no order: sorted, so that equal requests have equal bodies.
        entries = content.fields.entries
        return {key: entries[key] for key in sorted(entries)} or None
    if kind == "text":
        return getattr(content, "text") or None  # noqa: B009  # only one of the two types has it
    return None


_RENDERED: Mapping[str, Render] = {
    "accept_time": _spans,
    "ring": int,
    "vibrate": int,
    "lights": int,
    "clearable": int,
    "icon_type": ICON_TYPES.__getitem__,
    "action": _action,
    "custom_content": _content,
}
# The members of Android's messages: their names, and how those are rendered that are not sent as they are.
_ANDROID = {
    field: (field.name, _RENDERED.get(field.name))
    for part in (AndroidNotification, AndroidMessage)
    for field in part.DESCRIPTOR.fields
}

_ALERT_NAMES = {field.name: field.name.replace("_", "-") for field in IosAlert.DESCRIPTOR.fields}


def _aps(notification: IosNotification) -> Json:
    alert: Json = {}
    for field, value in notification.alert.ListFields():
        alert[_ALERT_NAMES[field.name]] = value if isinstance(value, str) else list(value)
    aps: Json = {"alert": alert}
    if notification.HasField("badge_type"):
        aps["badge_type"] = notification.badge_type
    _add_nonzero(aps, notification, "sound", "category")
    if notification.thread_id:
        aps["thread-id"] = notification.thread_id
    if notification.mutable_content:
        aps["mutable-content"] = 1
    if notification.content_available:
        aps["content-available"] = 1
    return aps


def _ios(aps: Json, message: IosNotification | IosSilent) -> Json | msgspec.Raw:
    ios: Json = {"aps": aps}
    if (custom := _content(message.custom)) is not None:
        ios["custom"] = custom
    extra = message.extra
    if extra.WhichOneof("content") == "json":
        # The object's members are spliced in as they stand: to read them would lose digits, and equal keys.
        members = extra.json.strip()[1:-1].strip()
        if members:
            return msgspec.Raw(_encode(ios)[:-1] + b"," + members.encode() + b"}")
    else:
        ios |= _content(extra) or {}
    return ios


def _add_options(body: Json, request: PushRequest, form: Form, default_environment: str) -> None:
    if request.HasField("expire_time"):
        body["expire_time"] = request.expire_time.seconds
    if request.HasField("send_time"):
        sent_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=request.send_time.seconds)
        body["send_time"] = sent_at.astimezone(SEND_TIME_ZONE).replace(tzinfo=None).isoformat(" ")
    if request.HasField("multi_pkg"):
        body["multi_pkg"] = request.multi_pkg
    if request.HasField("loop"):
        body["loop_times"] = request.loop.times
        body["loop_interval"] = request.loop.interval_days
    if form.platform == "ios":
        body["environment"] = ENVIRONMENTS.get(request.environment, default_environment)
    if request.stat_tag:
        body["stat_tag"] = request.stat_tag
    if request.seq:
        body["seq"] = request.seq
