"""The table of errors from end to end: a caller, a sidecar, and a simulated vendor that answers every code there is."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.rpc.error_details_pb2 import QuotaFailure, ResourceInfo, RetryInfo

from pushsidecar.xg.v1 import PushRequest, PushResponse
from pushsidecar.xg.v1.push_service_pb2 import OUTCOME_ACCEPTED, OUTCOME_PARTIAL
from sidecar.simulator import Fault, Kind, Simulator
from tests.support.failures import Failure
from tests.support.running import Running, android, build_config, running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUDIENCES: dict[str, dict[str, Any]] = {
    "all": {"all": {}},
    "tag": {"tag": {"tags": ["tag1"], "op": "TAG_OP_OR"}},
    "token": {"token": "sim-1"},
    "token_list": {"token_list": {"tokens": ["sim-1", "sim-2"]}},
    "account": {"account": {"account": "sim-1"}},
    "account_list": {"account_list": {"accounts": ["sim-1", "sim-2"]}},
}
LISTS = ["token_list", "account_list"]
BROADCASTS = ["all", "tag"]

REJECTED = ("INVALID_ARGUMENT", "VENDOR_REJECTED", "no")
CREDENTIALS = ("FAILED_PRECONDITION", "CREDENTIALS_REFUSED", "no")
ENDPOINT = ("FAILED_PRECONDITION", "ENDPOINT_REFUSED", "no")
TARGET = ("NOT_FOUND", "TARGET_UNKNOWN", "no")
BUSY = ("UNAVAILABLE", "VENDOR_BUSY", "no")
UNKNOWN = ("UNKNOWN", "OUTCOME_UNKNOWN", "maybe")
INTERNAL = ("INTERNAL", "VENDOR_INTERNAL", "maybe")

# Every code that the documents name and that is an error to a single device.
BY_CODE = {
    **dict.fromkeys([10102, 10103, 10106, 10107, 10115, 10117, 10202], REJECTED),
    10104: CREDENTIALS,
    10105: ("FAILED_PRECONDITION", "CERTIFICATE_INVALID", "no"),
    10606: ("FAILED_PRECONDITION", "APP_NOT_REGISTERED", "no"),
    10205: ("FAILED_PRECONDITION", "PUSH_TASK_EXPIRED", "no"),
    **dict.fromkeys([10110, 10116, 10303, 10305], TARGET),
    **dict.fromkeys([10201, 10203], BUSY),
    **dict.fromkeys([10100, 10101, 10206, 10207], UNKNOWN),
    # "Some of the list failed" to a push that is no list.
    **dict.fromkeys([10302, 10304], UNKNOWN),
    **dict.fromkeys([10108, 10109, 10111, 10112, 10113, 10114, 10204, 10301], INTERNAL),
    **dict.fromkeys([10401, 10402, 10403, 10404, 10405, 10406, 10407], INTERNAL),
    **dict.fromkeys([10501, 10502, 10503, 10504, 10505, 10506, 10507], INTERNAL),
    **dict.fromkeys([10601, 10602, 10603, 10604, 10605], INTERNAL),
    **dict.fromkeys([10701, 10702, 10707, 10708, 10709, 10710, 10711, 10712, 10713], INTERNAL),
    **dict.fromkeys([10118, 99999, 1, -1, 2**31 - 1], UNKNOWN),
}
BY_STATUS = {
    **dict.fromkeys([400, 413, 414, 431], REJECTED),
    **dict.fromkeys([401, 403, 407], CREDENTIALS),
    **dict.fromkeys([300, 301, 302, 304, 305, 307, 308, 404, 405, 415], ENDPOINT),
    429: ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "no"),
    **dict.fromkeys([101, 200, 201, 202, 204, 205, 206, 303, 402, 406, 408, 409, 410, 417, 422, 499], UNKNOWN),
    **dict.fromkeys([500, 501, 502, 503, 504, 599], UNKNOWN),
}


@dataclass
class Stage:
    """A caller, his sidecar and its vendor."""

    vendor: Simulator
    running: Running

    async def fail(self, fault: Fault, request: PushRequest) -> tuple[Failure, int]:
        """Make a push that must fail, see that the next one works, and return the failure and its vendor calls."""
        self.vendor.reset()
        self.vendor.quota.limit = None
        self.vendor.script(fault)
        failure = await self.running.fail(request)
        calls = self.vendor.received
        self.vendor.clear_faults()
        response = await self.running.push()
        assert (response.outcome, response.attempts) == (OUTCOME_ACCEPTED, 1)
        assert self.vendor.received == calls + 1
        return failure, calls


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    directory: Path = tmp_path_factory.mktemp("stage")
    async with Simulator() as vendor:
        retry = {"max_attempts": 3, "initial_backoff_s": 0.001, "max_backoff_s": 0.001, "budget_ratio": 1.0}
        # Refused for its quota, the app is paused: here so shortly that the next push waits for its end.
        config = build_config(directory, vendor, app={"retry": retry, "quota_retry_after_s": 0.001})
        async with running_sidecar(config) as running:
            yield Stage(vendor, running)


def returned(code: int, **more: Any) -> Fault:
    return Fault(kind=Kind.RET_CODE, ret_code=code, times=None, **more)


def answered(status: int, **more: Any) -> Fault:
    return Fault(kind=Kind.HTTP, status=status, times=None, **more)


def verdict(failure: Failure) -> tuple[str, str, str]:
    return failure.code.name, failure.reason, failure.sent


def details(failure: Failure) -> list[str]:
    assert failure.status is not None
    return [detail.TypeName().rpartition(".")[2] for detail in failure.status.details]


@pytest.mark.parametrize(("code", "expected"), BY_CODE.items())
async def test_code_to_one_device(stage: Stage, code: int, expected: tuple[str, str, str]) -> None:
    failure, calls = await stage.fail(returned(code), android(seq=7))
    assert verdict(failure) == expected
    assert calls == (3 if expected is BUSY else 1)
    assert failure.metadata.pop("vendor_message")
    assert failure.metadata == {
        "attempts": str(calls),
        "vendor_code": str(code),
        "http_status": "200",
        "seq": "7",
        "environment": "product",
    }
    assert str(code) in failure.message
    assert details(failure) == ["ErrorInfo", *(["ResourceInfo"] if expected is TARGET else [])]


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("code", [10201, 10203])
async def test_busy_vendor_is_asked_thrice_but_for_broadcasts_once(stage: Stage, code: int, audience: str) -> None:
    failure, calls = await stage.fail(returned(code), android(**AUDIENCES[audience]))
    assert verdict(failure) == BUSY
    assert calls == (1 if audience in BROADCASTS else 3)
    assert failure.metadata["attempts"] == str(calls)


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("code", [10103, 10110, 10204, 10101, 99999])
async def test_other_codes_are_the_same_to_every_audience(stage: Stage, code: int, audience: str) -> None:
    failure, calls = await stage.fail(returned(code), android(**AUDIENCES[audience]))
    assert (verdict(failure), calls) == (BY_CODE[code], 1)
    assert ("PushResponse" in details(failure)) is (audience in LISTS)


@pytest.mark.parametrize("audience", LISTS)
@pytest.mark.parametrize("code", [10302, 10304])
async def test_list_that_failed_in_part_is_no_error(stage: Stage, code: int, audience: str) -> None:
    stage.vendor.reset()
    stage.vendor.script(returned(code, result=[0, 6]))
    response = await stage.running.push(android(**AUDIENCES[audience]))
    stage.vendor.clear_faults()
    assert (response.outcome, response.vendor_code, response.attempts) == (OUTCOME_PARTIAL, code, 1)
    assert [result.vendor_code for result in response.results] == [0, 6]
    assert stage.vendor.received == 1


@pytest.mark.parametrize(("audience", "code"), [("account_list", 10303), ("token_list", 10305)])
async def test_list_that_failed_as_a_whole_brings_its_results(stage: Stage, audience: str, code: int) -> None:
    failure, calls = await stage.fail(returned(code, result=[6, 48]), android(**AUDIENCES[audience]))
    assert (verdict(failure), calls) == (TARGET, 1)
    assert details(failure) == ["ErrorInfo", "ResourceInfo", "PushResponse"]
    assert failure.status is not None
    response, resource = PushResponse(), ResourceInfo()
    assert failure.status.details[1].Unpack(resource)
    assert failure.status.details[2].Unpack(response)
    assert (resource.resource_type, resource.resource_name) == (
        {"token_list": "device", "account_list": "account"}[audience],
        "",
    )
    assert [result.vendor_code for result in response.results] == [6, 48]


async def test_whole_list_of_thousand_that_failed_fits_into_the_trailers(stage: Stage) -> None:
    tokens = [f"sim-{number:060}" for number in range(1000)]
    failure, _ = await stage.fail(
        returned(10305, result=[6] * 1000, err_msg=f"{tokens[7]} 繁" * 200), android(token_list={"tokens": tokens})
    )
    assert verdict(failure) == TARGET
    assert failure.metadata["vendor_message"].startswith("[...] 繁[...] 繁")
    assert failure.status is not None
    response = PushResponse()
    assert failure.status.details[2].Unpack(response)
    assert 0 < len(response.results) < 1000


@pytest.mark.parametrize(("status", "expected"), BY_STATUS.items())
async def test_status_without_a_usable_body(stage: Stage, status: int, expected: tuple[str, str, str]) -> None:
    failure, calls = await stage.fail(answered(status), android())
    assert (verdict(failure), calls) == (expected, 1)
    assert failure.metadata["attempts"] == "1"
    # To a switch of protocols the HTTP library itself sees no answer.
    assert failure.metadata.get("http_status", str(status)) == str(status)


@pytest.mark.parametrize("status", [400, 401, 404, 408, 429])
async def test_code_goes_before_a_4xx_status(stage: Stage, status: int) -> None:
    failure, calls = await stage.fail(answered(status, body='{"ret_code": 10105}'), android())
    assert (verdict(failure), calls) == (BY_CODE[10105], 1)
    assert failure.metadata["http_status"] == str(status)


@pytest.mark.parametrize("status", [302, 404, 500, 503])
async def test_status_goes_before_success(stage: Stage, status: int) -> None:
    failure, calls = await stage.fail(answered(status, body='{"ret_code": 0}'), android())
    assert (verdict(failure), calls) == (BY_STATUS[status], 1)


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7), ("soon", 60), (None, 60), ("999999", 3600), ("9" * 400, 3600)]
)
@pytest.mark.asyncio(loop_scope="function")
async def test_spent_quota_says_when_and_whose_and_pauses_the_app(
    running: Running, vendor: Simulator, header: str | None, seconds: int
) -> None:
    vendor.script(answered(429, headers={} if header is None else {"Retry-After": header}))
    failure = await running.fail()
    assert (verdict(failure), vendor.received) == (BY_STATUS[429], 1)
    assert details(failure) == ["ErrorInfo", "RetryInfo", "QuotaFailure"]
    assert failure.status is not None
    retry, quota = RetryInfo(), QuotaFailure()
    assert failure.status.details[1].Unpack(retry)
    assert failure.status.details[2].Unpack(quota)
    assert retry.retry_delay.seconds == seconds
    assert [violation.subject for violation in quota.violations] == ["app:shop"]
    vendor.clear_faults()
    paused = await running.fail(timeout_s=3)
    assert (verdict(paused), vendor.received) == (BY_STATUS[429], 1)
    assert paused.status is not None
    assert paused.status.details[1].Unpack(retry)
    assert seconds - 5 < retry.retry_delay.ToMilliseconds() / 1000 <= seconds


@pytest.mark.parametrize(
    "kind",
    [Kind.CLOSE_AFTER_BODY, Kind.RESET_AFTER_BODY, Kind.HALF_BODY, Kind.GARBAGE],
)
async def test_answer_that_does_not_come_is_unknown_although_the_vendor_acted(stage: Stage, kind: Kind) -> None:
    failure, calls = await stage.fail(Fault(kind=kind, times=None), android())
    assert (verdict(failure), calls) == (UNKNOWN, 1)
    assert stage.vendor.delivered == 2


async def test_request_that_is_refused_here_never_reaches_the_vendor(stage: Stage) -> None:
    refused = {
        ("INVALID_ARGUMENT", "INVALID_REQUEST", "no"): android("t" * 65),
        ("INVALID_ARGUMENT", "UNKNOWN_APP", "no"): android(app="store"),
        ("INVALID_ARGUMENT", "MESSAGE_TOO_LARGE", "no"): android(
            android_notification={"title": "t", "content": "c" * 5000}
        ),
    }
    for expected, request in refused.items():
        failure, calls = await stage.fail(Fault(kind=Kind.HTTP, status=500), request)
        assert (verdict(failure), calls) == (expected, 0)
        assert failure.metadata == {}
        assert details(failure) == ["ErrorInfo", "BadRequest"]


async def test_no_error_quotes_the_push(stage: Stage) -> None:
    fault = returned(10103, err_msg="sim-planted: planted title, planted content", result=["sim-planted"])
    notification = {"title": "planted title", "content": "planted content"}
    failure, _ = await stage.fail(fault, android("sim-planted", android_notification=notification))
    assert failure.metadata["vendor_message"] == "[...]: [...], [...]"
    assert failure.status is not None
    assert b"planted" not in failure.status.SerializeToString()
    assert "planted" not in failure.message
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
