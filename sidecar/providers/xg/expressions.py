"""What the CEL expressions of the proto mean, in Python. Each stands here as it does in the proto.

After a change there it is none of these, and protovalidate judges what the expression is about (`common/plain.py`).
Each function may refuse more than its expression, never less. `test_certainty.py` compares them at random.
"""

import re
from collections.abc import Mapping
from typing import Any

from sidecar.providers.common.value_checks import Check

_FOR_ANDROID = frozenset({"android_notification", "android_message"})
_TO_SOME = frozenset({"token", "token_list", "account", "account_list"})
_NOT_A_LIST = frozenset({"all", "tag", "token", "account"})

# Of the addresses that the expression allows, those in printable ASCII.
_ADDRESS = re.compile(r'[Hh][Tt][Tt][Pp][Ss]?://[!"$-.0->@-~][!-~]*')
_MAX_PUSH_ID_DIGITS = 20
_MAX_TAG_CHARS = 512


def _environment_is_of_ios(request: Any) -> bool:
    return not request.environment or request.WhichOneof("message") not in _FOR_ANDROID


def _send_time_is_of_all_or_tag(request: Any) -> bool:
    return not request.HasField("send_time") or request.WhichOneof("audience") not in _TO_SOME


def _loop_is_of_all_or_tag(request: Any) -> bool:
    return not request.HasField("loop") or request.WhichOneof("audience") not in _TO_SOME


def _push_id_is_of_lists(request: Any) -> bool:
    return not request.push_id or request.WhichOneof("audience") not in _NOT_A_LIST


def _some_text(notification: Any) -> bool:
    if notification.title or notification.content:
        return True
    alert = notification.alert
    return bool(
        alert.title
        or alert.subtitle
        or alert.body
        or alert.title_loc_key
        or alert.title_loc_args
        or alert.subtitle_loc_key
        or alert.subtitle_loc_args
        or alert.action_loc_key
        or alert.loc_key
        or alert.loc_args
        or alert.launch_image
    )


def _is_address(url: str) -> bool:
    return _ADDRESS.fullmatch(url) is not None


def _is_decimal(push_id: str) -> bool:
    return push_id.isascii() and push_id.isdecimal() and len(push_id) <= _MAX_PUSH_ID_DIGITS


def _is_short(tags: Any) -> bool:
    return sum(map(len, tags)) <= _MAX_TAG_CHARS


def _is_of_whole_seconds(duration: Any) -> bool:
    return not duration.nanos


_ONLY_FOR_ALL_OR_TAG = "|| !(has(this.token) || has(this.token_list) || has(this.account) || has(this.account_list))"

EXPRESSIONS: Mapping[str, Check] = {
    "this.environment == 0 || !(has(this.android_notification) || has(this.android_message))": _environment_is_of_ios,
    "!has(this.send_time) " + _ONLY_FOR_ALL_OR_TAG: _send_time_is_of_all_or_tag,
    "!has(this.loop) " + _ONLY_FOR_ALL_OR_TAG: _loop_is_of_all_or_tag,
    "this.push_id == '' "
    "|| !(has(this.all) || has(this.tag) || has(this.token) || has(this.account))": _push_id_is_of_lists,
    "this.title != '' || this.content != '' || (has(this.alert) && ("
    "this.alert.title != '' || this.alert.subtitle != '' || this.alert.body != '' "
    "|| this.alert.title_loc_key != '' || this.alert.title_loc_args.size() > 0 "
    "|| this.alert.subtitle_loc_key != '' || this.alert.subtitle_loc_args.size() > 0 "
    "|| this.alert.action_loc_key != '' || this.alert.loc_key != '' || this.alert.loc_args.size() > 0 "
    "|| this.alert.launch_image != ''))": _some_text,
    r"this.matches('^(?i)https?://[^\\s\\p{Z}\\p{Cc}/?#][^\\s\\p{Z}\\p{Cc}]*$')": _is_address,
    "this.matches('^[0-9]{1,20}$')": _is_decimal,
    "this.join('').size() <= 512": _is_short,
    "this == duration(string(this.getSeconds()) + 's')": _is_of_whole_seconds,
}
