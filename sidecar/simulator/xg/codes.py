# ruff: noqa: RUF001 - the vendor's words keep the vendor's punctuation
"""The vendor's return codes with their own words (S1, "错误码"), and the refusal that carries one.

Must not live here: when a code is given.
"""

from typing import Final

BUSY: Final = 10100
MISSING: Final = 10102
INVALID: Final = 10103
WRONG_KEY: Final = 10104
CERTIFICATE: Final = 10105
MULTI_PLATFORM: Final = 10106
NOT_JSON_MESSAGE: Final = 10107
DEVICE_UNKNOWN: Final = 10110
ACCOUNT_EMPTY: Final = 10115
ACCOUNT_UNKNOWN: Final = 10116
TOO_LARGE: Final = 10117
APNS: Final = 10202
TASK_EXPIRED: Final = 10205
ACCOUNTS_PARTLY: Final = 10302
ACCOUNTS_ALL: Final = 10303
TOKENS_PARTLY: Final = 10304
TOKENS_ALL: Final = 10305
APP_UNKNOWN: Final = 10606

_INTERNAL: Final = "内部错误，请稍候重试!"
_INTERNAL_HALF_WIDTH: Final = "内部错误,请稍候重试!"

MESSAGES: Final[dict[int, str]] = {
    10100: "系统繁忙请稍后重试!",
    10101: "系统繁忙请稍后重试!",
    10102: "缺少参数请检查后重试",
    10103: "参数值非法，请检查后重试",
    10104: "鉴权未通过，请检查secret key!",
    10105: "证书无效!",
    10106: "当前推送类型不支持多平台推送!",
    10107: "消息体是非法json 格式",
    10110: "设备未注册!",
    10115: "帐号不能为空,帐号为空!",
    10116: "帐号不存在",
    10117: "推送内容太大",
    10201: "创建推送任务失败,请稍后重试!",
    10202: "推送消息内容转换APNs 失败!",
    10203: "创建推送任务失败，请稍后重试!",
    10204: "推送失败，请稍后重试!",
    10205: "推送任务过期，请检查！",
    10206: "获取消息副本失败，请稍后重试！",
    10207: "获取消息副本失败，请稍后重试！",
    10301: "帐号列表推送失败，请稍后重试!",
    10302: "帐号列表推送部分失败,请检查部分账号是否有绑定设备！",
    10303: "帐号列表推送全部失败,请检查账号是否有绑定设备!",
    10304: "token 列表推送部分失败，检查部分设备是否有正常注册！",
    10305: "token 列表推送全部失败,请检查设备是否有正常注册!",
    10606: "app 未注册，请注册后重试!",
    **dict.fromkeys((10108, 10109, *range(10111, 10115), 10701), _INTERNAL_HALF_WIDTH),
    **dict.fromkeys((*range(10401, 10408), *range(10501, 10508), *range(10601, 10606), 10702), _INTERNAL),
    **dict.fromkeys(range(10707, 10714), _INTERNAL),
}
"""Code -> the vendor's words; a sentence that S1 writes with either comma keeps its own per code."""

OTHER: Final = "未知错误，请稍后重试!"
"""S1's words for any other code."""


class Refused(Exception):
    """The vendor refuses the push: `code` as documented, `reason` names field and rule, never a value."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


def missing(path: str) -> Refused:
    """Return the refusal for an absent field."""
    return Refused(MISSING, f"{path} is missing")


def invalid(path: str, rule: str) -> Refused:
    """Return the refusal for a value that breaks a rule."""
    return Refused(INVALID, f"{path} {rule}")
