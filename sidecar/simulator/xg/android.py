"""The Android message: notification and pass-through (S1, S0 "Android普通消息", "Android透传消息").

Must not live here: audience, options, iOS.
"""

import re
from typing import Final, cast

from sidecar.simulator.xg.codes import invalid, missing
from sidecar.simulator.xg.rules import (
    FLAG,
    Json,
    Rule,
    check,
    integer,
    json_object,
    one_of,
    optional_object,
    required_object,
    required_text,
    text,
)

# S1: "xg_media_resources" stands beside title and content; S0 has no such field.
_MESSAGE: Final[dict[str, Rule]] = {"xg_media_resources": text, "custom_content": json_object}

# S1's field table; `builder_id` is optional as in S1 (S0: required).
_NOTIFICATION: Final[dict[str, Rule]] = {
    "n_id": integer(low=-1),
    "builder_id": integer(),
    "ring": FLAG,
    "ring_raw": text,
    "vibrate": FLAG,
    "lights": FLAG,
    "clearable": FLAG,  # S1 asks "whether", like its neighbours, but lists no values: 0 and 1 are ours
    "icon_type": FLAG,
    "icon_res": text,
    "style_id": integer(),
    "small_icon": text,
    "action": json_object,
    "custom_content": json_object,
}
_PASS_THROUGH: Final[dict[str, Rule]] = {"custom_content": json_object}

_ACTION_TYPE: Final[Rule] = one_of(1, 2, 3)
_ACTIVITY: Final[dict[str, Rule]] = {"activity": text, "aty_attr": json_object}
_ACTIVITY_FLAGS: Final[dict[str, Rule]] = {"if": integer(), "pf": integer()}
_BROWSER: Final[dict[str, Rule]] = {"confirm": FLAG}  # as `clearable`: 0 and 1 are ours
_URL: Final = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)

# Two digits in every sample, but no sentence asks for two, and the vendor's own SDKs write 9 as "9".
_HOUR: Final = re.compile(r"[01]?[0-9]|2[0-3]")
_MINUTE: Final = re.compile(r"[0-5]?[0-9]")


def check_message(message: Json, *, is_notification: bool) -> None:
    """Check the `message` of an Android push; raises Refused."""
    required_text(message, "title", "message.")
    required_text(message, "content", "message.")
    check(message, _MESSAGE, "message.")
    _check_accept_time(message.get("accept_time"), may_be_empty=not is_notification)
    android = optional_object(message, "android", "message.")
    check(android, _NOTIFICATION if is_notification else _PASS_THROUGH, "message.android.")
    action = android.get("action")
    if is_notification and action is not None:
        _check_action(cast("Json", action))


def _check_action(action: Json) -> None:
    """Check the part that `action_type` selects; S1's own sample carries the others too, with any content."""
    path = "message.android.action."
    # S0's samples have the key with a trailing space.
    kind = action.get("action_type", action.get("action_type "))
    if kind is None:
        raise missing(f"{path}action_type")
    check({"action_type": kind}, {"action_type": _ACTION_TYPE}, path)
    if kind == 1:
        check(action, _ACTIVITY, path)
        check(optional_object(action, "aty_attr", path), _ACTIVITY_FLAGS, f"{path}aty_attr.")
    elif kind == 2:  # noqa: PLR2004 - S1: 2 opens a browser
        browser = required_object(action, "browser", path)
        url = required_text(browser, "url", f"{path}browser.")
        if not _URL.fullmatch(url):
            raise invalid(f"{path}browser.url", "must be an http or https address")
        check(browser, _BROWSER, f"{path}browser.")
    else:
        required_text(action, "intent", path)


def _check_accept_time(periods: object, *, may_be_empty: bool) -> None:
    """Check the periods. S1's "must not be empty" stands in the table of notifications only."""
    path = "message.accept_time"
    if periods is None:
        return
    if not isinstance(periods, list):
        raise invalid(path, "must be an array")
    if not periods and not may_be_empty:
        raise invalid(path, "must not be empty")
    for at, period in enumerate(periods):
        if not isinstance(period, dict):
            raise invalid(f"{path}[{at}]", "must be an object")
        for end in ("start", "end"):
            moment = required_object(period, end, f"{path}[{at}].")
            for name, pattern in (("hour", _HOUR), ("min", _MINUTE)):
                value = required_text(moment, name, f"{path}[{at}].{end}.")
                if not pattern.fullmatch(value):
                    raise invalid(f"{path}[{at}].{end}.{name}", "must be one or two digits of a time of day")
