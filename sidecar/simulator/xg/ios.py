"""The iOS message: notification and silent (S1, S0 "iOS普通消息", "iOS静默消息").

Must not live here: audience, options, Android.
"""

from typing import Final

from sidecar.simulator.xg.codes import APNS, invalid, missing
from sidecar.simulator.xg.rules import (
    FLAG,
    Json,
    Rule,
    check,
    integer,
    optional_object,
    required_object,
    text,
    text_or_json,
)

_MESSAGE: Final[dict[str, Rule]] = {"title": text, "content": text}
# S1: custom, string/JSON; xg, a reserved string that its own samples carry.
_BESIDE_APS: Final[dict[str, Rule]] = {"custom": text_or_json, "xg": text}
_APS: Final[dict[str, Rule]] = {
    "badge_type": integer(low=-2),  # S1: -1 keep, -2 plus one, >= 0 set
    "badge": integer(low=0),  # S0's name of the number
}
_FORBIDDEN_IN_SILENT: Final = ("alert", "sound", "badge_type", "badge")  # S1; S0 has badge for badge_type


def _alert(value: object) -> str | None:
    return None if isinstance(value, str | dict) else "must be a string or an object"


def _sound(value: object) -> str | None:
    return None if isinstance(value, str | dict) else "must be a string or an object"


# Apple's own keys, to which the documents only point: what APNs cannot take gives 10202 (ours).
_APPLE: Final[dict[str, Rule]] = {
    "alert": _alert,
    "sound": _sound,
    "category": text,
    "thread-id": text,
    "content-available": FLAG,
    "mutable-content": FLAG,
}


def check_message(message: Json, *, is_notification: bool) -> None:
    """Check the `message` of an iOS push; raises Refused."""
    check(message, _MESSAGE, "message.")
    ios = optional_object(message, "ios", "message.")
    # S0 has aps and what is beside it directly in message.
    holder, path = (message, "message.") if ios.get("aps") is None else (ios, "message.ios.")
    if message.get("aps") is None and ios.get("aps") is None:
        raise missing("message.ios.aps")
    aps = required_object(holder, "aps", path)
    check(holder, _BESIDE_APS, path)
    if is_notification:
        _check_notification(aps, f"{path}aps.")
    else:
        _check_silent(aps, f"{path}aps.")


def _check_notification(aps: Json, path: str) -> None:
    if aps.get("alert") is None:
        raise missing(f"{path}alert")
    check(aps, _APS, path)
    check(aps, _APPLE, path, APNS)


def _check_silent(aps: Json, path: str) -> None:
    available = aps.get("content-available")
    if available is None:
        raise missing(f"{path}content-available")
    if available != 1 or isinstance(available, bool):
        raise invalid(f"{path}content-available", "must be 1 in a silent push")
    for name in _FORBIDDEN_IN_SILENT:
        if aps.get(name) is not None:
            raise invalid(f"{path}{name}", "must not be in a silent push")
    check(aps, _APPLE, path, APNS)
