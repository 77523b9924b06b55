"""Who calls, by certificate or by socket; which apps he may use, at what rate; and whose request ids are whose."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from google.rpc import error_details_pb2

from pushsidecar.xg.v1 import PushRequest
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.app import problems_of
from sidecar.simulator import Simulator
from tests.conftest import Configure, StartSidecar
from tests.support.certificates import Authority, Leaf, names_der
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


@pytest.fixture
async def two_apps(start_sidecar: StartSidecar, sockets: Mapping[str, Any]) -> Running:
    """Give a sidecar of two apps, of which `orders` may use one, and `billing` both."""
    return await start_sidecar(
        apps={"news": {}},
        listeners=sockets,
        callers={"orders": {"listener": "orders", "apps": ["shop"]}, "billing": {"listener": "billing"}},
    )


async def test_without_callers_anybody_may_use_every_app(running: Running) -> None:
    assert (await running.push(android(app="shop"))).attempts == 1


async def test_caller_of_a_socket_may_use_his_apps_and_no_others(two_apps: Running, vendor: Simulator) -> None:
    running = two_apps
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


async def test_empty_app_is_the_only_one_that_the_caller_may_use(two_apps: Running) -> None:
    running = two_apps
    async with at(running, "orders") as orders, at(running, "billing") as billing:
        assert (await orders.Push(android(), timeout=10)).attempts == 1
        assert (await failure(billing)).reason == "UNKNOWN_APP"


async def test_rate_of_a_caller_is_his_alone_and_tells_how_long_to_wait(
    start_sidecar: StartSidecar, sockets: Mapping[str, Any], vendor: Simulator
) -> None:
    running = await start_sidecar(
        listeners=sockets,
        callers={name: {"listener": name, "rate": "2/hour"} for name in ("orders", "billing")},
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
        assert 1700 < retry.retry_delay.ToSeconds() <= 1800
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


class Mutual:
    """Sidecars with mutual TLS, and the authority of everybody."""

    def __init__(self, start: StartSidecar, directory: Path) -> None:
        self._start = start
        self.authority = Authority(directory)
        leaf = self.authority.leaf()
        self.tls = {
            "cert_file": str(leaf.cert_file),
            "key_file": str(leaf.key_file),
            "client_ca_file": str(self.authority.ca_file),
        }

    async def start(self, **sections: Any) -> Running:
        return await self._start(server={"listen": "127.0.0.1:0", "tls": self.tls}, **sections)


@pytest.fixture
def mutual(start_sidecar: StartSidecar, tmp_path: Path) -> Mutual:
    return Mutual(start_sidecar, tmp_path)


@asynccontextmanager
async def with_certificate(
    running: Running, authority: Authority, leaf: Leaf, *, listener: str = "default"
) -> AsyncIterator[PushServiceStub]:
    credentials = grpc.ssl_channel_credentials(
        authority.ca_file.read_bytes(), leaf.key_file.read_bytes(), leaf.cert_file.read_bytes()
    )
    address = running.sidecar.grpc_addresses[listener]
    # A socket's path is no host name.
    name = [("grpc.ssl_target_name_override", "localhost")] if address.startswith("unix:") else []
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), *name]
    async with grpc.aio.secure_channel(address, credentials, options) as channel:
        yield PushServiceStub(channel)


async def test_certificate_names_the_caller_by_any_of_its_names(mutual: Mutual, vendor: Simulator) -> None:
    authority = mutual.authority
    running = await mutual.start(
        apps={"news": {}},
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


def dns(name: str) -> x509.GeneralName:
    return x509.DNSName(name)


URI = x509.UniformResourceIdentifier
# Names of another kind that read like a caller's, or more than one of a kind of which there may be one.
PRETENDERS: dict[str, list[x509.GeneralName]] = {
    "dns-for-uri": [dns("spiffe://example/orders")],
    "email-for-uri": [x509.RFC822Name("spiffe://example/orders")],
    "email-for-dns": [x509.RFC822Name("billing.example")],
    "uri-for-dns": [URI("billing.example")],
    "dns-for-ip": [dns("10.1.2.3")],
    "two-uris": [URI("spiffe://example/other"), URI("spiffe://example/orders")],
    "two-uris-beside-a-dns-name": [URI("spiffe://example/a"), URI("spiffe://example/b"), dns("billing.example")],
    "wildcard": [dns("*.example")],
    "nul-in-a-uri": [URI("spiffe://example/orders\0.evil")],
    "nul-in-a-dns-name": [dns("billing.example\0.evil.example")],
    "nul-beside-a-good-name": [dns("billing.example"), x509.RFC822Name("a@evil.example\0")],
}


@pytest.mark.parametrize("names", PRETENDERS.values(), ids=PRETENDERS)
async def test_name_of_another_kind_is_nobodys(mutual: Mutual, names: list[x509.GeneralName]) -> None:
    running = await mutual.start(callers={"any": {"san": ["spiffe://example/orders", "billing.example", "10.1.2.3"]}})
    async with with_certificate(running, mutual.authority, mutual.authority.leaf(*names)) as stub:
        assert (await failure(stub)).reason == "CALLER_NOT_ALLOWED"
    for name in ("spiffe://example/orders", "Billing.Example", "10.1.2.3"):
        async with with_certificate(running, mutual.authority, mutual.authority.leaf(name)) as stub:
            assert (await stub.Push(android(), timeout=10)).attempts == 1


async def test_names_that_cannot_be_read_are_nobodys(mutual: Mutual) -> None:
    running = await mutual.start(callers={"any": {"san": ["billing.example"]}})
    kelvin = "bil\N{KELVIN SIGN}ing.example".encode()
    for der in (names_der((2, kelvin), (2, b"billing.example")), names_der((2, b"\xff"), (2, b"billing.example"))):
        async with with_certificate(running, mutual.authority, mutual.authority.leaf(names_der=der)) as stub:
            told = await failure(stub)
        assert (told.code.name, told.reason, told.sent) == ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED", "no")
        assert "the caller's certificate has" in told.message


async def test_certificate_counts_only_on_the_listener_that_is_named(mutual: Mutual, tmp_path: Path) -> None:
    (tmp_path / "partner").mkdir()
    partner = Authority(tmp_path / "partner")
    listeners = {"partner": {"listen": "127.0.0.1:0", "tls": {**mutual.tls, "client_ca_file": str(partner.ca_file)}}}
    running = await mutual.start(
        listeners=listeners, callers={"billing": {"san": ["billing.example"], "listener": "default"}}
    )
    own, theirs = mutual.authority.leaf("billing.example"), partner.leaf("billing.example")
    async with with_certificate(running, mutual.authority, own) as stub:
        assert (await stub.Push(android(), timeout=10)).attempts == 1
    async with with_certificate(running, mutual.authority, theirs, listener="partner") as stub:
        assert (await failure(stub)).reason == "CALLER_NOT_ALLOWED"


async def test_certificate_that_expires_ends_what_its_connection_may(mutual: Mutual) -> None:
    """GRPC looks at it when a connection is made, and not when a TLS session is taken up again."""
    running = await mutual.start(callers={"billing": {"san": ["billing.example"]}})
    leaf = mutual.authority.leaf("billing.example", lives_s=2)
    async with with_certificate(running, mutual.authority, leaf) as stub:
        assert (await stub.Push(android(), timeout=10)).attempts == 1
        async with asyncio.timeout(20):
            while True:
                try:
                    await stub.Push(android(), timeout=10)
                except grpc.aio.AioRpcError as refused:
                    told = failure_of(refused)
                    break
                await asyncio.sleep(0.05)
    assert (told.reason, "expired" in told.message) == ("CALLER_NOT_ALLOWED", True)


async def test_certificate_says_more_than_the_socket(mutual: Mutual, tmp_path: Path) -> None:
    listeners = {"orders": {"listen": f"unix:{tmp_path / 'orders.sock'}", "tls": mutual.tls}}
    running = await mutual.start(
        apps={"news": {}},
        listeners=listeners,
        callers={
            "orders": {"listener": "orders", "apps": ["shop"]},
            "billing": {"san": ["billing.example"], "apps": ["news"]},
        },
    )
    for name, app, other in (("billing.example", "news", "shop"), ("other.example", "shop", "news")):
        leaf = mutual.authority.leaf(name)
        async with with_certificate(running, mutual.authority, leaf, listener="orders") as stub:
            assert (await stub.Push(android(app=app), timeout=10)).attempts == 1
            assert (await failure(stub, android(app=other))).reason == "CALLER_NOT_ALLOWED"


async def test_caller_without_apps_may_use_none(start_sidecar: StartSidecar, sockets: Mapping[str, Any]) -> None:
    running = await start_sidecar(listeners=sockets, callers={"orders": {"listener": "orders", "apps": []}})
    async with at(running, "orders") as orders:
        assert (await failure(orders, android(app="shop"))).reason == "CALLER_NOT_ALLOWED"
        assert (await failure(orders)).reason == "UNKNOWN_APP"


async def test_refusal_names_caller_and_app_to_the_operator(
    start_sidecar: StartSidecar, sockets: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    running = await start_sidecar(apps={"news": {}}, listeners=sockets, callers={
        "orders": {"listener": "orders", "apps": ["shop"]},
    })  # fmt: skip
    with caplog.at_level(logging.INFO):
        async with at(running, "orders") as orders:
            await failure(orders, android(app="news"))
    (line,) = [record for record in caplog.records if record.message == "push failed"]
    assert (line.caller, line.app, line.reason) == ("orders", "news", "CALLER_NOT_ALLOWED")
    metrics = running.sidecar.metrics.exposition().decode()
    assert 'push_sidecar_pushes_total{app="news",audience="token",provider="xg",reason="CALLER_NOT_ALLOWED"' in metrics


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"a": {}}, "callers.a: san or listener must say who it is"),
    "no-mutual-tls-there": (
        {"a": {"san": ["x"], "listener": "orders"}},
        "callers.a.san: needs a listener with tls.client_ca_file",
    ),
    "no-name-of-a-certificate": (
        {"a": {"san": ["b\u00fccher.example"]}},
        "callers.a.san: must be printable ASCII, as the names of a certificate are",
    ),
    "no-mutual-tls": ({"a": {"san": ["x"]}}, "callers.a.san: needs a listener with tls.client_ca_file"),
    "no-such-listener": (
        {"a": {"listener": "web"}},
        "callers.a.listener: web is no listener: they are billing, default, orders",
    ),
    "tcp": ({"a": {"listener": "default"}}, "callers.a.listener: default is no unix socket, so anybody may reach it"),
    "twice": (
        {"a": {"listener": "orders"}, "b": {"listener": "orders"}},
        "callers.b: the listener orders names a already",
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
