"""Tokens and accounts that ask for a fault by their name."""

import json

import aiohttp
import pytest

from sidecar.simulator import Fault, Garbage, Kind
from sidecar.simulator.magic import find_magic, is_magic

NAMES = {
    "fault-ret-10101": Fault(kind=Kind.RET_CODE, ret_code=10101),
    "fault-ret--1": Fault(kind=Kind.RET_CODE, ret_code=-1),
    "fault-http-503": Fault(kind=Kind.HTTP, status=503),
    "fault-latency-2.5": Fault(kind=Kind.SLOW, latency_s=2.5),
    "fault-latency-10": Fault(kind=Kind.SLOW, latency_s=10),
    "fault-close-after-body": Fault(kind=Kind.CLOSE_AFTER_BODY),
    "fault-reset-after-body": Fault(kind=Kind.RESET_AFTER_BODY),
    "fault-half-body": Fault(kind=Kind.HALF_BODY),
    "fault-garbage": Fault(kind=Kind.GARBAGE),
    "fault-garbage-html": Fault(kind=Kind.GARBAGE, garbage=Garbage.HTML),
    "fault-garbage-empty": Fault(kind=Kind.GARBAGE, garbage=Garbage.EMPTY),
    "fault-garbage-text": Fault(kind=Kind.GARBAGE, garbage=Garbage.TEXT),
    "fault-garbage-charset": Fault(kind=Kind.GARBAGE, garbage=Garbage.CHARSET),
    "fault-garbage-nested": Fault(kind=Kind.GARBAGE, garbage=Garbage.NESTED),
    "fault-garbage-list": Fault(kind=Kind.GARBAGE, garbage=Garbage.LIST),
    "fault-drip": Fault(kind=Kind.DRIP),
    "fault-hang": Fault(kind=Kind.HANG),
    "fault-close-after-answer": Fault(kind=Kind.CLOSE_AFTER_ANSWER),
}


@pytest.mark.parametrize(("name", "fault"), NAMES.items())
def test_name_means_fault(name, fault):
    assert find_magic(["token1", name]) == fault
    assert find_magic([f"{name}:of-alice"]) == fault


@pytest.mark.parametrize(
    "name",
    [
        *("", "fault-", "fault", "fault-ret-0", "fault-ret-x", "fault-http-99", "fault-http-1000"),
        *("fault-latency-", "fault-latency-1e9", "fault-slow", "fault-http", "fault-reset-before-body"),
        *("my-fault-hang", "FAULT-hang"),
    ],
)
def test_other_names_are_ordinary(name):
    assert not is_magic(name)


async def test_magic_token_is_registered_and_strikes_each_time(sim, push):
    for _ in range(2):
        assert (await push(token_list=["fault-ret-10101"]))[1]["ret_code"] == 10101
    assert (await push(token_list=["fault-latency-0"]))[1]["ret_code"] == 0
    assert sim.delivered == 1


async def test_magic_account(sim, push):
    account = {"audience_type": "account", "account_list": ["fault-ret-10201"]}
    assert (await push(**account))[1]["ret_code"] == 10201


async def test_magic_token_in_a_list_strikes_the_whole_call(sim, client, body):
    listed = {
        "audience_type": "token_list",
        "token_list": ["token1", "fault-reset-after-body"],
        "push_id": "0",
    }
    with pytest.raises(aiohttp.ClientError):
        await client.post("/v3/push/app", json=body(**listed))
    assert sim.deliveries[0].targets == ("token1", "fault-reset-after-body")


async def test_token_beside_another_audience_is_no_magic(sim, push):
    assert (await push(audience_type="all", token_list=["fault-hang"]))[1]["ret_code"] == 0


async def test_scripted_fault_goes_before_magic(sim, push):
    sim.script(Fault(kind=Kind.RET_CODE, ret_code=10204))
    assert (await push(token_list=["fault-ret-10101"]))[1]["ret_code"] == 10204


async def test_longest_magic_token_is_a_valid_token(sim, client, body):
    token = "fault-http-418:" + "x" * 49
    async with client.post("/v3/push/app", json=body(token_list=[token])) as answer:
        assert answer.status == 418
    assert len(token) == 64
    assert json.loads(sim.records[0].text)["token_list"] == [token]
