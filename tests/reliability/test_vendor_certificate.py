"""A whole sidecar whose vendor's CA is rotated, or whose vendor demands a client certificate."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import StartSidecar
from tests.support.certificates import Authority, Leaf
from tests.support.hand_tls import CLIENT_REFUSED, HandTls
from tests.support.raw_server import RawConnection, RawServer, serve_forever, serving
from tests.support.running import Running, android
from tests.support.waiting import until, until_metric

ANSWER = b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"ret_code":0}'


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(made(tmp_path / "ca"))


@pytest.fixture
def following(tmp_path: Path) -> Authority:
    """Return the authority of after a rotation."""
    return Authority(made(tmp_path / "following"))


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def settings(port: int, ca_file: Path, shown: Leaf | None = None) -> dict[str, Any]:
    """Return an app of a vendor on a port, which is soon tried again."""
    files = {} if shown is None else {"client_cert_file": str(shown.cert_file), "client_key_file": str(shown.key_file)}
    retry = {"max_attempts": 3, "initial_backoff_s": 0.001, "max_backoff_s": 0.001, "budget_ratio": 1.0}
    return {"base_url": f"https://127.0.0.1:{port}", "ca_file": str(ca_file), "retry": retry, **files}


async def status_of(running: Running) -> dict[str, Any]:
    url = f"http://{running.sidecar.admin_address}/statusz"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return dict((await answer.json())["apps"]["shop"])


class Vendor:
    """A vendor whose certificate can be exchanged for the connections that come from then on."""

    def __init__(self, server: RawServer, front: ssl.SSLContext) -> None:
        self.server = server
        self._front = front

    def show(self, context: ssl.SSLContext) -> None:
        def choose(tls: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            tls.context = context

        self._front.sni_callback = choose


@asynccontextmanager
async def vendor_of(authority: Authority) -> AsyncIterator[Vendor]:
    front = authority.server_context()
    async with serving(serve_forever, front) as server:
        yield Vendor(server, front)


@pytest.mark.parametrize("way", ["interval", "asked"])
async def test_rotated_ca_is_for_new_connections_and_old_ones_stay(
    way: str, start_sidecar: StartSidecar, tmp_path: Path, authority: Authority, following: Authority
) -> None:
    ca_file = tmp_path / "mounted.pem"
    ca_file.write_bytes(authority.ca_file.read_bytes())
    async with AsyncExitStack() as stack:
        vendor = await stack.enter_async_context(vendor_of(authority))
        interval_s = 0.01 if way == "interval" else 3600
        running = await start_sidecar(
            app=settings(vendor.server.port, ca_file), secrets={"reload_interval_s": interval_s}
        )
        stale = 'push_sidecar_vendor_tls_stale{app="shop"} '
        admin = running.sidecar.admin_address

        def look() -> None:
            if way == "asked":
                running.sidecar.look_again()

        await running.push()
        assert (await status_of(running))["vendor_tls"] == "fresh"

        ca_file.write_text("-----BEGIN CERTIFICATE-----\nhalf")
        look()
        await until_metric(admin, f"{stale}1.0")
        assert (await status_of(running))["vendor_tls"] == "stale"
        await running.push()
        vendor.server.connections[0].close()
        await vendor.server.wait_all_closed()
        await running.push()
        assert len(vendor.server.connections) == 2, "the last good CA is for new connections, too"

        vendor.show(following.server_context())
        (tmp_path / "new.pem").write_bytes(following.ca_file.read_bytes())
        (tmp_path / "new.pem").rename(ca_file)
        look()
        await until_metric(admin, f"{stale}0.0")
        await running.push()
        assert len(vendor.server.connections) == 2, "the connection of before the rotation stays"
        vendor.server.connections[1].close()
        await vendor.server.wait_all_closed()
        await running.push()
        assert len(vendor.server.connections) == 3
        assert len(vendor.server.requests) == 5


async def test_app_without_a_ca_file_has_nothing_to_be_stale(start_sidecar: StartSidecar) -> None:
    running = await start_sidecar(app={"ca_file": None})
    assert "vendor_tls" not in await status_of(running)


class Demanding:
    """A vendor that demands a certificate while `is_strict`, and answers whoever it has let in."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self.is_strict = True
        self.refused = 0
        self.pushes = 0

    async def __call__(self, connection: RawConnection) -> None:
        context = self._authority.demanding_context() if self.is_strict else self._authority.server_context()
        try:
            end = await HandTls.accept(connection, context, tickets=2)
        except ssl.SSLError:
            self.refused += 1
            raise
        while await end.read():
            self.pushes += 1
            await end.send(ANSWER)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_id_of_a_push_that_the_vendor_refused_to_read_is_free_again(
    store: str, start_sidecar: StartSidecar, tmp_path: Path, authority: Authority
) -> None:
    vendor = Demanding(authority)
    async with serving(vendor) as server:
        running = await start_sidecar(
            app=settings(server.port, authority.ca_file),
            idempotency={"store": store, **({"sqlite_file": str(tmp_path / "ids.db")} if store == "sqlite" else {})},
        )
        request = android(request_id="id-1")
        failure = await running.fail(request)
        assert (failure.code.name, failure.reason, failure.sent) == ("UNAVAILABLE", "NOT_SENT", "no")
        assert (failure.metadata["attempts"], vendor.refused) == ("3", 3)
        await until_metric(
            running.sidecar.admin_address, 'push_sidecar_attempt_failures_total{app="shop",cause="tls"} 3.0'
        )
        vendor.is_strict = False
        response = await running.push(request)
        assert (response.replayed, vendor.pushes) == (False, 1)
        assert (await running.push(request)).replayed
        assert vendor.pushes == 1


async def test_id_of_a_caller_that_did_not_wait_for_the_refusal_is_free_again(
    start_sidecar: StartSidecar, authority: Authority
) -> None:
    is_refusing, may_refuse = asyncio.Event(), asyncio.Event()
    pushes = 0

    async def script(connection: RawConnection) -> None:
        nonlocal pushes
        end = await HandTls.accept(connection, authority.server_context())
        await end.read()
        if not may_refuse.is_set():
            is_refusing.set()
            await may_refuse.wait()
            await end.alert(CLIENT_REFUSED["unknown_ca"])
            return
        pushes += 1
        await end.send(ANSWER)
        await end.read()

    async with serving(script) as server:
        running = await start_sidecar(app=settings(server.port, authority.ca_file))
        request = android(request_id="id-1")
        failure = await running.fail(request, timeout_s=0.5)
        assert (failure.reason, failure.sent) == ("DEADLINE", "maybe")
        assert is_refusing.is_set()
        may_refuse.set()
        line = 'push_sidecar_late_answers_total{app="shop",reason="NOT_SENT"} 1.0'
        await until_metric(running.sidecar.admin_address, line)
        assert not (await running.push(request)).replayed
        assert pushes == 1


async def test_vendor_that_demands_a_certificate_gets_the_apps_and_a_new_one_after_a_change(
    start_sidecar: StartSidecar, tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    old, new = authority.leaf(), authority.leaf()
    shown = Leaf(tmp_path / "tls.crt", tmp_path / "tls.key")

    def put(leaf: Leaf) -> None:
        shown.cert_file.write_bytes(leaf.cert_file.read_bytes())
        shown.key_file.write_bytes(leaf.key_file.read_bytes())

    put(old)
    seen: list[bytes | None] = []

    async def script(connection: RawConnection) -> None:
        end = await HandTls.accept(connection, authority.demanding_context(), tickets=2)
        seen.append(end.client_certificate)
        while await end.read():
            await end.send(ANSWER)

    async with serving(script) as server:
        running = await start_sidecar(
            app=settings(server.port, authority.ca_file, shown), secrets={"reload_interval_s": 3600}
        )
        await running.push()
        put(new)
        running.sidecar.look_again()
        await until(lambda: "vendor TLS changed" in [record.message for record in caplog.records])
        server.connections[0].close()
        await server.wait_all_closed()
        await running.push()
    assert seen == [der_of(old), der_of(new)]


def der_of(leaf: Leaf) -> bytes:
    return ssl.PEM_cert_to_DER_cert(leaf.cert_file.read_text())
