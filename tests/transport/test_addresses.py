"""A host with several addresses, IPv6, and what of a try that came too late stays behind: nothing."""

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from sidecar.transport.resolve import Resolver
from tests.soak.resources import open_files
from tests.support.certificates import Authority
from tests.support.raw_client import RawClient
from tests.support.raw_server import RawConnection, hold, serve_forever, serving, turns

HOST = "vendor.example"
NOBODY, OTHER, SILENT, VENDOR = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1"


def resolver_of(*ips: str) -> Resolver:
    def getaddrinfo(*_: object, **__: object) -> Sequence[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in ips]

    return Resolver(getaddrinfo=getaddrinfo)


@contextmanager
def silent_listener(port: int) -> Iterator[None]:
    """Listen and accept nobody: the queue is full, and the next SYN is dropped."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((SILENT, port))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield


@pytest.fixture
def server_tls(authority: Authority) -> ssl.SSLContext:
    return authority.server_context(HOST)


async def test_next_address_is_tried_when_the_first_refuses(server_tls: ssl.SSLContext, authority: Authority) -> None:
    async with (
        serving(serve_forever, server_tls) as server,
        RawClient(
            server.port, authority.ca_file, host=HOST, resolver=resolver_of(NOBODY, OTHER, VENDOR, SILENT)
        ) as client,
    ):
        result = await client.push()
        assert (result.cause, result.is_reused) == (None, False)
        assert len(server.connections) == 1
        assert (await client.push()).is_reused


async def test_first_address_is_taken_where_it_answers(server_tls: ssl.SSLContext, authority: Authority) -> None:
    async with (
        serving(serve_forever, server_tls) as server,
        serving(serve_forever, server_tls, server.port, host=OTHER) as other,
        RawClient(server.port, authority.ca_file, host=HOST, resolver=resolver_of(OTHER, VENDOR)) as client,
    ):
        assert (await client.push()).cause is None
        await turns()
        assert (len(server.connections), len(other.connections)) == (0, 1)


async def test_next_address_is_tried_when_the_first_is_silent_for_a_quarter_of_a_second(
    server_tls: ssl.SSLContext, authority: Authority
) -> None:
    async with serving(serve_forever, server_tls) as server:
        with silent_listener(server.port):
            before = open_files()
            async with RawClient(
                server.port, authority.ca_file, host=HOST, resolver=resolver_of(SILENT, VENDOR), connect_timeout_s=5.0
            ) as client:
                assert (await client.push()).cause is None
                assert 0.24 < client.connects_s[0] < 4.0
                await turns()
                assert open_files() - before == 2, "both ends of the one connection"
            await server.wait_all_closed()
            assert open_files() == before


async def test_all_addresses_refuse(authority: Authority) -> None:
    with socket.socket() as probe:
        probe.bind((VENDOR, 0))
        port = probe.getsockname()[1]
    async with RawClient(port, authority.ca_file, host=HOST, resolver=resolver_of(NOBODY, OTHER, VENDOR)) as client:
        await client.push()  # the first lookup opens what the event loop needs for threads
        await turns()
        before = open_files()
        result = await client.push()
        assert (result.cause, result.was_asked) == ("connect", False)
        assert (client.pool.active, client.pool.idle) == (0, 0)
        await turns()
        assert open_files() == before


async def test_all_addresses_are_silent(authority: Authority) -> None:
    with socket.socket() as probe:
        probe.bind((SILENT, 0))
        port = probe.getsockname()[1]
    with silent_listener(port):
        async with RawClient(
            port, authority.ca_file, host=HOST, resolver=resolver_of(SILENT, SILENT), connect_timeout_s=0.4
        ) as client:
            await client.push()  # the first lookup opens what the event loop needs for threads
            await turns()
            before = open_files()
            result = await client.push()
            assert (result.cause, result.was_asked) == ("connect_timeout", False)
            await turns()
            assert open_files() == before


async def test_caller_that_leaves_at_any_moment_leaves_no_descriptor(
    server_tls: ssl.SSLContext, authority: Authority
) -> None:
    async with serving(hold, server_tls) as server:
        for ips in [(VENDOR,), (NOBODY, VENDOR), (VENDOR, VENDOR)]:
            async with RawClient(
                server.port, authority.ca_file, host=HOST, resolver=resolver_of(*ips), max_connections=1
            ) as client:
                before = open_files()
                for turn_count in range(40):
                    push = client.start()
                    await turns(turn_count)
                    push.cancel()
                    await asyncio.wait({push})
                    assert push.cancelled()
                await server.wait_all_closed()
                await turns()
                assert (client.pool.active, client.pool.idle) == (0, 0)
                assert open_files() == before


async def test_vendor_on_ipv6(authority: Authority) -> None:
    context = authority.server_context("::1")
    async with serving(serve_forever, context, host="::1") as server:
        async with RawClient(server.port, authority.ca_file, host="[::1]") as client:
            results = [await client.push() for _ in range(2)]
            assert [(result.cause, result.is_reused) for result in results] == [(None, False), (None, True)]
        assert ("host", f"[::1]:{server.port}") in server.requests[0].headers


async def test_vendor_on_ipv6_through_a_proxy(authority: Authority) -> None:
    heads: list[bytes] = []
    context = authority.server_context("::1")

    async def proxy(connection: RawConnection) -> None:
        heads.append(await connection.read_head())
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await connection.tunnel(*await asyncio.open_connection("::1", server.port))

    async with (
        serving(serve_forever, context, host="::1") as server,
        serving(proxy) as listener,
        RawClient(server.port, authority.ca_file, host="[::1]", proxy=f"http://127.0.0.1:{listener.port}") as client,
    ):
        assert (await client.push()).cause is None
    assert heads[0].startswith(b"CONNECT [::1]:%d HTTP/1.1\r\nhost: [::1]:%d\r\n" % (server.port, server.port))


async def test_no_name_is_told_of_an_address(authority: Authority) -> None:
    names: list[str | None] = []
    context = authority.server_context(VENDOR)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    async with serving(serve_forever, context) as server, RawClient(server.port, authority.ca_file) as client:
        assert (await client.push()).cause is None
    assert names == [None]
