"""Lookups of names: none waits for another, none holds a call beyond its limit, and the last good address is kept."""

import asyncio
import errno
import logging
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from sidecar.transport.prove import prove
from sidecar.transport.resolve import Address, Resolver, look_up
from tests.support.certificates import Authority
from tests.support.raw_client import RawClient
from tests.support.raw_server import serve_forever, serving
from tests.support.waiting import until

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]
ADDRESS = [Address(socket.AF_INET, "192.0.2.1", 443)]
MOVED = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.2", 0))]
MOVED_ADDRESS = [Address(socket.AF_INET, "192.0.2.2", 443)]
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")

Answer = Sequence[tuple[Any, ...]] | Exception


class NameServer:
    """Answers as it is told, by name; a name that is held hangs until it is let go."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self._held: dict[str, threading.Event] = {}

    def getaddrinfo(self, host: str, _port: object, **_options: object) -> Sequence[tuple[Any, ...]]:
        self.asked.append(host)
        if (held := self._held.get(host)) is not None:
            held.wait()
        answer = self.answers.get(host, FOUND)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hold(self, *hosts: str) -> None:
        for host in hosts:
            self._held[host] = threading.Event()

    def release(self, *hosts: str) -> None:
        for host in hosts or list(self._held):
            self._held.pop(host).set()


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.release()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def resolver(names: NameServer, clock: Clock, **options: Any) -> Resolver:
    return Resolver(**{"getaddrinfo": names.getaddrinfo, "now": clock, "patience_s": 60.0, **options})


async def test_name_is_looked_up_once_while_it_is_fresh(names: NameServer, clock: Clock) -> None:
    looking = resolver(names, clock)
    assert looking.known("a.example", 443) is None
    assert await looking.lookup("a.example", 443, 60) == ADDRESS
    clock.now_s += 9.9
    assert looking.known("a.example", 443) == ADDRESS
    assert await looking.lookup("a.example", 80, 60) == [Address(socket.AF_INET, "192.0.2.1", 80)]
    assert names.asked == ["a.example"]


async def test_changed_address_is_seen_after_ten_seconds(names: NameServer, clock: Clock) -> None:
    looking = resolver(names, clock)
    await looking.lookup("a.example", 443, 60)
    names.answers["a.example"] = MOVED
    clock.now_s += 10
    assert looking.known("a.example", 443) is None
    assert await looking.lookup("a.example", 443, 60) == MOVED_ADDRESS


async def test_addresses_keep_their_order_and_their_scope(names: NameServer, clock: Clock) -> None:
    names.answers["a.example"] = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0)),
        (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/path"),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.9", 0)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 3)),
    ]
    found = await resolver(names, clock).lookup("a.example", 443, 60)
    assert [(each.family, each.sockaddr, each.host) for each in found] == [
        (socket.AF_INET6, ("2001:db8::1", 443, 0, 0), "2001:db8::1"),
        (socket.AF_INET, ("192.0.2.9", 443), "192.0.2.9"),
        (socket.AF_INET6, ("fe80::1", 443, 0, 3), "fe80::1%3"),
    ]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", Address(socket.AF_INET, "192.0.2.7", 443)),
        ("::1", Address(socket.AF_INET6, "::1", 443)),
        ("fe80::1%1", Address(socket.AF_INET6, "fe80::1", 443, 1)),
        ("fe80::1%lo", Address(socket.AF_INET6, "fe80::1", 443, 1)),
    ],
)
async def test_ip_address_is_not_looked_up(names: NameServer, clock: Clock, host: str, address: Address) -> None:
    looking = resolver(names, clock)
    assert looking.known(host, 443) == [address]
    assert await looking.lookup(host, 443, 0) == [address]
    assert names.asked == []


async def test_names_that_hang_do_not_delay_another(names: NameServer, clock: Clock) -> None:
    looking = resolver(names, clock)
    hanging = [f"{number}.example" for number in range(8)]
    names.hold(*hanging)
    waits = [asyncio.ensure_future(looking.lookup(host, 443, 60)) for host in hanging]
    await until(lambda: len(names.asked) == 8)
    assert await looking.lookup("alive.example", 443, 60) == ADDRESS
    assert [wait.done() for wait in waits] == [False] * 8
    names.release()
    assert await asyncio.gather(*waits) == [ADDRESS] * 8


async def test_callers_of_one_name_share_its_lookup(names: NameServer, clock: Clock) -> None:
    looking = resolver(names, clock)
    names.hold("a.example")
    waits = [asyncio.ensure_future(looking.lookup("a.example", 443, 60)) for _ in range(20)]
    await until(lambda: names.asked == ["a.example"])
    for wait in waits[:10]:  # to give up one's own wait ends nobody else's
        wait.cancel()
    await asyncio.wait(waits[:10])
    names.release()
    assert await asyncio.gather(*waits[10:]) == [ADDRESS] * 10
    assert names.asked == ["a.example"]


async def test_lookup_that_hangs_ends_with_the_callers_limit_and_is_joined(names: NameServer, clock: Clock) -> None:
    looking = resolver(names, clock)
    names.hold("a.example")
    for _ in range(3):
        with pytest.raises(socket.gaierror, match="no answer from the name server in time"):
            await looking.lookup("a.example", 443, 0.01)
    assert names.asked == ["a.example"]
    names.release()
    assert await looking.lookup("a.example", 443, 60) == ADDRESS
    assert names.asked == ["a.example"]


async def test_failure_is_told_to_each_caller_and_not_kept(names: NameServer, clock: Clock) -> None:
    looking = resolver(names, clock)
    names.answers["a.example"] = UNKNOWN
    names.hold("a.example")
    waits = [asyncio.ensure_future(looking.lookup("a.example", 443, 60)) for _ in range(2)]
    await until(lambda: names.asked == ["a.example"])
    names.release()
    failures = await asyncio.gather(*waits, return_exceptions=True)
    assert [(type(each), each.args) for each in failures if isinstance(each, Exception)] == [
        (socket.gaierror, (socket.EAI_NONAME, "Name or service not known"))
    ] * 2
    assert failures[0] is not failures[1]
    names.answers["a.example"] = FOUND
    assert await looking.lookup("a.example", 443, 60) == ADDRESS


async def test_last_good_address_is_used_while_a_lookup_hangs(
    names: NameServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    looking = resolver(names, clock, patience_s=0.01)
    await looking.lookup("a.example", 443, 60)
    names.hold("a.example")
    clock.now_s += 10
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            assert await looking.lookup("a.example", 443, 60) == ADDRESS
        names.answers["a.example"] = MOVED
        names.release()
        await until(lambda: looking.known("a.example", 443) == MOVED_ADDRESS)
    assert names.asked == ["a.example"] * 2
    assert [(record.message, vars(record)["host"], vars(record).get("cause")) for record in caplog.records] == [
        ("a host name cannot be looked up: its last good address is used", "a.example", "no answer"),
        ("a host name is looked up again", "a.example", None),
    ]


async def test_only_the_first_caller_waits_for_a_lookup_that_hangs(names: NameServer, clock: Clock) -> None:
    looking = resolver(names, clock)  # with a patience that this test would not outlive
    await looking.lookup("a.example", 443, 60)
    names.hold("a.example")
    clock.now_s += 10
    assert await looking.lookup("a.example", 443, 0.01) == ADDRESS
    assert await looking.lookup("a.example", 443, 60) == ADDRESS


async def test_last_good_address_is_used_after_a_failed_lookup(
    names: NameServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    looking = resolver(names, clock)
    await looking.lookup("a.example", 443, 60)
    names.answers["a.example"] = UNKNOWN
    clock.now_s += 10
    assert await looking.lookup("a.example", 443, 60) == ADDRESS
    assert looking.known("a.example", 443) == ADDRESS  # it is not asked for again at once
    assert names.asked == ["a.example"] * 2
    assert [vars(record)["cause"] for record in caplog.records] == ["Name or service not known"]
    clock.now_s += 1
    assert looking.known("a.example", 443) is None
    names.answers["a.example"] = MOVED
    await looking.lookup("a.example", 443, 60)  # at once the old one, for who does not wait
    await until(lambda: looking.known("a.example", 443) == MOVED_ADDRESS)


@pytest.mark.parametrize(("stale_s", "is_used"), [(100.0, True), (99.0, False), (0.0, False)])
async def test_last_good_address_is_used_for_its_time(
    names: NameServer, clock: Clock, stale_s: float, *, is_used: bool
) -> None:
    looking = resolver(names, clock, stale_s=stale_s)
    await looking.lookup("a.example", 443, 60)
    names.answers["a.example"] = UNKNOWN
    clock.now_s += 10 + 99.5
    if is_used:
        assert await looking.lookup("a.example", 443, 60) == ADDRESS
    else:
        with pytest.raises(socket.gaierror, match="not known"):
            await looking.lookup("a.example", 443, 60)


async def test_stale_time_of_zero_keeps_an_address_while_it_is_fresh(names: NameServer, clock: Clock) -> None:
    looking = resolver(names, clock, stale_s=0.0)
    await looking.lookup("a.example", 443, 60)
    clock.now_s += 9.9
    assert looking.known("a.example", 443) == ADDRESS


async def test_threads_are_bounded_and_a_name_without_one_keeps_its_limit(names: NameServer, clock: Clock) -> None:
    looking = resolver(names, clock, max_threads=2)
    await looking.lookup("old.example", 443, 60)
    clock.now_s += 10
    names.hold("a.example", "b.example")
    waits = [asyncio.ensure_future(looking.lookup(host, 443, 60)) for host in ("a.example", "b.example")]
    await until(lambda: len(names.asked) == 3)
    assert await looking.lookup("old.example", 443, 0.01) == ADDRESS
    with pytest.raises(socket.gaierror, match="no answer"):
        await looking.lookup("new.example", 443, 0.01)
    assert names.asked == ["old.example", "a.example", "b.example"]
    names.release("a.example")
    assert await waits[0] == ADDRESS
    assert await looking.lookup("new.example", 443, 60) == ADDRESS
    names.release()
    assert await waits[1] == ADDRESS


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        (UnicodeError("label too long"), socket.EAI_FAIL),
        ([], socket.EAI_NONAME),
        (OSError(errno.EMFILE, "Too many open files"), errno.EMFILE),
    ],
)
def test_whatever_goes_wrong_is_an_os_error(answer: Answer, number: int) -> None:
    names = NameServer()
    names.answers["a.example"] = answer
    outcome = look_up("a.example", names.getaddrinfo)
    assert isinstance(outcome, OSError)
    assert outcome.errno == number


def test_hosts_of_this_machine_are_found() -> None:
    outcome = look_up("localhost")
    assert isinstance(outcome, list)
    assert {each.ip for each in outcome} <= {"127.0.0.1", "::1"}


HANGS = """
import asyncio, contextlib, socket, threading, uvloop
from sidecar.transport.resolve import Resolver

async def main():
    resolver = Resolver(getaddrinfo=lambda *_, **__: threading.Event().wait())
    for host in ("a.example", "b.example"):
        with contextlib.suppress(socket.gaierror):
            await resolver.lookup(host, 443, 0.01)
    print("looked up", flush=True)

{run}(main())
"""


@pytest.mark.parametrize("run", ["uvloop.run", "asyncio.run"])
def test_process_ends_while_lookups_hang(run: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HANGS.replace("{run}", run)], capture_output=True, text=True, timeout=30, check=True
    )
    assert (ended.stdout, ended.stderr) == ("looked up\n", "")


async def test_thread_that_outlives_its_loop_says_nothing(names: NameServer, clock: Clock) -> None:
    names.hold("a.example")

    async def give_up() -> None:
        with pytest.raises(socket.gaierror):
            await resolver(names, clock).lookup("a.example", 443, 0.01)

    await asyncio.to_thread(asyncio.run, give_up())
    (lookup,) = (thread for thread in threading.enumerate() if thread.name == "lookup")
    names.release()
    lookup.join(10)  # an exception in it would fail the test
    assert not lookup.is_alive()


async def test_push_to_a_name_that_hangs_is_not_sent_for_its_lookup(authority: Authority, names: NameServer) -> None:
    names.hold("vendor.example")
    looking = Resolver(getaddrinfo=names.getaddrinfo)
    async with RawClient(
        443, authority.ca_file, host="vendor.example", connect_timeout_s=0.1, resolver=looking
    ) as client:
        result = await client.push()
    assert (result.cause, result.was_asked, result.events) == ("dns", False, ("connect.start", "dns.start"))


async def test_push_to_a_proxy_that_hangs_is_not_sent_for_its_lookup(authority: Authority, names: NameServer) -> None:
    names.hold("proxy.example")
    looking = Resolver(getaddrinfo=names.getaddrinfo)
    async with RawClient(
        443, authority.ca_file, proxy="http://proxy.example:3128", connect_timeout_s=0.1, resolver=looking
    ) as client:
        result = await client.push()
    assert (result.cause, result.was_asked) == ("dns", False)


async def test_push_goes_to_the_last_good_address_under_the_hosts_name(
    names: NameServer, clock: Clock, authority: Authority
) -> None:
    seen: list[str | None] = []
    tls = authority.server_context("vendor.example")
    tls.sni_callback = lambda _socket, name, _context: seen.append(name)
    names.answers["vendor.example"] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    looking = resolver(names, clock, patience_s=0.01)
    async with serving(serve_forever, tls) as server:
        for _ in range(2):
            async with RawClient(server.port, authority.ca_file, host="vendor.example", resolver=looking) as client:
                assert (await client.push()).reply is not None
            names.hold("vendor.example")
            clock.now_s += 10
    assert seen == ["vendor.example"] * 2


async def test_second_address_is_tried_where_the_first_refuses(
    names: NameServer, clock: Clock, tls: ssl.SSLContext, authority: Authority
) -> None:
    names.answers["localhost"] = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in ("127.0.0.9", "127.0.0.1")
    ]
    async with (
        serving(serve_forever, tls) as server,
        RawClient(server.port, authority.ca_file, host="localhost", resolver=resolver(names, clock)) as client,
    ):
        assert (await client.push()).reply is not None


@pytest.mark.parametrize("proxy", [None, "http://proxy.example:3128"])
async def test_address_that_is_to_be_proved_has_a_name_that_hangs(
    names: NameServer, clock: Clock, proxy: str | None
) -> None:
    names.hold("vendor.example", "proxy.example")
    tls = ssl.create_default_context()
    told = await prove("https://vendor.example", tls=tls, proxy=proxy, timeout_s=0.01, resolver=resolver(names, clock))
    assert told == "no answer from the name server in time"
    assert names.asked == ["proxy.example" if proxy else "vendor.example"]
