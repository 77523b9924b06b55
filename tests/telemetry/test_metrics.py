"""`/metrics` as Prometheus reads it, after each way a call can end."""

import asyncio
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as plain_text_to_metric_families
from prometheus_client.samples import Sample

from sidecar import __version__
from sidecar.simulator import Fault, Kind, Simulator
from sidecar.telemetry.metrics import Metrics
from tests.support.redis_server import redis_server
from tests.support.running import METHOD, Running, android
from tests.support.waiting import until

FAMILIES = {
    "rpc_server_call_duration_seconds": ("histogram", {"rpc_method", "rpc_status_code"}),
    "rpc_server_active_calls": ("gauge", {"rpc_method"}),
    "http_client_request_duration_seconds": ("histogram", {"app", "http_response_status_code"}),
    "http_client_open_connections": ("gauge", {"app", "http_connection_state"}),
    "push_sidecar_connect_duration_seconds": ("histogram", {"app"}),
    "push_sidecar_pool_wait_seconds": ("histogram", {"app"}),
    "push_sidecar_pushes": ("counter", {"app", "provider", "audience", "reason", "sent"}),
    "push_sidecar_attempt_failures": ("counter", {"app", "cause"}),
    "push_sidecar_retries": ("counter", {"app"}),
    "push_sidecar_retry_budget_left": ("gauge", {"app"}),
    "push_sidecar_late_answers": ("counter", {"app", "reason"}),
    "push_sidecar_queue_wait_seconds": ("histogram", {"app"}),
    "push_sidecar_in_flight": ("gauge", {"app"}),
    "push_sidecar_queued": ("gauge", {"app"}),
    "push_sidecar_in_flight_limit": ("gauge", {"app"}),
    "push_sidecar_queue_limit": ("gauge", {"app"}),
    "push_sidecar_pending_bytes": ("gauge", {"app"}),
    "push_sidecar_pending_limit_bytes": ("gauge", {"app"}),
    "push_sidecar_process_pending_bytes": ("gauge", set()),
    "push_sidecar_process_pending_limit_bytes": ("gauge", set()),
    "push_sidecar_request_ids": ("counter", {"app", "result"}),
    "push_sidecar_store_failures": ("counter", {"step", "kind"}),
    "push_sidecar_pacing_wait_seconds": ("histogram", {"app"}),
    "push_sidecar_vendor_slowdowns": ("counter", {"app"}),
    "push_sidecar_paused_seconds": ("gauge", {"app", "classes"}),
    "push_sidecar_quota_left": ("gauge", {"app", "classes", "limit"}),
    "push_sidecar_quota_limit": ("gauge", {"app", "classes", "limit"}),
    "push_sidecar_limiter_failures": ("counter", {"app", "kind"}),
    "push_sidecar_breaker_state": ("gauge", {"app", "host"}),
    "push_sidecar_breaker_refusals": ("counter", {"app"}),
    "push_sidecar_secret_stale": ("gauge", {"app"}),
    "push_sidecar_vendor_tls_stale": ("gauge", {"app"}),
    "push_sidecar_log_lines_dropped": ("counter", set()),
    "push_sidecar_build": ("info", {"version", "python", "grpcio"}),
    "process_cpu_seconds": ("counter", set()),
    "process_resident_memory_bytes": ("gauge", set()),
    "process_virtual_memory_bytes": ("gauge", set()),
    "process_start_time_seconds": ("gauge", set()),
    "process_open_fds": ("gauge", set()),
    "process_max_fds": ("gauge", set()),
    "push_sidecar_certificate_stale": ("gauge", {"listener"}),
    "push_sidecar_certificate_expiry_timestamp_seconds": ("gauge", {"listener"}),
}
# Of what this sidecar has not, or did not meet.
SILENT_HERE = {
    "push_sidecar_store_failures", "push_sidecar_limiter_failures", "push_sidecar_certificate_stale",
    "push_sidecar_certificate_expiry_timestamp_seconds",
}  # fmt: skip
TRACEPARENT = (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)
PUSHED = {"app": "shop", "provider": "xg", "audience": "token"}


class Scrape:
    """One scrape, parsed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Metric] = {family.name: family for family in text_string_to_metric_families(text)}

    def samples(self, name: str) -> Iterable[Sample]:
        return [sample for family in self.families.values() for sample in family.samples if sample.name == name]

    def value(self, name: str, **labels: str) -> float:
        """Return a sample's value; 0 when it is not there."""
        found = [sample.value for sample in self.samples(name) if labels.items() <= sample.labels.items()]
        assert len(found) <= 1, f"{name}{labels} is not one sample"
        return found[0] if found else 0.0


async def scrape(running: Running) -> Scrape:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{running.sidecar.admin_address}/metrics") as answer,
    ):
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        return Scrape(await answer.text())


async def test_families_have_these_names_types_and_labels(running: Running, vendor: Simulator) -> None:
    vendor.script(Fault(kind=Kind.RET_CODE, ret_code=10201))
    await running.push(android(request_id="1"))
    await running.fail(android("fault-reset-after-body"))
    await running.fail(android("fault-latency-1.4"), timeout_s=1)
    await until(lambda: b"push_sidecar_late_answers_total" in running.sidecar.metrics.exposition())
    families = (await scrape(running)).families
    assert {name: family.type for name, family in families.items()} == {
        name: kind for name, (kind, _) in FAMILIES.items()
    }
    for name, (_, labels) in FAMILIES.items():
        samples = families[name].samples
        assert samples or name in SILENT_HERE, name
        for sample in samples:
            assert set(sample.labels) - {"le"} == labels, name
        assert families[name].documentation


async def test_names_of_families_end_with_their_units(running: Running) -> None:
    families = (await scrape(running)).families
    ours = {name: family for name, family in families.items() if not name.startswith("process_")}
    timed = {name for name in ours if name.endswith("_seconds")}
    assert len(timed) == 8
    assert {name for name, family in ours.items() if family.unit == "seconds"} == timed
    sized = {name for name in ours if name.endswith("_bytes")}
    assert len(sized) == 4
    assert {name for name, family in ours.items() if family.unit == "bytes"} == sized
    assert {name for name, family in ours.items() if family.unit not in {"", "seconds", "bytes"}} == set()


async def test_status_that_nobody_registered_is_no_label_of_its_own(running: Running, vendor: Simulator) -> None:
    for status in (299, 298, 418, 499, 520, 599):
        vendor.clear_faults()
        vendor.script(Fault(kind=Kind.HTTP, status=status))
        await running.fail()
    labels = {
        sample.labels["http_response_status_code"]
        for sample in (await scrape(running)).samples("http_client_request_duration_seconds_count")
    }
    assert labels == {"2xx", "418", "4xx", "5xx"}


async def test_success_is_counted(running: Running) -> None:
    await running.push()
    await running.push()
    seen = await scrape(running)
    assert seen.value("push_sidecar_pushes_total", **PUSHED, reason="OK", sent="yes") == 2
    rpc = {"rpc_method": METHOD, "rpc_status_code": "OK"}
    assert seen.value("rpc_server_call_duration_seconds_count", **rpc) == 2
    assert seen.value("rpc_server_call_duration_seconds_bucket", **rpc, le="30.0") == 2
    assert 0 < seen.value("rpc_server_call_duration_seconds_sum", **rpc) < 5
    vendor_call = {"app": "shop", "http_response_status_code": "200"}
    assert seen.value("http_client_request_duration_seconds_count", **vendor_call) == 2
    assert seen.value("push_sidecar_retries_total", app="shop") == 0
    assert seen.value("push_sidecar_in_flight", app="shop") == 0


async def test_failure_is_counted_by_reason_and_by_what_was_sent(running: Running) -> None:
    await running.fail(android("fault-http-503"))
    await running.fail(android("unknown-device"))
    await running.fail(android(""))
    seen = await scrape(running)
    assert seen.value("push_sidecar_pushes_total", **PUSHED, reason="OUTCOME_UNKNOWN", sent="maybe") == 1
    assert seen.value("push_sidecar_pushes_total", **PUSHED, reason="TARGET_UNKNOWN", sent="no") == 1
    assert seen.value("push_sidecar_pushes_total", **PUSHED, reason="INVALID_REQUEST", sent="no") == 1
    for code in ("UNKNOWN", "NOT_FOUND", "INVALID_ARGUMENT"):
        assert seen.value("rpc_server_call_duration_seconds_count", rpc_status_code=code) == 1
    assert seen.value("http_client_request_duration_seconds_count", http_response_status_code="503") == 1


async def test_call_without_an_answer_has_status_0_and_its_cause(running: Running, vendor: Simulator) -> None:
    await running.fail(android("fault-reset-after-body"))
    seen = await scrape(running)
    assert seen.value("http_client_request_duration_seconds_count", app="shop", http_response_status_code="0") == 1
    assert seen.value("push_sidecar_attempt_failures_total", app="shop", cause="connection_lost") == 1
    await vendor.refuse_connections()
    assert (await running.fail()).reason == "NOT_SENT"
    seen = await scrape(running)
    assert seen.value("push_sidecar_attempt_failures_total", app="shop", cause="connect") == 3
    assert seen.value("push_sidecar_retries_total", app="shop") == 2
    assert seen.value("push_sidecar_pushes_total", **PUSHED, reason="NOT_SENT", sent="no") == 1


async def test_retry_is_counted(running: Running, vendor: Simulator) -> None:
    vendor.script(Fault(kind=Kind.RET_CODE, ret_code=10203))
    assert (await running.push()).attempts == 2
    seen = await scrape(running)
    assert seen.value("push_sidecar_retries_total", app="shop") == 1
    assert seen.value("push_sidecar_pushes_total", **PUSHED, reason="OK", sent="yes") == 1
    assert seen.value("http_client_request_duration_seconds_count", app="shop") == 2


async def test_overload_and_the_queue_are_seen(start_sidecar: Callable[..., Any], vendor: Simulator) -> None:
    running: Running = await start_sidecar(app={"max_in_flight": 1, "max_queue": 1})
    first = asyncio.create_task(running.push(android("fault-latency-1")))
    await until(lambda: vendor.received == 1)
    second = asyncio.create_task(running.push())
    while (await scrape(running)).value("push_sidecar_queued", app="shop") < 1:
        pass
    failure = await running.fail()
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    during = await scrape(running)
    assert during.value("push_sidecar_in_flight", app="shop") == 1
    await asyncio.gather(first, second)
    after = await scrape(running)
    assert after.value("push_sidecar_pushes_total", **PUSHED, reason="OVERLOADED", sent="no") == 1
    assert after.value("push_sidecar_queued", app="shop") == 0
    assert after.value("push_sidecar_in_flight", app="shop") == 0
    assert after.value("push_sidecar_queue_wait_seconds_sum", app="shop") > 0.1


async def test_late_answer_is_counted_by_what_it_meant(running: Running) -> None:
    await running.fail(android("fault-latency-1.4"), timeout_s=1)
    failed_late = android("fault-http-502:late")
    failed_late.token = "fault-latency-1.4:second"
    await running.fail(failed_late, timeout_s=1)
    answer = 'push_sidecar_late_answers_total{app="shop",reason="OK"} 2.0'
    await until(lambda: answer in running.sidecar.metrics.exposition().decode())
    seen = await scrape(running)
    assert seen.value("push_sidecar_pushes_total", **PUSHED, reason="DEADLINE", sent="maybe") == 2


async def test_calls_that_are_being_served_are_seen(running: Running, vendor: Simulator) -> None:
    pushing = asyncio.create_task(running.push(android("fault-latency-1")))
    await until(lambda: vendor.received == 1)
    assert (await scrape(running)).value("rpc_server_active_calls", rpc_method=METHOD) == 1
    await pushing
    assert (await scrape(running)).value("rpc_server_active_calls", rpc_method=METHOD) == 0


async def test_connections_are_seen_in_use_and_idle(running: Running, vendor: Simulator) -> None:
    async def connections() -> tuple[float, float]:
        seen = await scrape(running)
        active, idle = (
            seen.value("http_client_open_connections", app="shop", http_connection_state=state)
            for state in ("active", "idle")
        )
        return active, idle

    assert await connections() == (0, 0)
    pushing = [asyncio.create_task(running.push(android(f"fault-latency-0.4:{number}"))) for number in range(2)]
    await until(lambda: vendor.received == 2)
    assert await connections() == (2, 0)
    await asyncio.gather(*pushing)
    assert await connections() == (0, 2)
    await running.push()
    seen = await scrape(running)
    assert seen.value("push_sidecar_connect_duration_seconds_count", app="shop") == 2
    assert seen.value("push_sidecar_connect_duration_seconds_sum", app="shop") > 0
    assert seen.value("push_sidecar_pool_wait_seconds_count", app="shop") == 0


async def test_limits_are_beside_what_they_limit(start_sidecar: Callable[..., Any]) -> None:
    seen = await scrape(
        await start_sidecar(
            app={
                "max_in_flight": 7,
                "max_queue": 9,
                "max_pending_bytes": 6000,
                "quotas": {"list+tag": "5/minute; 20/day"},
            },
            server={"max_message_bytes": 2000, "max_pending_bytes": 7000},
        )
    )
    assert seen.value("push_sidecar_pending_limit_bytes", app="shop") == 6000
    assert seen.value("push_sidecar_process_pending_limit_bytes") == 7000
    assert seen.value("push_sidecar_in_flight_limit", app="shop") == 7
    assert seen.value("push_sidecar_queue_limit", app="shop") == 9
    assert seen.value("push_sidecar_quota_limit", app="shop", classes="list+tag", limit="5/minute") == 5
    assert seen.value("push_sidecar_quota_limit", app="shop", classes="list+tag", limit="20/day") == 20


async def test_what_is_left_of_a_quota_is_seen_without_being_used(start_sidecar: Callable[..., Any]) -> None:
    running: Running = await start_sidecar(app={"quotas": {"single": "3/hour; 7/day", "list": "2/hour"}})
    for left in (3, 2, 1, 0):
        for _ in range(2):  # looking costs nothing
            seen = await scrape(running)
            assert seen.value("push_sidecar_quota_left", app="shop", classes="single", limit="3/hour") == left
            assert seen.value("push_sidecar_quota_left", app="shop", classes="single", limit="7/day") == 4 + left
        await (running.push() if left else running.fail())
    assert seen.value("push_sidecar_quota_left", app="shop", classes="list", limit="2/hour") == 2


async def test_what_is_left_of_a_quota_is_not_known_while_it_cannot_be_counted(
    start_sidecar: Callable[..., Any], tmp_path: Path
) -> None:
    with redis_server(tmp_path) as server:
        running: Running = await start_sidecar(
            app={"quotas": {"single": "3/hour"}},
            pacing={"storage": "redis"},
            redis={"url": server.url, "timeout_s": 0.5},
        )
        quota = {"app": "shop", "classes": "single", "limit": "3/hour"}
        await running.push()
        assert (await scrape(running)).value("push_sidecar_quota_left", **quota) == 2
        server.stop()
        assert math.isnan((await scrape(running)).value("push_sidecar_quota_left", **quota))


async def test_scrape_does_not_wait_for_what_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.telemetry.metrics.REFRESH_TIMEOUT_S", 0.01)
    metrics = Metrics("1")
    was_cut_short = False

    async def hang() -> None:
        nonlocal was_cut_short
        try:
            await asyncio.Event().wait()
        finally:
            was_cut_short = True

    metrics.before_scrape.append(hang)
    body, _ = await metrics.scrape()
    assert b"push_sidecar_build_info{" in body
    assert was_cut_short


async def test_retry_takes_from_the_budget_that_is_seen(running: Running, vendor: Simulator) -> None:
    assert (await scrape(running)).value("push_sidecar_retry_budget_left", app="shop") == 10
    vendor.script(Fault(kind=Kind.RET_CODE, ret_code=10203))
    await running.push()
    assert (await scrape(running)).value("push_sidecar_retry_budget_left", app="shop") == 9


async def test_build_is_named(running: Running) -> None:
    (build,) = (await scrape(running)).samples("push_sidecar_build_info")
    assert build.labels["version"] == __version__
    assert build.labels["python"] == ".".join(map(str, sys.version_info[:3]))
    assert build.labels["grpcio"] == grpc.__version__


async def test_labels_hold_nothing_that_a_caller_makes_up(running: Running) -> None:
    for number in range(25):
        await running.fail(android(app=f"made-up-{number}", stat_tag=f"stat-{number}"))
        await running.push(android(f"sim-planted-token-{number}", seq=number, stat_tag=f"stat-{number}"))
    seen = await scrape(running)
    for planted in ("made-up", "planted-token", "stat-", "title"):
        assert planted not in seen.text
    pushes = list(seen.samples("push_sidecar_pushes_total"))
    assert {(sample.labels["app"], sample.labels["reason"]) for sample in pushes} == {
        ("", "UNKNOWN_APP"),
        ("shop", "OK"),
    }
    assert seen.value("push_sidecar_pushes_total", app="", reason="UNKNOWN_APP") == 25


async def test_sampled_call_leaves_an_exemplar_of_its_trace(running: Running) -> None:
    await running.push(metadata=TRACEPARENT)
    seen = await scrape(running)
    for name in (
        "rpc_server_call_duration_seconds_bucket",
        "http_client_request_duration_seconds_bucket",
        "push_sidecar_pushes_total",
    ):
        exemplars = [sample.exemplar for sample in seen.samples(name) if sample.exemplar]
        assert [exemplar.labels for exemplar in exemplars] == [{"trace_id": "0af7651916cd43dd8448eb211c80319c"}]


@pytest.mark.parametrize(
    "metadata", [(), (("push-sidecar-trace", "1"),), ((TRACEPARENT[0][0], TRACEPARENT[0][1][:-2] + "00"),)]
)
async def test_call_that_is_not_sampled_leaves_no_exemplar(
    running: Running, metadata: tuple[tuple[str, str], ...]
) -> None:
    await running.push(metadata=metadata)
    seen = await scrape(running)
    assert not [sample for family in seen.families.values() for sample in family.samples if sample.exemplar]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("*/*", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
async def test_exemplars_are_in_openmetrics_alone(running: Running, accept: str, content_type: str) -> None:
    await running.push(metadata=TRACEPARENT)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{running.sidecar.admin_address}/metrics", headers={"accept": accept}) as answer,
    ):
        text = await answer.text()
        assert answer.headers["content-type"] == content_type
    is_openmetrics = "openmetrics" in content_type
    assert ("trace_id" in text) is is_openmetrics
    assert text.endswith("# EOF\n") is is_openmetrics
    parse = text_string_to_metric_families if is_openmetrics else plain_text_to_metric_families
    assert "rpc_server_call_duration_seconds" in {family.name for family in parse(text)}


def test_every_sidecar_has_its_own_registry() -> None:
    one, other = Metrics("1"), Metrics("2")
    one.retries.labels("shop").inc()
    assert b'push_sidecar_retries_total{app="shop"} 1.0' in one.exposition()
    assert b"push_sidecar_retries_total" not in other.exposition()
