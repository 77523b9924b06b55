# ruff: noqa: RUF001 - the vendor's words keep the vendor's punctuation
"""Registered and unregistered targets, and what is counted as delivered."""

import pytest


def tokens(*listed, **rest):
    return {"audience_type": "token_list", "token_list": list(listed), "push_id": "0", **rest}


def accounts(*listed, **rest):
    return {"audience_type": "account_list", "account_list": list(listed), "push_id": "0", **rest}


def account(name, **rest):
    return {"audience_type": "account", "account_list": [name], **rest}


# (changes to a valid push, ret_code, result, accepted targets or None when nothing was delivered, devices)
CASES = {
    "token": ({"token_list": ["token1"]}, 0, "[0]", ("token1",), 1),
    "token unknown": ({"token_list": ["nobody"]}, 10110, None, None, 0),
    "token by prefix": ({"token_list": ["sim-anything"]}, 0, "[0]", ("sim-anything",), 1),
    "tokens": (tokens("token1", "token2"), 0, "[0,0]", ("token1", "token2"), 2),
    "tokens partly": (tokens("token1", "x", "token2"), 10304, "[0,6,0]", ("token1", "token2"), 2),
    "tokens none": (tokens("x", "y"), 10305, "[6,6]", None, 0),
    "tokens twice": (tokens("token1", "token1"), 0, "[0,0]", ("token1", "token1"), 2),
    "account newest device": (account("account1"), 0, "[0]", ("account1",), 1),
    "account newest device, said": (account("account1", account_push_type=0), 0, "[0]", ("account1",), 1),
    "account every device": (account("account1", account_push_type=1), 0, "[0]", ("account1",), 2),
    "account unknown": (account("nobody"), 10116, None, None, 0),
    "account of another type": (account("account1", account_type=2), 10116, None, None, 0),
    "account without device": (account("account-without-device"), 0, "[48]", None, 0),
    "account by prefix, any type": (account("sim-a", account_type=7), 0, "[0]", ("sim-a",), 1),
    "account by prefix, every device": (account("sim-a", account_push_type=1), 0, "[0]", ("sim-a",), 1),
    "accounts": (accounts("account1", "account2"), 0, "[0,0]", ("account1", "account2"), 2),
    "accounts partly": (accounts("x", "account2", "y"), 10302, "[48,0,48]", ("account2",), 1),
    "accounts none": (accounts("x", "account-without-device"), 10303, "[48,48]", None, 0),
    "all": ({"audience_type": "all"}, 0, None, (), 3),
    "tags and": ({"audience_type": "tag", "tag_list": {"tags": ["tag1", "tag2"], "op": "AND"}},
                 0, None, ("tag1", "tag2"), 1),
    "tags or": ({"audience_type": "tag", "tag_list": {"tags": ["tag1", "tag2"], "op": "OR"}},
                0, None, ("tag1", "tag2"), 3),
    "tag of nobody": ({"audience_type": "tag", "tag_list": {"tags": ["x"], "op": "OR"}}, 0, None, ("x",), 0),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "ret_code", "result", "accepted", "devices"), CASES.values(), ids=CASES.keys())
def test_targets(post, android, changes, ret_code, result, accepted, devices):
    reply = post({**android(seq=3), **changes})
    assert (reply.json["ret_code"], reply.json.get("result")) == (ret_code, result)
    if accepted is None:
        assert reply.delivery is None
    else:
        assert (reply.delivery.targets, reply.delivery.devices) == (accepted, devices)
        assert reply.delivery.push_id == reply.json["push_id"]
        assert (reply.delivery.seq, reply.delivery.app_id) == (3, "simulated-android-app")


def test_partly_failed_list_has_its_push_id_and_the_documents_words(ask, android):
    answer = ask({**android(), **tokens("token1", "x")})
    assert int(answer["push_id"]) > 2**31
    assert answer["err_msg"] == "token 列表推送部分失败，检查部分设备是否有正常注册！"


def test_account_is_found_by_the_type_that_it_was_bound_with(ask, android, vendor):
    app = vendor.apps["simulated-android-app"]
    app.bind_account("13800000000", ["phone"], account_type=1)
    assert ask(android(**account("13800000000", account_type=1)))["ret_code"] == 0
    assert ask(android(**account("13800000000")))["ret_code"] == 10116
    assert ask(android(**accounts("13800000000")))["ret_code"] == 0


def test_forgotten_device_leaves_its_account_and_tag(ask, post, android, vendor):
    vendor.apps["simulated-android-app"].forget_devices(["token3"])
    assert ask(android(token_list=["token3"]))["ret_code"] == 10110
    assert ask(android(**account("account2")))["result"] == "[48]"
    tag2 = {"audience_type": "tag", "tag_list": {"tags": ["tag2"], "op": "OR"}}
    assert post(android(**tag2)).delivery.devices == 1


def test_bound_and_tagged_devices_become_registered(ask, android, vendor):
    app = vendor.apps["simulated-android-app"]
    app.bind_account("new", ["a", "b", "a"])
    app.tag_devices("new", ["c"])
    assert app.accounts["new"] == {0: ["b", "a"]}
    assert ask(android(**tokens("a", "b", "c")))["ret_code"] == 0


def test_apps_do_not_share_devices(ask, ios, vendor):
    vendor.apps["simulated-android-app"].register_devices(["only-android"])
    assert ask(ios(token_list=["only-android"]))["ret_code"] == 10110
