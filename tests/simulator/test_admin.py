"""The JSON endpoints: what they give, what they change, how they complain."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

Call = Callable[..., Awaitable[tuple[int, Any]]]
APP = "simulated-android-app"


@pytest.fixture
def call(client: aiohttp.ClientSession) -> Call:
    async def send(method: str, name: str, body: Any = None, raw: bytes | None = None) -> tuple[int, Any]:
        data = {"json": body} if raw is None and body is not None else {"data": raw}
        async with client.request(method, f"/_sim/{name}", **data) as answer:
            return answer.status, await answer.json()

    return send


async def test_requests_can_be_paged_and_forgotten(call, push):
    for seq in range(1, 6):
        await push(seq=seq)
    status, page = await call("GET", "requests?since=2&limit=2")
    assert (status, page["total"]) == (200, 5)
    assert [(each["number"], each["body"]["seq"]) for each in page["requests"]] == [(3, 3), (4, 4)]
    record = page["requests"][0]
    assert record["headers"]["authorization"] == "[redacted]"
    assert (record["method"], record["path"], record["status"]) == ("POST", "/v3/push/app", 200)
    assert (record["delivered"], record["complete"], record["fault"]) == (True, True, None)
    assert record["answer"]["ret_code"] == 0
    assert await call("DELETE", "requests") == (200, {"total": 0})
    await push()
    _, page = await call("GET", "requests")
    assert [each["number"] for each in page["requests"]] == [6]


async def test_record_of_a_body_that_is_no_json(call, client):
    async with client.post("/v3/push/app", data=b"\xff{", headers={"Content-Type": "application/json"}) as answer:
        assert (await answer.json())["ret_code"] == 10107
    _, page = await call("GET", "requests")
    assert (page["requests"][0]["body"], page["requests"][0]["text"]) == (None, "\ufffd{")


async def test_refusal_names_its_reason(call, push):
    await push(expire_time=-1)
    _, page = await call("GET", "requests")
    assert page["requests"][0]["reason"] == "expire_time must be at least 0"


async def test_deliveries(call, push):
    await push(seq=1)
    await push(token_list=["nobody"])
    status, page = await call("GET", "deliveries?since=0")
    assert (status, page["total"]) == (200, 1)
    (delivery,) = page["deliveries"]
    assert (delivery["targets"], delivery["app_id"], delivery["audience"]) == (["token1"], APP, "token")


async def test_faults_are_scripted_listed_and_cleared(call, push):
    fault = {"kind": "ret_code", "ret_code": 10101, "match": {"token": "token1"}, "times": 2}
    status, listed = await call("POST", "faults", fault)
    assert status == 200
    assert fault.items() <= listed["faults"][0].items()
    assert (await push())[1]["ret_code"] == 10101
    assert (await call("GET", "faults"))[1] == listed
    assert (await call("DELETE", "faults"))[1] == {"faults": []}
    assert (await push())[1]["ret_code"] == 0


async def test_listed_fault_can_be_sent_again(call):
    fault = {
        "kind": "http",
        "match": {"header": ["x-a", "b"], "path": "/v3/push/app", "app_id": APP, "audience": "all"},
        "times": None,
        "skip": 1,
        "latency_s": 0.5,
        "acts": True,
        "ret_code": 0,
        "err_msg": None,
        "result": None,
        "status": 503,
        "body": "x",
        "headers": {"A": "b"},
        "garbage": "text",
        "pause_s": 0.1,
    }
    _, listed = await call("POST", "faults", fault)
    assert listed["faults"] == [fault]


@pytest.mark.parametrize("headers", [{"a b": "x"}, {"": "x"}, {"X-A": "x\r\nX-B: y"}, {"X-A": "\x00"}, {"\u4fe1": "x"}])
async def test_fault_with_a_header_that_http_does_not_allow_is_refused(call, headers):
    status, answer = await call("POST", "faults", {"kind": "http", "status": 503, "headers": headers})
    assert (status, answer["error"]["field"]) == (400, "headers")


async def test_devices(call, push):
    assert (await push(token_list=["new"]))[1]["ret_code"] == 10110
    await call("POST", "devices", {"app_id": APP, "tokens": ["new"], "prefixes": ["load-"]})
    assert (await push(token_list=["new"]))[1]["ret_code"] == 0
    assert (await push(token_list=["load-77"]))[1]["ret_code"] == 0
    _, shown = await call("GET", "devices")
    assert shown["apps"][APP] == {
        "tokens": ["new", "token1", "token2", "token3"],
        "prefixes": ["sim-", "load-"],
    }
    await call("DELETE", "devices", {"app_id": APP, "tokens": ["new"]})
    assert (await push(token_list=["new"]))[1]["ret_code"] == 10110


async def test_accounts(call, push):
    account = {"audience_type": "account", "account_list": ["13800000000"], "account_type": 1}
    assert (await push(**account))[1]["ret_code"] == 10116
    added = {"app_id": APP, "account": "13800000000", "account_type": 1, "tokens": ["phone"]}
    assert (await call("POST", "accounts", added))[0] == 200
    assert (await push(**account))[1]["ret_code"] == 0
    await call("POST", "accounts", {"app_id": APP, "prefixes": ["user-"]})
    assert (await push(audience_type="account", account_list=["user-1"]))[1]["ret_code"] == 0
    _, shown = await call("GET", "accounts")
    assert {"account": "13800000000", "account_type": 1, "tokens": ["phone"]} in shown["apps"][APP]["accounts"]
    assert shown["apps"][APP]["prefixes"] == ["sim-", "user-"]


async def test_tags(call, sim, push):
    await call("POST", "tags", {"app_id": APP, "tag": "vip", "tokens": ["a", "b"]})
    await push(audience_type="tag", tag_list={"tags": ["vip"], "op": "OR"})
    assert sim.deliveries[0].devices == 2
    assert (await call("GET", "tags"))[1]["apps"][APP]["tags"]["vip"] == ["a", "b"]


async def test_apps(call, client, body, authorization):
    new = {"app_id": "third", "secret_key": "k", "platform": "android"}
    assert await call("POST", "apps", new) == (200, {"app_id": "third"})
    _, shown = await call("GET", "apps")
    assert [app["app_id"] for app in shown["apps"]] == [APP, "simulated-ios-app", "third"]
    assert shown["apps"][2]["environments"] == ["dev", "product"]
    headers = {"Authorization": authorization("third", "k")}
    async with client.post("/v3/push/app", json=body(), headers=headers) as answer:
        assert (await answer.json())["ret_code"] == 10110


async def test_quota(call, push):
    await push(audience_type="all")
    _, shown = await call("GET", "quota")
    assert shown == {
        "limit": 30,
        "window_s": 3600.0,
        "overflow_status": 429,
        "overflow_ret_code": 0,
        "used": {APP: 1, "simulated-ios-app": 0},
    }
    assert (await call("POST", "quota", {"limit": 1, "overflow_ret_code": 10204}))[0] == 200
    assert (await push(audience_type="all"))[1]["ret_code"] == 10204
    _, shown = await call("POST", "quota", {"limit": None})
    assert (shown["limit"], shown["overflow_ret_code"]) == (None, 10204)
    assert (await push(audience_type="all"))[1]["ret_code"] == 0


async def test_quota_refusal_over_http(call, client, body):
    await call("POST", "quota", {"limit": 0, "overflow_status": 503})
    async with client.post("/v3/push/app", json=body(audience_type="all")) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "3600")


async def test_tasks(call, push):
    _, answer = await push(audience_type="token_list", token_list=["token1"], push_id="0")
    _, shown = await call("GET", "tasks")
    (task,) = shown["tasks"]
    assert (task["push_id"], task["calls"], task["targets"]) == (answer["push_id"], 1, 1)


async def test_listener_refuses_and_comes_back(call, client, push):
    await push()
    assert await call("POST", "listener", {"refuse_s": 0.3}) == (200, {"refuse_s": 0.3})
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get("/_sim/apps")
    await asyncio.sleep(0.4)
    assert (await push())[1]["ret_code"] == 0


async def test_reset(call, sim, push):
    await push()
    await call("POST", "faults", {"kind": "hang"})
    await call("POST", "devices", {"app_id": APP, "tokens": ["new"]})
    await call("POST", "quota", {"limit": 1})
    assert await call("POST", "reset") == (200, {"reset": True})
    assert (sim.received, sim.quota.limit, "new" in sim.android.devices) == (0, 30, False)
    assert (await call("GET", "devices"))[1]["apps"][APP]["tokens"] == ["token1", "token2", "token3"]
    assert (await push())[1]["ret_code"] == 0


# (call, field that is named, part of the rule)
BAD = {
    "kind missing": (("POST", "faults", {}), "kind", "must be one of slow"),
    "kind unknown": (("POST", "faults", {"kind": "x"}), "kind", "must be one of slow"),
    "kind is a list": (("POST", "faults", {"kind": []}), "kind", "must be one of slow"),
    "field unknown": (("POST", "faults", {"kind": "hang", "tims": 1}), "tims", "is unknown"),
    "times 0": (("POST", "faults", {"kind": "hang", "times": 0}), "times", "from 1"),
    "times true": (("POST", "faults", {"kind": "hang", "times": True}), "times", "integer"),
    "latency": (("POST", "faults", {"kind": "slow", "latency_s": -1}), "latency_s", "from 0 to 3600"),
    "latency text": (("POST", "faults", {"kind": "slow", "latency_s": "1"}), "latency_s", "number"),
    "status": (("POST", "faults", {"kind": "http", "status": 99}), "status", "from 100 to 999"),
    "body": (("POST", "faults", {"kind": "http", "body": {}}), "body", "must be a string"),
    "headers": (("POST", "faults", {"kind": "http", "headers": {"a": 1}}), "headers", "values are strings"),
    "header in match": (
        ("POST", "faults", {"kind": "hang", "match": {"header": ["a"]}}),
        "match.header",
        "name",
    ),
    "match unknown": (("POST", "faults", {"kind": "hang", "match": {"tag": "a"}}), "match.tag", "is unknown"),
    "match is a text": (("POST", "faults", {"kind": "hang", "match": "a"}), "match", "JSON object"),
    "acts": (("POST", "faults", {"kind": "hang", "acts": "no"}), "acts", "true or false"),
    "no ret_code": (("POST", "faults", {"kind": "ret_code"}), "ret_code", "required"),
    "token before body": (
        ("POST", "faults", {"kind": "reset_before_body", "match": {"token": "a"}}),
        "match",
        "before the body",
    ),
    "acts before body": (
        ("POST", "faults", {"kind": "close_before_body", "acts": True}),
        "acts",
        "before the body",
    ),
    "garbage": (("POST", "faults", {"kind": "garbage", "garbage": "x"}), "garbage", "html, empty"),
    "fault is a list": (("POST", "faults", []), "body", "JSON object"),
    "no body": (("POST", "faults"), "body", "JSON object"),
    "since": (("GET", "requests?since=-1"), "since", "whole number"),
    "limit": (("GET", "requests?limit=x"), "limit", "whole number"),
    "app unknown": (("POST", "devices", {"app_id": "x"}), "app_id", "known: simulated-android-app"),
    "app missing": (("POST", "tags", {"tag": "x"}), "app_id", "non-empty string"),
    "tokens": (("POST", "devices", {"app_id": APP, "tokens": [1]}), "tokens", "list of non-empty strings"),
    "tokens to forget": (("DELETE", "devices", {"app_id": APP, "tokens": "a"}), "tokens", "list"),
    "account": (("POST", "accounts", {"app_id": APP}), "account", "must be given"),
    "account_type": (
        ("POST", "accounts", {"app_id": APP, "account": "a", "account_type": -1}),
        "account_type",
        "0",
    ),
    "tag": (("POST", "tags", {"app_id": APP}), "tag", "non-empty string"),
    "platform": (
        ("POST", "apps", {"app_id": "x", "secret_key": "y", "platform": "all"}),
        "platform",
        "android or ios",
    ),
    "colon": (("POST", "apps", {"app_id": "x:", "secret_key": "y", "platform": "ios"}), "app_id", "colon"),
    "environments": (
        ("POST", "apps", {"app_id": "x", "secret_key": "y", "platform": "ios", "environments": ["a"]}),
        "environments",
        "product, dev",
    ),
    "quota": (("POST", "quota", {"limit": -1}), "limit", "from 0"),
    "refuse_s": (("POST", "listener", {}), "refuse_s", "above 0"),
}


@pytest.mark.parametrize(("request_", "field", "rule"), BAD.values(), ids=BAD.keys())
async def test_bad_input_is_400_with_field_and_rule(call, request_, field, rule):
    status, answer = await call(*request_)
    assert status == 400
    assert answer["error"]["field"] == field
    assert rule in answer["error"]["rule"]


async def test_body_that_is_no_json_is_400(call):
    status, answer = await call("POST", "faults", raw=b"{")
    assert (status, answer) == (400, {"error": {"field": "body", "rule": "must be JSON"}})


async def test_unknown_call_names_the_known_ones(call):
    status, answer = await call("GET", "nothing")
    assert (status, answer["error"]["field"]) == (404, "path")
    assert "/_sim/requests" in answer["error"]["rule"]


async def test_wrong_method_names_the_right_ones(call, client):
    assert (await call("PUT", "devices"))[1]["error"]["rule"] == "must be one of DELETE, GET, POST"
    async with client.put("/_sim/devices") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "DELETE, GET, POST")
