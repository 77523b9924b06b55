"""The operators' HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest

from sidecar.config import AdminConfig
from sidecar.server.admin import AdminServer
from sidecar.telemetry.metrics import Metrics


class Ready:
    is_ready = False


@pytest.fixture
def ready() -> Ready:
    return Ready()


@pytest.fixture
def shown() -> dict[str, object]:
    return {"apps": {"shop": {"in_flight": 3}}}


@pytest.fixture
async def server(ready: Ready, shown: dict[str, object]) -> AsyncIterator[AdminServer]:
    server = AdminServer(
        AdminConfig(listen="127.0.0.1:0"),
        Metrics("1.2.3"),
        lambda: ready.is_ready,
        status=lambda: shown,
    )
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(server: AdminServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(base_url=f"http://{server.address}") as session:
        yield session


async def get(client: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    async with client.get(path) as answer:
        return answer.status, await answer.text()


async def test_alive_whether_ready_or_not(client: aiohttp.ClientSession, ready: Ready) -> None:
    assert await get(client, "/healthz") == (200, '{"status": "alive"}')
    ready.is_ready = True
    assert await get(client, "/healthz") == (200, '{"status": "alive"}')


async def test_ready_only_while_new_calls_are_welcome(client: aiohttp.ClientSession, ready: Ready) -> None:
    assert await get(client, "/readyz") == (503, '{"status": "draining"}')
    ready.is_ready = True
    assert await get(client, "/readyz") == (200, '{"status": "ready"}')


async def test_metrics_are_openmetrics(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics") as answer:
        assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        text = await answer.text()
    assert ',version="1.2.3"} 1.0' in text
    assert text.endswith("# EOF\n")


async def test_status_is_what_it_is_given_as_json(client: aiohttp.ClientSession) -> None:
    status, text = await get(client, "/statusz")
    assert (status, json.loads(text)) == (200, {"apps": {"shop": {"in_flight": 3}}})


async def test_status_is_asked_for_at_every_request(client: aiohttp.ClientSession, shown: dict[str, object]) -> None:
    await get(client, "/statusz")
    shown["apps"] = {}
    assert json.loads((await get(client, "/statusz"))[1]) == {"apps": {}}


async def test_root_lists_every_page_with_what_it_is_for(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")
        lines = (await answer.text()).splitlines()
    listed = dict(line.split(maxsplit=1) for line in lines)
    assert set(listed) == {"/metrics", "/healthz", "/readyz", "/statusz"}
    for path in listed:
        assert (await get(client, path))[0] in {200, 503}


@pytest.mark.parametrize("path", ["/metrics/", "/debug", "/_sim/requests", "/statusz/shop", "/%3Cscript%3E"])
async def test_nothing_else_is_served_but_the_list(client: aiohttp.ClientSession, path: str) -> None:
    assert await get(client, path) == (404, (await get(client, "/"))[1])


async def test_nothing_can_be_changed(client: aiohttp.ClientSession) -> None:
    for path in ("/", "/metrics", "/healthz", "/readyz", "/statusz"):
        async with client.post(path, data=b"x") as answer:
            assert answer.status == 405


# Peers that mean no good.

HALF_A_HEADER = b"GET /metrics HTTP/1.1\r\nhost: x\r\nx-half: "
UNREAD = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 2000
HALF_A_BODY = b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n1"


async def connect(server: AdminServer, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    return reader, writer


@pytest.mark.parametrize("sent", [b"", HALF_A_HEADER, UNREAD, HALF_A_BODY], ids=["idle", "header", "unread", "body"])
async def test_probe_comes_through_whatever_others_hold(
    server: AdminServer, client: aiohttp.ClientSession, sent: bytes
) -> None:
    peers = [await connect(server, sent) for _ in range(200)]
    for _ in range(3):
        assert (await get(client, "/healthz"))[0] == 200
    # 200 and a probe: all but 64 had to make room.
    async with asyncio.timeout(5):
        for reader, _ in peers[:137]:
            with suppress(ConnectionError):
                await reader.read()
    for _, writer in peers:
        writer.close()


async def test_connection_is_for_one_request(server: AdminServer) -> None:
    reader, writer = await connect(server, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 2)
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"connection: close" in answer.lower()
    writer.close()


async def test_stop_waits_for_no_peer(server: AdminServer) -> None:
    peers = [await connect(server, sent) for sent in (b"", HALF_A_HEADER, UNREAD, HALF_A_BODY)]
    async with asyncio.timeout(5):
        await server.stop()
        for reader, writer in peers:
            with suppress(ConnectionError):
                await reader.read()
            writer.close()


async def test_stopping_what_was_never_started_is_no_error() -> None:
    await AdminServer(AdminConfig(), Metrics("1"), lambda: True, status=dict).stop()
