"""One table of pushes, made by the callers of every language: each must see the same code, details and trailers."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from pushsidecar.client import connect_async
from pushsidecar.xg.v1 import IosSilent, PushRequest
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Fault, Kind, Match, Simulator
from tests.interop.cases import CASES, LONG_TOKEN, Case
from tests.interop.languages import Programs
from tests.interop.runner import Seen, running
from tests.support.process import serve_process

# A build of every language is a part of the first test.
pytestmark = pytest.mark.timeout(900)

MAX_ATTEMPTS_OF_THE_SIDECAR = 3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(simulator: Simulator, write: Callable[..., Path]) -> AsyncIterator[str]:
    """Give the address of a sidecar whose app `narrow` is busy with a push that hangs."""
    # A wide margin: the sidecar's own answer must come before the caller's library gives up, on a busy machine too.
    async with serve_process(write(deadline_margin_s=0.5)) as process:
        address = (await process.wait_for("serving"))["grpc"]
        async with connect_async(address) as channel:
            request = PushRequest(app="narrow", token="fault-hang:holder", ios_silent=IosSilent())
            holder = asyncio.ensure_future(PushServiceStub(channel).Push(request, timeout=900))
            while not any("fault-hang:holder" in record.text for record in simulator.records):
                assert not holder.done(), await holder
                await asyncio.sleep(0.02)
            yield address
            holder.cancel()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(target: str, simulator: Simulator, programs: Programs, language: str) -> Mapping[str, Seen]:
    """Make every push of the table in one language; returns what its caller saw, by the case's name."""
    # Only this push brings the wait that the vendor names.
    simulator.script(
        Fault(kind=Kind.HTTP, status=429, headers={"Retry-After": "7"}, match=Match(token="quota-spent"), times=1)
    )
    outcomes = {}
    async with running(programs.runner, target) as runner:
        for case in CASES:
            request = json.loads(json.dumps(case.request).replace(":interop", f":{language}"))
            outcomes[case.name] = await runner.push(case.name, request, case.timeout_s)
    return outcomes


def trailers_of(got: Seen) -> list[str]:
    # Where an error comes without headers, some libraries count the content type as a trailer.
    return [name for name in got["trailers"] if name != "content-type"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_caller_sees_what_the_contract_says(seen: Mapping[str, Seen], case: Case) -> None:
    got = seen[case.name]
    assert (got["name"], got["code"]) == (case.name, case.code)
    if case.response is not None:
        assert got["error"] is None
        assert (got["details"], trailers_of(got)) == ([], [])
        assert {name: got["response"].get(name) for name in case.response} == case.response
        return
    assert got["response"] is None
    error = got["error"]
    assert (error["reason"], error["sent"]) == (case.reason, case.sent)
    assert (error["vendor_code"], error["retry_after_s"]) == (case.vendor_code, case.retry_after_s)
    assert error["http_status"] == case.http_status
    assert error["attempts"] in case.attempts
    assert re.fullmatch(case.push_id, error["push_id"])
    assert {(broken["field"], broken["rule"]) for broken in error["violations"]} == case.violations
    assert all(broken["description"] for broken in error["violations"])
    assert got["details"] == list(case.details)
    assert trailers_of(got) == ["grpc-retry-pushback-ms", "grpc-status-details-bin"]
    assert got["message"]
    text = json.dumps(got)
    assert "Secret" not in text
    assert LONG_TOKEN not in text


def test_push_id_is_whole(seen: Mapping[str, Seen]) -> None:
    push_id = seen["accepted"]["response"]["pushId"]
    assert push_id.isdecimal()
    assert int(push_id) > 2**31


def test_body_that_was_only_checked_is_seen(seen: Mapping[str, Seen]) -> None:
    body = json.loads(seen["validated"]["response"]["renderedRequest"])
    assert (body["audience_type"], body["token_list"]) == ("token", ["token1"])
    assert body["message"]["title"] == "Secret title"


def test_refusal_after_sending_is_not_repeated_by_the_caller(
    seen: Mapping[str, Seen], simulator: Simulator, language: str
) -> None:
    """UNAVAILABLE/VENDOR_BUSY is retried by the sidecar; the caller's own policy must not multiply that."""
    assert seen["vendor code 10201"]["code"] == "UNAVAILABLE"
    pushes = [record for record in simulator.records if f"fault-ret-10201:{language}" in record.text]
    assert 1 <= len(pushes) <= MAX_ATTEMPTS_OF_THE_SIDECAR
