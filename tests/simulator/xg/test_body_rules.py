"""Each rule of the body on both sides of its limit, with the code that the documents name."""

import pytest

ANDROID_ONE = {"title": "t", "content": "c"}
PERIOD = {"start": {"hour": "00", "min": "00"}, "end": {"hour": "23", "min": "59"}}


def in_android(**fields):
    return {"message": {**ANDROID_ONE, "android": fields}}


def in_message(**fields):
    return {"message": {**ANDROID_ONE, **fields}}


def action(**fields):
    return in_android(action=fields)


def times(*periods):
    return in_message(accept_time=list(periods))


def at(hour, minute):
    return times({"start": {"hour": hour, "min": minute}, "end": {"hour": "23", "min": "00"}})


def tags(*values, op="OR"):
    return {"audience_type": "tag", "tag_list": {"tags": list(values), "op": op}}


def tokens(count, push_id="0"):
    listed = [f"sim-{number}" for number in range(count)]
    return {"audience_type": "token_list", "token_list": listed, "push_id": push_id}


def accounts(count, push_id="0"):
    listed = [f"sim-{number}" for number in range(count)]
    return {"audience_type": "account_list", "account_list": listed, "push_id": push_id}


def account(*names, **options):
    return {"audience_type": "account", "account_list": list(names), **options}


def to_all(**options):
    return {"audience_type": "all", **options}


# (name, changes to a valid Android notification to token1, the documented code)
ANDROID = [
    # required parameters: S1 "Push API 必要参数"
    ("no audience_type", {"audience_type": None}, 10102),
    ("no platform", {"platform": None}, 10102),
    ("no message", {"message": None}, 10102),
    ("no message_type", {"message_type": None}, 10102),
    ("empty audience_type", {"audience_type": ""}, 10102),
    ("unknown audience_type", {"audience_type": "everybody"}, 10103),
    ("audience_type is a number", {"audience_type": 1}, 10103),
    ("unknown platform", {"platform": "windows"}, 10103),
    ("unknown message_type", {"message_type": "mail"}, 10103),
    ("message_type in capitals", {"message_type": "NOTIFY"}, 10103),
    ("platform all to all", to_all(platform="all"), 10106),
    ("platform all to tags", {**tags("tag1"), "platform": "all"}, 10106),
    ("platform all to a token", {"platform": "all"}, 10106),
    ("message is a text", {"message": "hello"}, 10107),
    ("message is a list", {"message": []}, 10107),
    # extra and null fields
    ("extra fields", {"reserved": 1, "message": {**ANDROID_ONE, "later": True, "android": {"new": []}}}, 0),
    ("null options", dict.fromkeys(("expire_time", "send_time", "loop_times", "seq", "stat_tag")), 0),
    ("null in the message", in_message(accept_time=None, android=None, custom_content=None), 0),
    ("null in android", in_android(n_id=None, ring=None, action=None, custom_content=None), 0),
    # other audiences' fields
    ("empty lists beside the token", {"account_list": [], "tag_list": {"tags": []}, "push_id": ""}, 0),
    ("another audience's list", {"account_list": ["nobody"] * 2000}, 0),
    ("empty lists beside all", to_all(token_list=[], account_list=[], tag_list={}), 0),
    # title and content: S1 "Android普通消息"
    ("no title", {"message": {"content": "c"}}, 10102),
    ("no content", {"message": {"title": "t"}}, 10102),
    ("empty title", {"message": {"title": "", "content": "c"}}, 10102),
    ("empty content", {"message": {"title": "t", "content": ""}}, 10102),
    ("title is a number", {"message": {"title": 1, "content": "c"}}, 10103),
    ("pass-through", {"message_type": "message"}, 0),
    ("pass-through without title", {"message_type": "message", "message": {"content": "c"}}, 10102),
    # the rules of accept_time
    ("whole day", times(PERIOD), 0),
    ("more than ten periods", times(*[PERIOD] * 11), 0),
    ("end before start", times({"start": PERIOD["end"], "end": PERIOD["start"]}), 0),
    ("accept_time is empty: S1 says that it must not be", times(), 10103),
    ("accept_time of a pass-through is empty, of which S1 says nothing", {"message_type": "message", **times()}, 0),
    ("accept_time of a pass-through is an object", {"message_type": "message", **in_message(accept_time={})}, 10103),
    ("a period of a pass-through is empty", {"message_type": "message", **times({})}, 10102),
    ("accept_time is an object", in_message(accept_time=PERIOD), 10103),
    ("a period is a text", times("13:00"), 10103),
    ("no start", times({"end": PERIOD["end"]}), 10102),
    ("no end", times({"start": PERIOD["start"]}), 10102),
    ("no min", times({"start": {"hour": "01"}, "end": PERIOD["end"]}), 10102),
    ("hour 23", at("23", "00"), 0),
    ("hour 24", at("24", "00"), 10103),
    ("minute 59", at("00", "59"), 0),
    ("minute 60", at("00", "60"), 10103),
    ("hour of one digit: S1 asks for no second", at("9", "00"), 0),
    ("hour 0", at("0", "00"), 0),
    ("minute of one digit", at("13", "5"), 0),
    ("hour and minute of one digit", at("0", "0"), 0),
    ("hour of three digits", at("013", "00"), 10103),
    ("minute of three digits", at("13", "005"), 10103),
    ("hour -1", at("-1", "00"), 10103),
    ("hour with a space", at(" 9", "00"), 10103),
    ("hour is empty", at("", "00"), 10102),
    ("minute is a number", at("13", 0), 10103),
    ("hour is a number", at(13, "00"), 10103),
    ("hour in other digits", at("\u0661\u0663", "00"), 10103),
    ("hour with a line end", at("13\n", "00"), 10103),
    ("media resources", in_message(xg_media_resources="https://example.com/a.png"), 0),
    ("media resources are a list", in_message(xg_media_resources=["a"]), 10103),
    # the rules of message.android
    ("android is a text", in_message(android="x"), 10103),
    ("n_id -1", in_android(n_id=-1), 0),
    ("n_id -2", in_android(n_id=-2), 10103),
    ("n_id is a text", in_android(n_id="0"), 10103),
    ("n_id is true", in_android(n_id=True), 10103),
    ("builder_id negative", in_android(builder_id=-5), 0),
    ("builder_id is a float", in_android(builder_id=1.5), 10103),
    ("style_id 0", in_android(style_id=0), 0),
    ("style_id is a text", in_android(style_id="1"), 10103),
    *[(f"{name} {value}", in_android(**{name: value}), code)
      for name in ("ring", "vibrate", "lights", "clearable", "icon_type")
      for value, code in ((0, 0), (1, 0), (2, 10103), (-1, 10103), (True, 10103), ("1", 10103))],
    *[(f"{name} text", in_android(**{name: "x"}), 0) for name in ("ring_raw", "icon_res", "small_icon")],
    *[(f"{name} number", in_android(**{name: 1}), 10103) for name in ("ring_raw", "icon_res", "small_icon")],
    ("custom_content in android", in_android(custom_content={"a": "b"}), 0),
    ("custom_content in message", in_message(custom_content={"a": {"b": [1]}}), 0),
    ("custom_content as text in android", in_android(custom_content='{"a":"b"}'), 10103),
    ("custom_content as text in message", in_message(custom_content='{"a":"b"}'), 10103),
    ("custom_content of a pass-through as list",
     {"message_type": "message", **in_android(custom_content=[])}, 10103),
    # the rules of action
    ("action is a text", in_android(action="open"), 10103),
    ("no action_type", action(activity="a"), 10102),
    ("action_type 0", action(action_type=0), 10103),
    ("action_type 1 alone", action(action_type=1), 0),
    ("action_type 4", action(action_type=4), 10103),
    ("action_type with a space", {"message": {**ANDROID_ONE, "android": {"action": {"action_type ": 1}}}}, 0),
    ("action_type as text", action(action_type="1"), 10103),
    ("activity", action(action_type=1, activity="a", aty_attr={"if": 1, "pf": 2}), 0),
    ("activity is a number", action(action_type=1, activity=1), 10103),
    ("aty_attr is a list", action(action_type=1, aty_attr=[]), 10103),
    ("if is a text", action(action_type=1, aty_attr={"if": "0"}), 10103),
    ("pf is a text", action(action_type=1, aty_attr={"pf": "0"}), 10103),
    ("browser https", action(action_type=2, browser={"url": "https://a.example/"}), 0),
    ("browser http", action(action_type=2, browser={"url": "http://a.example", "confirm": 0}), 0),
    ("browser confirm 1", action(action_type=2, browser={"url": "http://a.example", "confirm": 1}), 0),
    ("browser confirm 2", action(action_type=2, browser={"url": "http://a.example", "confirm": 2}), 10103),
    ("browser ftp", action(action_type=2, browser={"url": "ftp://a.example"}), 10103),
    ("browser no scheme", action(action_type=2, browser={"url": "a.example"}), 10103),
    ("browser no host", action(action_type=2, browser={"url": "https://"}), 10103),
    ("no browser", action(action_type=2), 10102),
    ("no url", action(action_type=2, browser={}), 10102),
    ("intent", action(action_type=3, intent="xgscheme://a"), 0),
    ("no intent", action(action_type=3), 10102),
    ("intent is a number", action(action_type=3, intent=3), 10103),
    # size of message: S0 "API限制"; {"title":"t","content":""} has 26 bytes
    ("message of 4096 bytes", {"message": {"title": "t", "content": "x" * 4070}}, 0),
    ("message of 4097 bytes", {"message": {"title": "t", "content": "x" * 4071}}, 10117),
    ("4096 bytes of three each", {"message": {"title": "tt", "content": "信" * 1356 + "x"}}, 0),
    ("4097 bytes of three each", {"message": {"title": "tt", "content": "信" * 1356 + "xx"}}, 10117),
    # the rules of audience token: S1
    ("token of 64", {"token_list": ["sim-" + "x" * 60]}, 0),
    ("token of 65", {"token_list": ["sim-" + "x" * 61]}, 10103),
    ("only the first token counts", {"token_list": ["token1", "nobody", "x" * 65]}, 0),
    ("only the first of 1001 tokens counts", {"token_list": ["token1", *["x"] * 1000]}, 0),
    ("an empty token after the first", {"token_list": ["token1", ""]}, 0),
    ("an empty token before another", {"token_list": ["", "token1"]}, 10103),
    ("an empty token in a list", {**tokens(1), "token_list": ["token1", ""]}, 10103),
    ("no token_list", {"token_list": None}, 10102),
    ("token_list empty", {"token_list": []}, 10102),
    ("token empty", {"token_list": [""]}, 10103),
    ("token is a number", {"token_list": [1]}, 10103),
    ("token_list is a text", {"token_list": "token1"}, 10103),
    # the rules of lists: S1, at most 1000
    ("1000 tokens", tokens(1000), 0),
    ("1001 tokens", tokens(1001), 10103),
    ("1000 accounts", accounts(1000), 0),
    ("1001 accounts", accounts(1001), 10103),
    ("a token of 65 in a list", {**tokens(1), "token_list": ["token1", "x" * 65]}, 10103),
    ("no push_id for tokens", tokens(1, None), 10102),
    ("no push_id for accounts", accounts(1, None), 10102),
    ("push_id is a number", tokens(1, 0), 10103),
    ("push_id is a word", tokens(1, "first"), 10103),
    ("push_id unknown", tokens(1, "123"), 10205),
    # the rules of account: S1
    ("account", account("account1"), 0),
    ("account empty", account(""), 10115),
    ("account_list empty", account(), 10115),
    ("no account_list", {"audience_type": "account"}, 10102),
    ("an empty account in a list", {**accounts(1), "account_list": ["account1", ""]}, 10115),
    ("only the first account counts", account("account1", ""), 0),
    ("only the first of 1001 accounts counts", account("account1", *["x"] * 1000), 0),
    ("account is a number", {"audience_type": "account", "account_list": [1]}, 10103),
    ("account_type 0", account("account1", account_type=0), 0),
    ("account_type -1", account("account1", account_type=-1), 10103),
    ("account_type as text", account("account1", account_type="0"), 10103),
    ("another account_type than bound", account("account1", account_type=1), 10116),
    ("account_push_type 0", account("account1", account_push_type=0), 0),
    ("account_push_type 1", account("account1", account_push_type=1), 0),
    ("account_push_type 2", account("account1", account_push_type=2), 10103),
    # the rules of tags: S1, at most 512 characters
    ("tags of 512", tags("a" * 500, "b" * 12), 0),
    ("tags of 513", tags("a" * 500, "b" * 13), 10103),
    ("tags of 512 wide characters", tags("信" * 512), 0),
    ("no tags", tags(), 10102),
    ("an empty tag", tags("tag1", ""), 10103),
    ("op AND", tags("tag1", op="AND"), 0),
    ("op in small letters", tags("tag1", op="or"), 10103),
    ("no op", tags("tag1", op=None), 10102),
    ("no tag_list", {"audience_type": "tag"}, 10102),
    ("tag_list is a list", {"audience_type": "tag", "tag_list": ["tag1"]}, 10103),
    ("tags are a text", {"audience_type": "tag", "tag_list": {"tags": "tag1", "op": "OR"}}, 10103),
    # the rules of expire_time: S1
    ("expire_time 0", {"expire_time": 0}, 0),
    ("expire_time -1", {"expire_time": -1}, 10103),
    ("expire_time 1", {"expire_time": 1}, 0),
    ("expire_time above 72 hours", {"expire_time": 259201}, 0),
    ("expire_time 2147483647", {"expire_time": 2147483647}, 0),
    ("expire_time 2147483648", {"expire_time": 2147483648}, 10103),
    ("expire_time as text", {"expire_time": "600"}, 10103),
    # the rules of send_time: S1, all and tag only
    ("send_time to all", to_all(send_time="2030-01-31 23:59:59"), 0),
    ("send_time to tags", {**tags("tag1"), "send_time": "2030-01-31 23:59:59"}, 0),
    ("send_time in the past", to_all(send_time="2001-01-01 00:00:00"), 0),
    ("send_time to a token", {"send_time": "2030-01-31 23:59:59"}, 10103),
    ("send_time to an account", account("account1", send_time="2030-01-31 23:59:59"), 10103),
    ("send_time to a list", {**tokens(1), "send_time": "2030-01-31 23:59:59"}, 10103),
    ("send_time empty to a token", {"send_time": ""}, 0),
    ("send_time with T", to_all(send_time="2030-01-31T23:59:59"), 10103),
    ("send_time without seconds", to_all(send_time="2030-01-31 23:59"), 10103),
    ("send_time on 30 February", to_all(send_time="2030-02-30 00:00:00"), 10103),
    ("send_time with a zone", to_all(send_time="2030-01-31 23:59:59+08:00"), 10103),
    ("send_time is a number", to_all(send_time=1900000000), 10103),
    # the rules of loop: S1
    ("loop", to_all(loop_times=1, loop_interval=1), 0),
    ("loop to tags", {**tags("tag1"), "loop_times": 15, "loop_interval": 14}, 0),
    ("more than 15 loops, which is advice", to_all(loop_times=16, loop_interval=1), 0),
    ("loop_interval 15", to_all(loop_times=1, loop_interval=15), 10103),
    ("loop_interval 0", to_all(loop_times=1, loop_interval=0), 10103),
    ("loop_interval missing", to_all(loop_times=1), 10102),
    ("loop_times missing", to_all(loop_interval=1), 10102),
    ("loop_times 0 beside an interval", to_all(loop_times=0, loop_interval=1), 10103),
    ("loop_times -1", to_all(loop_times=-1, loop_interval=1), 10103),
    ("loop_times as text", to_all(loop_times="1", loop_interval=1), 10103),
    ("zero loop to all", to_all(loop_times=0, loop_interval=0), 0),
    ("zero loop to a token", {"loop_times": 0, "loop_interval": 0}, 0),
    ("zero loop_times to a list", {**tokens(1), "loop_times": 0}, 0),
    ("loop to a token", {"loop_times": 1, "loop_interval": 1}, 10103),
    # the rest: S1 "Push API 可选参数"
    ("environment with Android", {"environment": "product"}, 0),
    ("environment dev with Android", {"environment": "dev"}, 0),
    ("unknown environment", {"environment": "test"}, 10103),
    ("multi_pkg", {"multi_pkg": True}, 0),
    ("multi_pkg as number", {"multi_pkg": 1}, 10103),
    ("stat_tag", {"stat_tag": "active_picture_123"}, 0),
    ("stat_tag as number", {"stat_tag": 1}, 10103),
    ("largest seq", {"seq": 2**63 - 1}, 0),
    ("too large seq", {"seq": 2**63}, 10103),
    ("smallest seq", {"seq": -(2**63)}, 0),
    ("too small seq", {"seq": -(2**63) - 1}, 10103),
    ("seq as text", {"seq": "1"}, 10103),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "code"), [case[1:] for case in ANDROID], ids=[case[0] for case in ANDROID])
def test_android_body(ask, android, changes, code):
    answer = ask({**android(), **changes}, app="android")
    assert answer["ret_code"] == code


def ios_message(**fields):
    return {"message": {"ios": fields}}


def silent(**aps):
    return {"message_type": "message", "message": {"ios": {"aps": aps}}}


def aps(**fields):
    return ios_message(aps={"alert": "a", **{name.replace("_available", "-available"): value
                                            for name, value in fields.items()}})  # fmt: skip


# (name, changes to a valid iOS notification to token1, the documented code)
IOS = [
    ("alert is a text", ios_message(aps={"alert": "hello"}), 0),
    ("alert is empty", ios_message(aps={"alert": {}}), 0),
    ("alert is missing", ios_message(aps={"sound": "a"}), 10102),
    ("alert is null", ios_message(aps={"alert": None}), 10102),
    ("alert is a number", ios_message(aps={"alert": 1}), 10202),
    ("aps is missing", ios_message(custom="x"), 10102),
    ("ios is missing", {"message": {"title": "t"}}, 10102),
    ("ios is a text", {"message": {"ios": "x"}}, 10103),
    ("aps is a text", ios_message(aps="x"), 10103),
    ("title and content are not needed", ios_message(aps={"alert": {"body": "b"}}), 0),
    ("title is a number", {"message": {"title": 1, "ios": {"aps": {"alert": {}}}}}, 10103),
    ("badge_type -2", aps(badge_type=-2), 0),
    ("badge_type -3", aps(badge_type=-3), 10103),
    ("badge_type as text", aps(badge_type="1"), 10103),
    ("badge of S0", aps(badge=0), 0),
    ("badge of S0 negative", aps(badge=-1), 10103),
    ("badge_type outside of aps", {"badge_type": "ignored"}, 0),
    ("sound", aps(sound="Tassel.wav"), 0),
    ("sound as object", aps(sound={"critical": 1}), 0),
    ("sound is a number", aps(sound=1), 10202),
    ("category is a number", aps(category=1), 10202),
    ("thread-id", aps(**{"thread-id": "x"}), 0),
    ("thread-id is a number", aps(**{"thread-id": 1}), 10202),
    ("mutable-content 1", aps(**{"mutable-content": 1}), 0),
    ("mutable-content true", aps(**{"mutable-content": True}), 10202),
    ("content-available beside an alert", aps(**{"content-available": 1}), 0),
    ("extra key of Apple's", aps(**{"interruption-level": "active"}), 0),
    ("custom is a text", ios_message(aps={"alert": {}}, custom="x"), 0),
    ("custom is an object", ios_message(aps={"alert": {}}, custom={"a": 1}), 0),
    ("custom is a number", ios_message(aps={"alert": {}}, custom=1), 10103),
    ("silent", silent(**{"content-available": 1}), 0),
    ("silent without content-available", silent(), 10102),
    ("silent with content-available 0", silent(**{"content-available": 0}), 10103),
    ("silent with content-available true", silent(**{"content-available": True}), 10103),
    ("silent with alert", silent(**{"content-available": 1, "alert": "a"}), 10103),
    ("silent with empty alert", silent(**{"content-available": 1, "alert": {}}), 10103),
    ("silent with null alert", silent(**{"content-available": 1, "alert": None}), 0),
    ("silent with sound", silent(**{"content-available": 1, "sound": "a"}), 10103),
    ("silent with badge_type", silent(**{"content-available": 1, "badge_type": 0}), 10103),
    ("silent with badge of S0", silent(**{"content-available": 1, "badge": 0}), 10103),
    ("silent with category", silent(**{"content-available": 1, "category": "c"}), 0),
    ("silent without aps", {"message_type": "message", "message": {"ios": {"custom": "x"}}}, 10102),
    ("no environment, which S1 requires for iOS", {"environment": None}, 10102),
    ("no environment of a silent push", {**silent(**{"content-available": 1}), "environment": None}, 10102),
    ("environment is empty", {"environment": ""}, 10102),
    ("environment product", {"environment": "product"}, 0),
    ("environment dev", {"environment": "dev"}, 0),
    ("unknown environment", {"environment": "prod"}, 10103),
    ("environment is a number", {"environment": 1}, 10103),
    ("message of 4096 bytes", {"message": {"content": "x" * 4055, "ios": {"aps": {"alert": {}}}}}, 0),
    ("message of 4097 bytes", {"message": {"content": "x" * 4056, "ios": {"aps": {"alert": {}}}}}, 10117),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "code"), [case[1:] for case in IOS], ids=[case[0] for case in IOS])
def test_ios_body(ask, ios, changes, code):
    answer = ask({**ios(), **changes}, app="ios")
    assert answer["ret_code"] == code


def test_push_for_the_other_platform_has_no_valid_certificate(ask, android, ios):
    assert ask(ios(), app="android")["ret_code"] == 10105
    assert ask(android(), app="ios")["ret_code"] == 10105


def test_environment_without_certificate_is_refused(ask, ios, vendor):
    vendor.apps["simulated-ios-app"].environments = frozenset({"product"})
    assert ask(ios(environment="dev"))["ret_code"] == 10105
    assert ask(ios(environment="product"))["ret_code"] == 0


def test_reason_names_the_field_and_no_value(post, android):
    reply = post(android({"android": {"action": {"action_type": 2, "browser": {"url": "ftp://secret"}}}}))
    assert reply.reason == "message.android.action.browser.url must be an http or https address"
    assert reply.headers["X-Simulator-Reason"] == reply.reason
