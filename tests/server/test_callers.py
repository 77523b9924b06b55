"""Who calls, by certificate or by socket; which apps he may use, at what rate; and whose request ids are whose."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from pushsidecar.xg.v1 import PushRequest
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.app import problems_of
from sidecar.simulator import Simulator
from tests.conftest import Configure, StartSidecar
from tests.support.certificates import Authority, Leaf
from tests.support.failures import Failure, failure_of
from tests.support.running import Running, android


async def failure(stub: PushServiceStub, request: PushRequest | None = None) -> Failure:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.Push(request or android(), timeout=10)
    return failure_of(failed.value)


@asynccontextmanager
async def at(running: Running, listener: str) -> AsyncIterator[PushServiceStub]:
    """Call through a listener."""
    options = (("grpc.enable_retries", 0),)
    async with grpc.aio.insecure_channel(running.sidecar.grpc_addresses[listener], options) as channel:
        yield PushServiceStub(channel)


@pytest.fixture
def sockets(tmp_path: Path) -> Mapping[str, Any]:
    """Give two sockets, for `orders` and `billing`."""
    return {name: {"listen": f"unix:{tmp_path / name}.sock"} for name in ("orders", "billing")}


async def test_without_callers_anybody_may_use_every_app(running: Running) -> None:
    assert (await running.push(android(app="shop"))).attempts == 1


async def test_caller_of_a_socket_may_use_his_apps_and_no_others(
    start_sidecar: StartSidecar, sockets: Mapping[str, Any], vendor: Simulator
) -> None:
    running = await start_sidecar(
        apps={"news": {}},
        listeners=sockets,
        callers={"orders": {"listener": "orders", "apps": ["shop"]}, "billing": {"listener": "billing"}},
    )
    async with at(running, "orders") as orders, at(running, "billing") as billing:
        assert (await orders.Push(android(app="shop"), timeout=10)).attempts == 1
        refused = await failure(orders, android(app="news"))
        assert (refused.code.name, refused.reason, refused.sent) == ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED", "no")
        assert "orders" in refused.message
        for app in ("shop", "news"):
            assert (await billing.Push(android(app=app), timeout=10)).attempts == 1
    assert vendor.received == 3


async def test_who_is_nobody_is_refused_on_every_other_listener(
    start_sidecar: StartSidecar, sockets: Mapping[str, Any], vendor: Simulator
) -> None:
    running = await start_sidecar(listeners=sockets, callers={"orders": {"listener": "orders"}})
    for listener in ("default", "billing"):
        async with at(running, listener) as nobody:
            refused = await failure(nobody)
            assert (refused.code.name, refused.reason, refused.sent) == (
                "PERMISSION_DENIED",
                "CALLER_NOT_ALLOWED",
                "no",
            )
    assert vendor.received == 0
    metrics = running.sidecar.metrics.exposition().decode()
    assert 'reason="CALLER_NOT_ALLOWED"' in metrics


async def test_empty_app_is_the_only_one_that_the_caller_may_use(
    start_sidecar: StartSidecar, sockets: Mapping[str, Any]
) -> None:
    running = await start_sidecar(
        apps={"news": {}},
        listeners=sockets,
        callers={"orders": {"listener": "orders", "apps": ["shop"]}, "billing": {"listener": "billing"}},
    )
    async with at(running, "orders") as orders, at(running, "billing") as billing:
        assert (await orders.Push(android(), timeout=10)).attempts == 1
        assert (await failure(billing)).reason == "UNKNOWN_APP"


async def test_rate_of_a_caller_is_his_alone_and_tells_how_long_to_wait(
    start_sidecar: StartSidecar, sockets: Mapping[str, Any], vendor: Simulator
) -> None:
    running = await start_sidecar(
        listeners=sockets,
        callers={"orders": {"listener": "orders", "rate": "2/hour"}, "billing": {"listener": "billing"}},
    )
    async with at(running, "orders") as orders, at(running, "billing") as billing:
        for _ in range(2):
            await orders.Push(android(), timeout=10)
        refused = await failure(orders)
        assert (refused.code.name, refused.reason, refused.sent) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "no")
        assert refused.status is not None
        retry, quota = error_details_pb2.RetryInfo(), error_details_pb2.QuotaFailure()
        assert refused.status.details[1].Unpack(retry)
        assert refused.status.details[2].Unpack(quota)
        assert [violation.subject for violation in quota.violations] == ["caller:orders"]
        assert 3500 < retry.retry_delay.ToSeconds() <= 3600
        await billing.Push(android(), timeout=10)
    assert vendor.received == 3


async def test_request_ids_of_two_callers_are_two(
    start_sidecar: StartSidecar, sockets: Mapping[str, Any], vendor: Simulator
) -> None:
    running = await start_sidecar(
        listeners=sockets, callers={name: {"listener": name} for name in ("orders", "billing")}
    )
    async with at(running, "orders") as orders, at(running, "billing") as billing:
        request = android(request_id="1")
        assert not (await orders.Push(request, timeout=10)).replayed
        assert (await orders.Push(request, timeout=10)).replayed
        assert not (await billing.Push(android("sim-2", request_id="1"), timeout=10)).replayed
    assert vendor.received == 2


@asynccontextmanager
async def with_certificate(running: Running, authority: Authority, leaf: Leaf) -> AsyncIterator[PushServiceStub]:
    credentials = grpc.ssl_channel_credentials(
        authority.ca_file.read_bytes(), leaf.key_file.read_bytes(), leaf.cert_file.read_bytes()
    )
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
    async with grpc.aio.secure_channel(running.sidecar.grpc_address, credentials, options) as channel:
        yield PushServiceStub(channel)


async def test_certificate_names_the_caller_by_any_of_its_names(
    start_sidecar: StartSidecar, tmp_path: Path, vendor: Simulator
) -> None:
    authority = Authority(tmp_path)
    leaf = authority.leaf()
    tls = {
        "cert_file": str(leaf.cert_file), "key_file": str(leaf.key_file), "client_ca_file": str(authority.ca_file)
    }  # fmt: skip
    running = await start_sidecar(
        apps={"news": {}},
        server={"listen": "127.0.0.1:0", "tls": tls},
        callers={
            "orders": {"san": ["spiffe://example/orders"], "apps": ["shop"]},
            "billing": {"san": ["billing.example", "10.1.2.3"], "apps": ["news"]},
        },
    )
    known = [("spiffe://example/orders", "shop"), ("billing.example", "news"), ("10.1.2.3", "news")]
    for name, app in known:
        async with with_certificate(running, authority, authority.leaf("other.example", name)) as stub:
            assert (await stub.Push(android(app=app), timeout=10)).attempts == 1
            other = {"shop": "news", "news": "shop"}[app]
            assert (await failure(stub, android(app=other))).reason == "CALLER_NOT_ALLOWED"
    for name in ("spiffe://example/order", "BILLING.EXAMPLE.org", "orders"):
        async with with_certificate(running, authority, authority.leaf(name)) as stub:
            assert (await failure(stub)).reason == "CALLER_NOT_ALLOWED"
    assert vendor.received == len(known)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"a": {}}, "callers.a: exactly one of san and listener says who it is"),
    "both": ({"a": {"san": ["x"], "listener": "orders"}}, "callers.a: exactly one of san and listener says who it is"),
    "no-mutual-tls": ({"a": {"san": ["x"]}}, "callers.a.san: needs a listener with tls.client_ca_file"),
    "no-such-listener": (
        {"a": {"listener": "web"}},
        "callers.a.listener: web is no listener: they are billing, default, orders",
    ),
    "tcp": ({"a": {"listener": "default"}}, "callers.a.listener: default is no unix socket, so anybody may reach it"),
    "twice": (
        {"a": {"listener": "orders"}, "b": {"listener": "orders"}},
        "callers.b: listener orders names a already",
    ),
    "no-such-app": (
        {"a": {"listener": "orders", "apps": ["shop", "news"]}},
        "callers.a.apps: news is no app: they are shop",
    ),
    "rate": (
        {"a": {"listener": "orders", "rate": "often"}},
        "callers.a.rate: must be one limit, such as 30/hour or 5 per 2 seconds",
    ),
}


@pytest.mark.parametrize(("callers", "said"), WRONG.values(), ids=WRONG)
def test_caller_that_cannot_be_known_refuses_to_start(
    configure: Configure, sockets: Mapping[str, Any], callers: dict[str, Any], said: str
) -> None:
    assert problems_of(configure(listeners=sockets, callers=callers), {}) == [said]
