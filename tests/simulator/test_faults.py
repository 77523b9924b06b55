"""Every fault, seen by a client over real TLS, and whether the push counts as delivered."""

import asyncio
import json
import time

import aiohttp
import pytest

from sidecar.simulator import Fault, Garbage, Kind, Match


async def post(client, body, **headers):
    async with client.post("/v3/push/app", json=body, headers=headers) as answer:
        return answer.status, answer.headers, await answer.read()


async def test_slow_answer_comes_after_its_latency(sim, push):
    sim.script(Fault(kind=Kind.SLOW, latency_s=0.05))
    began = time.perf_counter()
    _, answer = await push()
    assert time.perf_counter() - began >= 0.05
    assert answer["ret_code"] == 0
    assert sim.delivered == 1


async def test_slow_push_is_delivered_even_if_the_caller_leaves(sim, push):
    sim.script(Fault(kind=Kind.SLOW, latency_s=60))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(push(), 0.05)
    (record,) = sim.records
    assert (record.was_delivered, record.status, record.fault) == (True, None, "slow")


async def test_return_code_in_the_vendors_words_without_delivery(sim, push):
    sim.script(Fault(kind=Kind.RET_CODE, ret_code=10101))
    status, answer = await push(seq=3)
    assert status == 200
    assert answer == {
        "seq": 3,
        "push_id": "0",
        "ret_code": 10101,
        "environment": "product",
        "err_msg": "系统繁忙请稍后重试!",
    }
    assert sim.delivered == 0
    assert sim.records[0].answer == answer


async def test_return_code_with_own_words_and_result(sim, push):
    sim.script(Fault(kind=Kind.RET_CODE, ret_code=99999, err_msg="about token1", result=[6]))
    _, answer = await push()
    assert (answer["err_msg"], answer["result"]) == ("about token1", "[6]")
    sim.script(Fault(kind=Kind.RET_CODE, ret_code=99999, result="as it is"))
    _, answer = await push()
    assert (answer["err_msg"][:4], answer["result"]) == ("未知错误", "as it is")


async def test_return_code_although_delivered(sim, push):
    sim.script(Fault(kind=Kind.RET_CODE, ret_code=10101, acts=True))
    _, answer = await push()
    assert answer["ret_code"] == 10101
    assert sim.delivered == 1


@pytest.mark.parametrize("status", [204, 302, 400, 404, 429, 500, 503, 504, 599])
async def test_http_status(sim, client, body, status):
    sim.script(Fault(kind=Kind.HTTP, status=status, headers={"Retry-After": "7"}))
    async with client.post("/v3/push/app", json=body(), allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (status, "7")
        assert await answer.read() == b""
    assert sim.delivered == 0


async def test_http_status_with_a_body(sim, client, body):
    sim.script(Fault(kind=Kind.HTTP, status=502, body=b"\xff<", headers={"Content-Type": "text/html"}, acts=True))
    status, headers, raw = await post(client, body())
    assert (status, headers["Content-Type"], raw) == (502, "text/html", b"\xff<")
    assert sim.delivered == 1
    sim.script(Fault(kind=Kind.HTTP, status=200, body='{"ret_code": 0}'))
    status, headers, raw = await post(client, body())
    assert (status, headers["Content-Type"], raw) == (
        200,
        "application/json; charset=utf-8",
        b'{"ret_code": 0}',
    )


@pytest.mark.parametrize(
    ("kind", "error", "is_delivered"),
    [
        (Kind.CLOSE_BEFORE_BODY, aiohttp.ServerDisconnectedError, False),
        (Kind.RESET_BEFORE_BODY, aiohttp.ClientOSError, False),
        (Kind.CLOSE_AFTER_BODY, aiohttp.ServerDisconnectedError, True),
        (Kind.RESET_AFTER_BODY, aiohttp.ClientOSError, True),
        (Kind.HALF_BODY, aiohttp.ClientPayloadError, True),
    ],
)
async def test_cut_connection(sim, client, push, body, kind, error, is_delivered):
    await push()
    sim.script(Fault(kind=kind))
    with pytest.raises(error):
        await post(client, body())
    assert (await push())[1]["ret_code"] == 0
    first, cut, after = sim.records
    assert (cut.fault, cut.was_delivered, cut.is_complete) == (kind, is_delivered, is_delivered)
    assert cut.status == (200 if kind is Kind.HALF_BODY else None)
    assert first.connection == cut.connection != after.connection
    assert sim.delivered == 2 + is_delivered


async def test_cut_before_the_body_leaves_it_unread(sim, client, body):
    sim.script(Fault(kind=Kind.CLOSE_BEFORE_BODY))
    with pytest.raises(aiohttp.ClientError):
        await post(client, body(message={"title": "t", "content": "x" * 1_000_000}))
    assert sim.records[0].raw == b""


async def test_answer_that_was_lost_is_known_to_the_record(sim, client, body):
    sim.script(Fault(kind=Kind.RESET_AFTER_BODY))
    with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
        await post(client, body())
    assert sim.records[0].answer["push_id"] == sim.deliveries[0].push_id


async def test_invalid_push_is_not_delivered_by_a_fault(sim, client, body):
    sim.script(Fault(kind=Kind.RESET_AFTER_BODY))
    with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
        await post(client, body(token_list=["nobody"]))
    assert (sim.delivered, sim.records[0].answer["ret_code"]) == (0, 10110)


@pytest.mark.parametrize("garbage", list(Garbage))
async def test_garbage_is_200_without_a_json_object(sim, client, body, garbage):
    sim.script(Fault(kind=Kind.GARBAGE, garbage=garbage))
    status, headers, raw = await post(client, body())
    assert status == 200
    assert sim.delivered == 1
    try:
        value = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        value = None
    assert not isinstance(value, dict)
    assert headers["Content-Type"].startswith("text/html" if garbage is Garbage.HTML else "application/json")


async def test_drip_brings_the_whole_answer_slowly(sim, client, body):
    sim.script(Fault(kind=Kind.DRIP, pause_s=0.005))
    began = time.perf_counter()
    status, _, raw = await post(client, body())
    assert time.perf_counter() - began >= 0.005 * (len(raw) // 8)
    assert (status, json.loads(raw)["ret_code"]) == (200, 0)


async def test_hang_lasts_until_the_client_goes(sim, push):
    sim.script(Fault(kind=Kind.HANG))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(push(), 0.05)
    assert sim.delivered == 1
    assert (await push())[1]["ret_code"] == 0


async def test_connection_closed_after_the_answer_was_not_announced(sim, client, body, push):
    sim.script(Fault(kind=Kind.CLOSE_AFTER_ANSWER))
    status, headers, raw = await post(client, body())
    assert (status, json.loads(raw)["ret_code"]) == (200, 0)
    assert "Connection" not in headers
    await asyncio.sleep(0.01)
    await push()
    assert [record.connection for record in sim.records] == [1, 2]


async def test_refused_connections_come_back_on_the_same_port(sim, client, body, push):
    await push()
    port = sim.port
    await sim.refuse_connections()
    with pytest.raises(aiohttp.ClientConnectorError):
        await post(client, body())
    await sim.accept_connections()
    assert sim.port == port
    assert (await push())[1]["ret_code"] == 0
    assert sim.received == 2


async def test_refusing_for_a_while_ends_by_itself(sim, client, body, push):
    await sim.refuse_connections(0.3)
    with pytest.raises(aiohttp.ClientConnectorError):
        await post(client, body())
    await asyncio.sleep(0.4)
    assert (await push())[1]["ret_code"] == 0


async def test_open_connections_can_outlive_the_listener(sim, push):
    await push()
    await sim.refuse_connections(drop_connections=False)
    await push()
    assert [record.connection for record in sim.records] == [1, 1]


async def test_fault_by_token_in_a_list(sim, push):
    sim.script(Fault(kind=Kind.RET_CODE, ret_code=10301, match=Match(token="token2")))
    assert (await push())[1]["ret_code"] == 0
    listed = {"audience_type": "token_list", "token_list": ["token1", "token2"], "push_id": "0"}
    assert (await push(**listed))[1]["ret_code"] == 10301
    assert (await push(**listed))[1]["ret_code"] == 0


async def test_fault_by_account(sim, push):
    sim.script(Fault(kind=Kind.RET_CODE, ret_code=10301, match=Match(account="account1")))
    assert (await push())[1]["ret_code"] == 0
    assert (await push(audience_type="account", account_list=["account1"]))[1]["ret_code"] == 10301


async def test_fault_by_header(sim, push):
    sim.script(Fault(kind=Kind.RET_CODE, ret_code=10301, match=Match(header=("X-Try", "2"))))
    assert (await push(headers={"X-Try": "1"}))[1]["ret_code"] == 0
    assert (await push(headers={"x-try": "2"}))[1]["ret_code"] == 10301


async def test_fault_by_app_and_audience(sim, push):
    sim.script(Fault(kind=Kind.RET_CODE, ret_code=10301, match=Match(app_id="simulated-android-app", audience="all")))
    assert (await push())[1]["ret_code"] == 0
    assert (await push(audience_type="all"))[1]["ret_code"] == 10301


async def test_faults_strike_so_often_and_after_so_many(sim, push):
    sim.script(Fault(kind=Kind.RET_CODE, ret_code=10301, skip=1, times=2))
    assert [(await push())[1]["ret_code"] for _ in range(5)] == [0, 10301, 10301, 0, 0]


async def test_first_fault_strikes_first_and_lasting_ones_stay(sim, push):
    sim.script(Fault(kind=Kind.RET_CODE, ret_code=10101), Fault(kind=Kind.RET_CODE, ret_code=10204, times=None))
    assert [(await push())[1]["ret_code"] for _ in range(3)] == [10101, 10204, 10204]
    sim.clear_faults()
    assert (await push())[1]["ret_code"] == 0


async def test_admin_calls_are_not_hit(sim, client, push):
    sim.script(Fault(kind=Kind.HTTP, status=500))
    async with client.get("/_sim/requests") as answer:
        assert answer.status == 200
    with pytest.raises(aiohttp.ContentTypeError):
        await push()
    assert sim.received == 1
