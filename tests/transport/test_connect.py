"""What goes wrong before there is a connection: never sent, whatever the cause."""

import asyncio
import base64
import errno
import resource
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sidecar.transport.shortage import shortage_of
from sidecar.transport.tls import build_tls_context
from tests.support.certificates import Authority
from tests.support.raw_client import RawClient, Result
from tests.support.raw_server import RawConnection, RawServer, Script, hold, serve_forever, serving, turns


def assert_not_sent(result: Result, cause: str) -> None:
    assert (result.reply, result.cause, result.was_asked) == (None, cause, False)


def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def test_refused_connection(authority: Authority) -> None:
    async with RawClient(unused_port(), authority.ca_file) as client:
        assert_not_sent(await client.push(), "connect")


async def test_unknown_host_name(authority: Authority) -> None:
    async with RawClient(443, authority.ca_file, host="does-not-exist.invalid") as client:
        result = await client.push()
        assert_not_sent(result, "dns")
        assert result.events[:2] == ("connect.start", "dns.start")


async def test_events_tell_the_lookup_from_the_connect_and_from_the_handshake(
    tls: ssl.SSLContext, authority: Authority
) -> None:
    async with (
        serving(serve_forever, tls) as server,
        RawClient(server.port, authority.ca_file, host="localhost") as client,
    ):
        assert (await client.push()).events == (
            "connect.start", "dns.start", "dns.end", "tls.start", "tls.end", "connect.end", "response.headers.received",
        )  # fmt: skip


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process open no further file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        next_free = probe.fileno()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (next_free, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_process_without_file_descriptors_says_so_and_goes_on_when_it_has_some(
    host: str, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serving(serve_forever, authority.server_context(host)) as server,
        RawClient(server.port, authority.ca_file, host=host) as client,
    ):
        with no_descriptor_left():
            assert_not_sent(await client.push(), "descriptors")
        assert [(record.levelname, vars(record)["detail"], vars(record)["host"]) for record in caplog.records] == [
            (
                "ERROR",
                "out of file descriptors: raise their limit (ulimit -n, LimitNOFILE) or lower max_in_flight",
                host,
            )
        ]
        assert (await client.push()).reply is not None


async def test_proxy_is_not_blamed_for_our_file_descriptors(authority: Authority) -> None:
    async with RawClient(443, authority.ca_file, proxy=f"http://127.0.0.1:{unused_port()}") as client:
        with no_descriptor_left():
            assert_not_sent(await client.push(), "descriptors")


@pytest.mark.parametrize(
    ("errors", "cause"),
    [
        ([OSError(errno.EMFILE, "")], "descriptors"),
        ([OSError(errno.ENFILE, "")], "descriptors"),
        ([OSError(errno.ENOBUFS, "")], "system_memory"),
        ([OSError(errno.ENOMEM, "")], "system_memory"),
        ([RuntimeError(), OSError(errno.ECONNREFUSED, ""), OSError(errno.EMFILE, "")], "descriptors"),
        ([OSError(errno.ECONNREFUSED, "")], None),
        ([OSError(errno.EADDRNOTAVAIL, "")], None),
        ([OSError("without a number")], None),
        ([], None),
    ],
)
def test_own_shortage_is_found_by_its_number(errors: list[Exception], cause: str | None) -> None:
    assert shortage_of(errors) == cause


async def test_listener_that_never_accepts(authority: Authority) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # fill the backlog: the next SYN is dropped
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        async with RawClient(listener.getsockname()[1], authority.ca_file, connect_timeout_s=0.3) as client:
            assert_not_sent(await client.push(), "connect_timeout")


async def test_handshake_that_stalls(authority: Authority) -> None:
    async with serving(hold) as server, RawClient(server.port, authority.ca_file, connect_timeout_s=0.3) as client:
        result = await client.push()
        assert_not_sent(result, "connect_timeout")
        assert result.events == ("connect.start", "tls.start")
        await server.wait_all_closed()


async def test_total_limit_before_the_connection(authority: Authority) -> None:
    async with serving(hold) as server, RawClient(server.port, authority.ca_file, total_timeout_s=0.3) as client:
        assert_not_sent(await client.push(), "total_timeout")
        await server.wait_all_closed()


async def test_total_limit_while_the_hook_runs(tls: ssl.SSLContext, authority: Authority) -> None:
    async def hook() -> None:
        await asyncio.Event().wait()

    async with serving(hold, tls) as server, RawClient(server.port, authority.ca_file, total_timeout_s=0.5) as client:
        assert_not_sent(await client.push(hook), "total_timeout")
        assert (client.pool.active, client.pool.idle) == (0, 1), "nothing was written: it is given back"
        assert len(server.connections) == 1


async def closes(connection: RawConnection) -> None:
    connection.close()


async def resets(connection: RawConnection) -> None:
    connection.reset()


@pytest.mark.parametrize("script", [closes, resets])
async def test_peer_that_ends_before_the_handshake(script: Script, authority: Authority) -> None:
    async with serving(script) as server, RawClient(server.port, authority.ca_file) as client:
        assert_not_sent(await client.push(), "connect")


async def test_peer_that_does_not_speak_tls(authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await connection.read_eof()

    async with serving(script) as server, RawClient(server.port, authority.ca_file) as client:
        assert_not_sent(await client.push(), "tls")


@pytest.mark.parametrize(
    ("names", "is_expired"),
    [
        pytest.param(("vendor.example",), False, id="other-host-name"),
        pytest.param(("127.0.0.2",), False, id="other-address"),
        pytest.param(("127.0.0.1",), True, id="expired"),
    ],
)
async def test_wrong_certificate(names: tuple[str, ...], *, is_expired: bool, authority: Authority) -> None:
    context = authority.server_context(*names, is_expired=is_expired)
    async with serving(serve_forever, context) as server, RawClient(server.port, authority.ca_file) as client:
        assert_not_sent(await client.push(), "tls")
        assert server.requests == []


async def test_certificate_of_another_authority(tls: ssl.SSLContext, tmp_path: Path) -> None:
    async with serving(serve_forever, tls) as server, RawClient(server.port, Authority(tmp_path).ca_file) as client:
        assert_not_sent(await client.push(), "tls")
        assert server.requests == []


async def test_certificate_outside_the_systems_store(tls: ssl.SSLContext) -> None:
    async with serving(serve_forever, tls) as server, RawClient(server.port, None) as client:
        assert_not_sent(await client.push(), "tls")
        assert server.requests == []


async def test_systems_store_is_used_without_a_ca_file(
    tls: ssl.SSLContext, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))  # where OpenSSL's store is
    async with serving(serve_forever, tls) as server, RawClient(server.port, None) as client:
        assert (await client.push()).reply is not None


async def test_host_name_is_checked_and_sent(authority: Authority) -> None:
    names: list[str | None] = []
    context = authority.server_context("localhost")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    async with (
        serving(serve_forever, context) as server,
        RawClient(server.port, authority.ca_file, host="localhost") as client,
    ):
        assert (await client.push()).reply is not None
    assert names == ["localhost"]


def test_unusable_ca_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        build_tls_context(tmp_path / "missing.pem")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        build_tls_context(garbage)


class Proxy:
    """A CONNECT proxy that notes what it was asked."""

    def __init__(self, target: RawServer) -> None:
        self.heads: list[bytes] = []
        self._target = target

    async def __call__(self, connection: RawConnection) -> None:
        self.heads.append(await connection.read_head())
        await connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await connection.tunnel_to(self._target.port)


async def test_proxy_gets_a_connect_and_nothing_of_the_push(tls: ssl.SSLContext, authority: Authority) -> None:
    async with serving(serve_forever, tls) as server:
        proxy = Proxy(server)
        async with (
            serving(proxy) as listener,
            RawClient(server.port, authority.ca_file, proxy=f"http://127.0.0.1:{listener.port}") as client,
        ):
            results = [await client.push() for _ in range(3)]
            assert [result.is_reused for result in results] == [False, True, True]
    assert len(proxy.heads) == 1
    head = proxy.heads[0].lower()
    assert head.startswith(b"connect 127.0.0.1:%d http/1.1\r\n" % server.port)
    assert b"authorization" not in head
    assert len(server.requests) == 3
    assert ("proxy-authorization", "") not in [(name, "") for name, _ in server.requests[0].headers]


async def test_proxys_credentials_go_to_the_proxy_alone(tls: ssl.SSLContext, authority: Authority) -> None:
    async with serving(serve_forever, tls) as server:
        proxy = Proxy(server)
        async with (
            serving(proxy) as listener,
            RawClient(server.port, authority.ca_file, proxy=f"http://me:secret@127.0.0.1:{listener.port}") as client,
        ):
            assert (await client.push()).reply is not None
            assert (await client.push()).is_reused
    assert b"proxy-authorization: basic " + base64.b64encode(b"me:secret").lower() in proxy.heads[0].lower()
    assert "proxy-authorization" not in [name for name, _ in server.requests[0].headers]


async def test_ended_tunnel_is_not_used_for_the_next_push(tls: ssl.SSLContext, authority: Authority) -> None:
    async with (
        serving(serve_forever, tls) as server,
        serving(Proxy(server)) as listener,
        RawClient(server.port, authority.ca_file, proxy=f"http://127.0.0.1:{listener.port}") as client,
    ):
        assert (await client.push()).reply is not None
        listener.connections[0].send_fin_now()
        result = await client.push()
        assert (result.cause, result.is_reused) == (None, False)


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden", "502 Bad Gateway"])
async def test_proxy_that_refuses(status: str, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.answer(b"no", status=status)
        assert await connection.read_eof() == b""

    async with (
        serving(script) as listener,
        RawClient(unused_port(), authority.ca_file, proxy=f"http://127.0.0.1:{listener.port}") as client,
    ):
        assert_not_sent(await client.push(), "proxy")
        await listener.wait_all_closed()


async def test_proxy_that_stalls(authority: Authority) -> None:
    async with (
        serving(hold) as listener,
        RawClient(
            unused_port(), authority.ca_file, proxy=f"http://127.0.0.1:{listener.port}", connect_timeout_s=0.3
        ) as client,
    ):
        assert_not_sent(await client.push(), "connect_timeout")
        await listener.wait_all_closed()


async def test_proxy_that_hangs_up(authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.read_head()

    async with (
        serving(script) as listener,
        RawClient(unused_port(), authority.ca_file, proxy=f"http://127.0.0.1:{listener.port}") as client,
    ):
        assert_not_sent(await client.push(), "connect")


async def test_proxy_that_is_not_there(authority: Authority) -> None:
    proxy = f"http://127.0.0.1:{unused_port()}"
    async with RawClient(443, authority.ca_file, proxy=proxy) as client:
        assert_not_sent(await client.push(), "connect")


@pytest.mark.parametrize("is_at_once", [True, False], ids=["at-once", "in-pieces"])
async def test_proxy_that_refuses_and_hangs_up(*, is_at_once: bool, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.read_head()
        for piece in [REFUSAL] if is_at_once else [REFUSAL[:5], REFUSAL[5:30], REFUSAL[30:]]:
            await connection.send(piece)
            await turns(2)

    for _ in range(5):
        async with (
            serving(script) as listener,
            RawClient(unused_port(), authority.ca_file, proxy=f"http://127.0.0.1:{listener.port}") as client,
        ):
            assert_not_sent(await client.push(), "proxy")


REFUSAL = b"HTTP/1.0 403 Forbidden\r\nserver: proxy\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        pytest.param(b"garbage", "connect", id="garbage"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 70_000, "connect", id="head-without-end"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nmore", "connect", id="more-than-its-answer"),
        pytest.param(b"HTTP/1.1\r\n\r\n", "proxy", id="no-status"),
        pytest.param(b"HTTP/1.1 2000 OK\r\n\r\n", "proxy", id="other-status"),
    ],
)
async def test_proxy_that_answers_something_else(answer: bytes, cause: str, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(answer)
        assert await connection.read_eof() == b""

    async with (
        serving(script) as listener,
        RawClient(unused_port(), authority.ca_file, proxy=f"http://127.0.0.1:{listener.port}") as client,
    ):
        assert_not_sent(await client.push(), cause)
        await listener.wait_all_closed()


def refusing(status: str, heads: list[bytes]) -> Script:
    """Be a proxy that notes what it is asked, and refuses."""

    async def script(connection: RawConnection) -> None:
        heads.append(await connection.read_head())
        await connection.answer(b"no", status=status)

    return script


async def test_proxy_is_told_a_name_as_it_is_written(authority: Authority) -> None:
    """A name with other letters goes over the wire in its ASCII form, which is what the configuration has."""
    heads: list[bytes] = []
    async with (
        serving(refusing("502 Bad Gateway", heads)) as listener,
        RawClient(
            443, authority.ca_file, host="xn--bcher-kva.example", proxy=f"http://127.0.0.1:{listener.port}"
        ) as client,
    ):
        assert_not_sent(await client.push(), "proxy")
    assert heads[0].startswith(b"CONNECT xn--bcher-kva.example:443 HTTP/1.1\r\nhost: xn--bcher-kva.example:443\r\n")


async def test_proxys_credentials_may_have_any_letters(authority: Authority) -> None:
    heads: list[bytes] = []
    async with (
        serving(refusing("407 Proxy Authentication Required", heads)) as listener,
        RawClient(443, authority.ca_file, proxy=f"http://m%40e:p%3As%C3%BC%25@127.0.0.1:{listener.port}") as client,
    ):
        assert_not_sent(await client.push(), "proxy")
    assert b"\r\nproxy-authorization: Basic " + base64.b64encode("m@e:p:s\u00fc%".encode()) + b"\r\n" in heads[0]


async def test_peer_that_speaks_first_is_no_vendor(authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.send(b"220 mail.example ESMTP\r\n")
        await connection.read_eof()

    async with serving(script) as server, RawClient(server.port, authority.ca_file) as client:
        assert_not_sent(await client.push(), "tls")
        await server.wait_all_closed()
