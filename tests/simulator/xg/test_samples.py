"""Every sample of the two documents is accepted, word for word where the sample is whole."""

import json

import pytest

NOTIFY = {
    "platform": "android",
    "message_type": "notify",
    "message": {"title": "xxx", "content": "xxxxxxxxx"},
}

# S1 and S0 "audience_type": the six samples.
AUDIENCES = {
    "all": {"audience_type": "all"},
    "tag": {"audience_type": "tag", "tag_list": {"tags": ["tag1", "tag2"], "op": "AND"}},
    "token": {"audience_type": "token", "token_list": ["token1"]},
    "token_list": {"audience_type": "token_list", "token_list": ["token1", "token2"], "push_id": "0"},
    "account": {"audience_type": "account", "account_list": ["account1"]},
    "account_list": {
        "audience_type": "account_list",
        "account_list": ["account1", "account2"],
        "push_id": "0",
    },
    "account_list_of_s0": {
        "audience_type": "account_list",
        "account_list": ["account1", "account1"],
        "push_id": "0",
    },
}

TIMES = """[{"start": {"hour": "13", "min": "00"}, "end": {"hour": "14", "min": "00"}},
            {"start": {"hour": "00", "min": "00"}, "end": {"hour": "09", "min": "00"}}]"""

# The `message` samples, without the comments in them; (platform, message_type, message).
MESSAGES = {
    "s1_android_notification": (
        "android",
        "notify",
        """{"title": "xxx", "content": "xxxxxxxxx", "xg_media_resources": "xxx1", "accept_time": TIMES,
        "android": {"n_id": 0, "builder_id": 0, "ring": 1, "ring_raw": "ring", "vibrate": 1, "lights": 1,
          "clearable": 1, "icon_type": 0, "icon_res": "xg", "style_id": 1, "small_icon": "xg",
          "action": {"action_type": 1, "activity": "xxx", "aty_attr": {"if": 0, "pf": 0},
                     "browser": {"url": "xxxx ", "confirm": 1}, "intent": "xxx"},
          "custom_content": {"key1": "value1", "key2": "value2"}}}""".replace("TIMES", TIMES),
    ),
    "s0_android_notification": (
        "android",
        "notify",
        """{"title": "xxx", "content": "xxxxxxxxx", "accept_time": TIMES,
        "android": {"n_id": 0, "builder_id": 0, "ring": 1, "ring_raw": "ring", "vibrate": 1, "lights": 1,
          "clearable": 1, "icon_type": 0, "icon_res": "xg", "style_id": 1, "small_icon": "xg",
          "action": {"action_type ": 1, "activity": "xxx", "aty_attr": {"if": 0, "pf": 0},
                     "browser": {"url": "xxxx ", "confirm": 1}, "intent": "xxx"},
          "custom_content": {"key1": "value1", "key2": "value2"}}}""".replace("TIMES", TIMES),
    ),
    "s1_android_pass_through": (
        "android",
        "message",
        """{"title": "this is title", "content": "this is content",
        "android": {"custom_content": {"key1": "value1", "key2": "value2"}}, "accept_time": TIMES}""".replace(
            "TIMES", TIMES
        ),
    ),
    "s0_android_pass_through": (
        "android",
        "message",
        """{"title":"this is title", "content":"this is content",
        "custom_content":{"key1":"value1","key2":"value2"}, "accept_time": TIMES}""".replace("TIMES", TIMES),
    ),
    "s1_ios_notification": (
        "ios",
        "notify",
        """{"title": "xxx", "content": "xxxxxxxxx", "ios": {
        "aps": {"alert": {"subtitle": "my subtitle"}, "badge_type": 5, "category": "INVITE_CATEGORY"},
        "custom1": "bar", "custom2": ["bang", "whiz"], "xg": "oops"}}""",
    ),
    "s0_ios_notification": (
        "ios",
        "notify",
        """{"title": "xxx", "content": "xxxxxxxxx",
        "aps": {"alert": {"subtitle": "my subtitle"}, "badge": 5, "category": "INVITE_CATEGORY"},
        "custom1": "bar", "custom2": ["bang", "whiz"], "xg": "oops"}""",
    ),
    "s1_ios_silent": (
        "ios",
        "message",
        """{"ios": {"aps": {"content-available": 1}, "custom": {"key1": "value1", "key2": "value2"},
        "xg": "oops"}}""",
    ),
    "s0_ios_silent": (
        "ios",
        "message",
        """{"aps": {"content-available": 1}, "custom": {"key1": "value1", "key2": "value2"}, "xg": "oops"}""",
    ),
}

TAG_REQUEST = """{"platform": "android", "audience_type": "tag", "tag_list": {"tags": ["tag1", "tag2"],
  "op": "AND"}, "message_type": "notify", "message": {"title": "this is title",
  "content": "this is content", "custom_content": {"key1": "value1", "key2": "value2"},
  "accept_time": [{"start": {"hour": "13", "min": "00"}, "end": {"hour": "14", "min": "00"}}]}}"""

IOS_REQUEST = """{"platform": "ios", "audience_type": "token", "environment":"dev",
  "token_list": [ "55c2ddba664e9abcacea7daab0887939893b18e1a2cf4475c5382f5bcb2ab25b"],
  "message_type":"notify", "message":{"title": "xxx",
  "content": "https://xg.qq.com/docs/ios_access/ios_faq.html", "ios":{"aps": {"alert": {"subtitle":
  "my subtitle"}, "badge_type": -2, "sound":"Tassel.wav", "category": "INVITE_CATEGORY"},
  "custom1": "bar", "custom2": ["bang", "whiz"], "xg": "oops"}}}"""


@pytest.mark.parametrize("audience", AUDIENCES.values(), ids=AUDIENCES.keys())
def test_audience_sample_is_accepted(ask, audience):
    assert ask({**NOTIFY, **audience})["ret_code"] == 0


@pytest.mark.parametrize(("platform", "kind", "message"), MESSAGES.values(), ids=MESSAGES.keys())
def test_message_sample_is_accepted(ask, platform, kind, message):
    body = {
        "audience_type": "token",
        "token_list": ["token1"],
        "platform": platform,
        "environment": "product",
        "message_type": kind,
        "message": json.loads(message),
    }
    assert ask(body)["ret_code"] == 0


def test_tag_request_has_the_keys_of_its_documented_answer(ask):
    answer = ask(TAG_REQUEST.encode())
    push_id = answer.pop("push_id")
    assert answer == {"seq": 0, "environment": "product", "ret_code": 0}
    assert isinstance(push_id, str)
    assert int(push_id) > 2**31


def test_ios_request_has_its_documented_answer(ask):
    answer = ask(IOS_REQUEST.encode(), app="ios")
    push_id = answer.pop("push_id")
    assert answer == {"seq": 0, "ret_code": 0, "environment": "dev", "err_msg": "", "result": "[0]"}
    assert push_id.isdecimal()
