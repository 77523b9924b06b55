"""A vendor that refuses our client certificate, or the lack of one, when we may have written already (TLS 1.3).

The alert as the first record on a connection that has carried no answer proves that nothing of HTTP was read. Nothing
else does.
"""

import ssl
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from sidecar.transport.tls import build_tls_context, is_client_refused
from tests.support.certificates import Authority, Leaf
from tests.support.hand_tls import CLIENT_REFUSED, FATAL, OTHER, HandTls
from tests.support.raw_client import RawClient, Result
from tests.support.raw_server import RawConnection, Script, serving, turns
from tests.support.waiting import until

ANSWER = b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"ret_code":0}'
REQUIRED = CLIENT_REFUSED["certificate_required"]
WARNING = 1

Fault = Callable[[RawConnection, HandTls], Awaitable[None]]

NOT_SENT = (None, "tls", False)


def seen(result: Result) -> tuple[object, str | None, bool]:
    """Return the answer, the cause, and whether the push may have gone out."""
    return result.reply, result.cause, result.was_asked


def by_hand(authority: Authority, fault: Fault, *, tickets: int = 0) -> Script:
    """Return a vendor that makes the handshake, and then does what `fault` says."""

    async def script(connection: RawConnection) -> None:
        await fault(connection, await HandTls.accept(connection, authority.server_context(), tickets=tickets))

    return script


async def push_once(script: Script, authority: Authority, **options: object) -> Result:
    async with serving(script) as server, RawClient(server.port, authority.ca_file, **options) as client:  # type: ignore[arg-type]
        result = await client.push()
        assert (client.pool.active, client.pool.idle) == (0, 0)
        return result


@pytest.mark.parametrize("name", CLIENT_REFUSED)
@pytest.mark.parametrize("level", [FATAL, WARNING], ids=["fatal", "warning"])  # TLS 1.3 knows no warnings of these
async def test_alert_about_our_certificate_as_the_first_record_is_not_sent(
    name: str, level: int, authority: Authority
) -> None:
    async def fault(_: RawConnection, end: HandTls) -> None:
        assert await end.read() != b""  # of the request: it was written
        await end.alert(CLIENT_REFUSED[name], level)

    assert seen(await push_once(by_hand(authority, fault), authority)) == NOT_SENT


@pytest.mark.parametrize("name", CLIENT_REFUSED)
async def test_alert_that_comes_before_the_write_is_not_sent(name: str, authority: Authority) -> None:
    async def fault(connection: RawConnection, end: HandTls) -> None:
        await end.alert(CLIENT_REFUSED[name])
        assert await connection.read_eof() == b""

    async def hook() -> None:
        await until(lambda: client.pool.active == 0)

    async with serving(by_hand(authority, fault)) as server, RawClient(server.port, authority.ca_file) as client:
        assert seen(await client.push(hook)) == NOT_SENT
        await server.wait_all_closed()


@pytest.mark.parametrize("name", OTHER)
async def test_any_other_alert_as_the_first_record_is_maybe_sent(name: str, authority: Authority) -> None:
    async def fault(_: RawConnection, end: HandTls) -> None:
        await end.read()
        await end.alert(OTHER[name])

    assert seen(await push_once(by_hand(authority, fault), authority)) == (None, "connection_lost", True)


async def ends(connection: RawConnection, _: HandTls) -> None:
    connection.close()


async def resets(connection: RawConnection, _: HandTls) -> None:
    connection.reset()


async def forges(connection: RawConnection, end: HandTls) -> None:
    await end.plain_alert(REQUIRED)
    await connection.read_eof()


async def garbles(connection: RawConnection, end: HandTls) -> None:
    record = end.alert_record(REQUIRED)
    await connection.send(record[:-1] + bytes([record[-1] ^ 1]))
    await connection.read_eof()


async def answers_at_once(connection: RawConnection, end: HandTls) -> None:
    # Read together with the alert, the event loops drop the answer.
    connection.end_now(end.data_record(b"HTTP/1.1 100 Continue\r\n\r\n") + end.alert_record(REQUIRED))


async def sends_two_bytes(connection: RawConnection, end: HandTls) -> None:
    # On the wire as long as an alert.
    connection.end_now(end.data_record(b"HT") + end.alert_record(REQUIRED))


async def answers_first(_: RawConnection, end: HandTls) -> None:
    await end.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    await turns()
    await end.alert(REQUIRED)


@pytest.mark.parametrize("rest", [ends, resets, forges, garbles, answers_at_once, sends_two_bytes, answers_first])
async def test_what_proves_nothing_is_maybe_sent(rest: Fault, authority: Authority) -> None:
    async def fault(connection: RawConnection, end: HandTls) -> None:
        await end.read()
        await rest(connection, end)

    assert seen(await push_once(by_hand(authority, fault), authority)) == (None, "connection_lost", True)


@pytest.mark.parametrize("tickets", [1, 2])
@pytest.mark.parametrize("name", CLIENT_REFUSED)
async def test_alert_after_a_session_ticket_is_maybe_sent(name: str, tickets: int, authority: Authority) -> None:
    async def fault(_: RawConnection, end: HandTls) -> None:
        await end.read()
        await end.alert(CLIENT_REFUSED[name])

    result = await push_once(by_hand(authority, fault, tickets=tickets), authority)
    assert seen(result) == (None, "connection_lost", True)


@pytest.mark.parametrize("tickets", [0, 1])
def test_ticket_counts_also_when_it_came_with_the_end_of_the_handshake(tickets: int, authority: Authority) -> None:
    context = authority.server_context()
    context.num_tickets = tickets
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = build_tls_context(authority.ca_file).wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    for end, raises in ((client, True), (server, True), (client, False), (server, False)):
        with pytest.raises(ssl.SSLWantReadError) if raises else nullcontext():
            end.do_handshake()
    with pytest.raises(ssl.SSLWantReadError):
        client.read()
    alert = ssl.SSLError()
    alert.reason = "TLSV1_ALERT_UNKNOWN_CA"
    assert is_client_refused(alert, client) is (tickets == 0)


async def test_alert_within_an_answer_is_maybe_sent(authority: Authority) -> None:
    async def fault(_: RawConnection, end: HandTls) -> None:
        await end.read()
        await end.send(ANSWER[:-3])
        await turns()
        await end.alert(REQUIRED)

    assert seen(await push_once(by_hand(authority, fault), authority)) == (None, "response_cut", True)


async def test_alert_on_a_connection_that_has_carried_an_answer_is_maybe_sent(authority: Authority) -> None:
    async def fault(_: RawConnection, end: HandTls) -> None:
        await end.read()
        await end.send(ANSWER)
        await end.read()
        await end.alert(REQUIRED)

    async with serving(by_hand(authority, fault)) as server, RawClient(server.port, authority.ca_file) as client:
        assert (await client.push()).reply is not None
        result = await client.push()
        assert (result.is_reused, *seen(result)) == (True, None, "idle_connection_closed", True)


async def test_alert_of_tls_1_2_after_the_handshake_is_maybe_sent(authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        context = authority.server_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
        end = await HandTls.accept(connection, context)
        await end.read()
        await connection.send(end.first_alert_record_of_tls12(REQUIRED))
        await connection.read_eof()

    assert seen(await push_once(script, authority)) == (None, "connection_lost", True)


@pytest.mark.parametrize("is_tls12", [False, True], ids=["tls-1.3", "tls-1.2"])
@pytest.mark.parametrize("is_hasty", [False, True], ids=["waits-for-our-end", "closes-at-once"])
@pytest.mark.parametrize("case", ["none", "of-another-authority", "expired", "revoked"])
async def test_vendor_that_demands_a_certificate_refuses_ours(
    case: str, is_hasty: bool, is_tls12: bool, authority: Authority, tmp_path: Path
) -> None:
    shown: Leaf | None = {
        "none": lambda: None,
        "of-another-authority": lambda: Authority(tmp_path).leaf(),
        "expired": lambda: authority.leaf(is_expired=True),
        "revoked": authority.leaf,
    }[case]()

    async def script(connection: RawConnection) -> None:
        context = authority.demanding_context(revoked=shown if case == "revoked" else None)
        if is_tls12:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            await HandTls.accept(connection, context)
        if not is_hasty:
            await connection.read_eof()

    assert seen(await push_once(script, authority, shown=shown)) == NOT_SENT


@pytest.mark.parametrize("tickets", [0, 2])
async def test_vendor_that_demands_a_certificate_takes_ours(tickets: int, authority: Authority) -> None:
    async def script(connection: RawConnection) -> None:
        end = await HandTls.accept(connection, authority.demanding_context(), tickets=tickets)
        while await end.read():
            await end.send(ANSWER)

    async with (
        serving(script) as server,
        RawClient(server.port, authority.ca_file, shown=authority.leaf()) as client,
    ):
        assert [(await client.push()).is_reused for _ in range(3)] == [False, True, True]
        assert len(server.connections) == 1


async def test_write_that_fails_is_maybe_sent_unless_the_alert_was_read(authority: Authority) -> None:
    ends_of: list[tuple[RawConnection, HandTls]] = []

    async def fault(connection: RawConnection, end: HandTls) -> None:
        ends_of.append((connection, end))
        await until(lambda: client.pool.active == 0)

    async def hook() -> None:
        await until(lambda: bool(ends_of))
        # All is in our kernel when the push is written; nothing of it has reached the event loop.
        connection, end = ends_of[0]
        connection.end_now(end.alert_record(REQUIRED))

    async with serving(by_hand(authority, fault)) as server, RawClient(server.port, authority.ca_file) as client:
        result = await client.push(hook, b"x" * 1_000_000)
        assert seen(result) in {NOT_SENT, (None, "connection_lost", True)}
