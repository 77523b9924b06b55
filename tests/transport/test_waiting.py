"""Calls that wait for a connection: whoever leaves, and whatever ends meanwhile, nothing is lost and nobody is passed.

The calls are turned by hand here, so that two things happen in the same turn of the event loop.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sidecar.transport.answer import AnswerLimits
from sidecar.transport.connect import Connector, P
from sidecar.transport.exchange import Exchange
from sidecar.transport.http1 import Connection
from sidecar.transport.pool import Pool
from sidecar.transport.resolve import Resolver
from sidecar.transport.tls import build_tls_context
from tests.support.certificates import Authority
from tests.support.raw_server import RawServer, hold, serving, turns


class Ending(Connector):
    """Its first connection ends before whoever made it is told."""

    is_first = True

    async def connect(self, exchange: Exchange, build: Callable[[], P]) -> P:
        protocol = await super().connect(exchange, build)
        if self.is_first:
            self.is_first = False
            assert isinstance(protocol, Connection)
            protocol.break_off("unsolicited_answer")
            await turns(3)
        return protocol


def pool_of(
    server: RawServer,
    authority: Authority,
    *,
    max_connections: int = 1,
    kind: type[Connector] = Connector,
    clock: Callable[[], float] = lambda: 0.0,
) -> Pool:
    connector = kind(
        f"https://127.0.0.1:{server.port}/",
        tls=build_tls_context(authority.ca_file),
        resolver=Resolver(),
        lookup_timeout_s=5.0,
    )
    limits = AnswerLimits(10_000, 100, 10_000)
    return Pool(connector, limits=limits, max_connections=max_connections, keepalive_idle_s=60.0, clock=clock)


@asynccontextmanager
async def one_taken(tls: ssl.SSLContext, authority: Authority) -> AsyncIterator[tuple[RawServer, Pool, Connection]]:
    """Give a server, a pool of one connection, and that connection, taken."""
    async with serving(hold, tls) as server:
        pool = pool_of(server, authority)
        yield server, pool, await pool.obtain(Exchange())
        await pool.aclose()
        assert pool.active == 0


def waits(pool: Pool) -> "asyncio.Task[Connection]":
    return asyncio.create_task(pool.obtain(Exchange()))


async def left(task: "asyncio.Task[Connection]") -> None:
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_connection_that_is_given_to_one_that_leaves_goes_to_the_next(
    tls: ssl.SSLContext, authority: Authority
) -> None:
    async with one_taken(tls, authority) as (_, pool, connection):
        first, second = waits(pool), waits(pool)
        await turns()
        connection.give_back()
        await left(first)
        assert await second is connection
        assert (pool.active, pool.idle) == (1, 0)


async def test_room_that_is_given_to_one_that_leaves_goes_to_the_next(
    tls: ssl.SSLContext, authority: Authority
) -> None:
    async with one_taken(tls, authority) as (_, pool, connection):
        first, second = waits(pool), waits(pool)
        await turns()
        connection.break_off("lost")
        await left(first)
        assert await second is not connection
        assert (pool.active, pool.idle) == (1, 0)


async def test_connection_that_ended_on_its_way_to_one_that_leaves_is_not_kept(
    tls: ssl.SSLContext, authority: Authority
) -> None:
    async with one_taken(tls, authority) as (_, pool, connection):
        first = waits(pool)
        await turns()
        connection.give_back()
        connection.break_off("lost")
        await left(first)
        assert (pool.active, pool.idle) == (0, 0)
        assert not (await pool.obtain(Exchange())).ended_by
        assert (pool.active, pool.idle) == (1, 0)


@pytest.mark.parametrize("is_told", [False, True], ids=["in-the-kernel", "told"])
async def test_connection_that_ended_on_its_way_to_the_first_makes_room_for_it(
    *, is_told: bool, tls: ssl.SSLContext, authority: Authority
) -> None:
    async with one_taken(tls, authority) as (server, pool, connection):
        await server.wait_open(at_least=1)
        first, second = waits(pool), waits(pool)
        await turns()
        connection.give_back()
        if is_told:
            connection.break_off("lost")
        else:
            server.connections[0].send_fin_now()
        await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
        done, other = (first, second) if first.done() else (second, first)
        if not is_told:
            assert done is first, "it was first in line"
        new = await done
        assert new is not connection
        await turns()
        assert not other.done()
        new.give_back()
        assert await other is new
        assert (pool.active, pool.idle) == (1, 0)


async def test_newcomer_does_not_take_the_room_of_one_that_waits(tls: ssl.SSLContext, authority: Authority) -> None:
    order: list[str] = []

    async with one_taken(tls, authority) as (_, pool, connection):

        async def call(name: str) -> None:
            got = await pool.obtain(Exchange())
            order.append(name)
            got.give_back()

        early = asyncio.create_task(call("early"))
        await turns()
        connection.break_off("lost")
        await call("newcomer")  # not in a task: it comes before the one that was woken
        await early
        assert order == ["early", "newcomer"]


async def test_connection_that_ended_while_it_was_made_leaves_its_room(
    tls: ssl.SSLContext, authority: Authority
) -> None:
    async with serving(hold, tls) as server:
        pool = pool_of(server, authority, kind=Ending)
        first, second = waits(pool), waits(pool)
        assert (await first).ended_by == "unsolicited_answer"
        assert not (await second).ended_by
        assert (pool.active, pool.idle) == (1, 0)
        await pool.aclose()


async def test_connection_cannot_be_used_longer_than_it_may_be_idle(tls: ssl.SSLContext, authority: Authority) -> None:
    """No timer has come since: the process stood still."""
    now = [100.0]
    async with serving(hold, tls) as server:
        pool = pool_of(server, authority, clock=lambda: now[0])
        connection = await pool.obtain(Exchange())
        connection.give_back()
        now[0] += 60.0
        assert pool.pick() is connection
        connection.give_back()
        now[0] += 60.1
        assert pool.pick() is None
        assert connection.ended_by == "idle"
        assert (pool.active, pool.idle) == (0, 0)
        await pool.aclose()


async def test_last_used_is_used_first(tls: ssl.SSLContext, authority: Authority) -> None:
    async with serving(hold, tls) as server:
        pool = pool_of(server, authority, max_connections=3)
        made = [await pool.obtain(Exchange()) for _ in range(3)]
        for connection in made:
            connection.give_back()
        assert [pool.pick() for _ in range(4)] == [*reversed(made), None]
        await pool.aclose()


async def test_closed_pool_refuses_those_that_wait_and_those_that_come(
    tls: ssl.SSLContext, authority: Authority
) -> None:
    async with one_taken(tls, authority) as (server, pool, connection):
        waiting = waits(pool)
        await turns()
        await pool.aclose()
        assert connection.ended_by == "closed"
        with pytest.raises(ConnectionError, match="closed"):
            await waiting
        with pytest.raises(ConnectionError, match="closed"):
            await pool.obtain(Exchange())
        await server.wait_all_closed()
        assert pool.active == 0


async def test_connection_that_is_made_while_the_pool_closes_is_cut_off(
    tls: ssl.SSLContext, authority: Authority
) -> None:
    async with serving(hold, tls) as server:
        pool = pool_of(server, authority)
        making = waits(pool)
        await turns(2)
        await pool.aclose()
        assert (await making).ended_by == "closed"
        await server.wait_all_closed()
        assert pool.active == 0


async def test_nothing_is_lost_whatever_the_order_of_ends(tls: ssl.SSLContext, authority: Authority) -> None:
    rng = random.Random(12)  # noqa: S311  # a repeatable choice
    got = 0

    async def call(pool: Pool) -> None:
        nonlocal got
        connection = await pool.obtain(Exchange())
        got += 1
        assert len(pool._all) + pool._making <= 3  # noqa: SLF001  # not to be seen from outside
        try:
            await turns(rng.randrange(4))
        finally:
            if rng.random() < 0.7:
                connection.give_back()
            else:
                connection.break_off("lost")

    async with serving(hold, tls) as server:
        pool = pool_of(server, authority, max_connections=3)
        calls = [asyncio.create_task(call(pool)) for _ in range(150)]
        while (running := [each for each in calls if not each.done()]) and len(running) > 20:
            await turns(rng.randrange(6))
            rng.choice(running).cancel()
        await asyncio.wait(running)
        assert got > 20
        assert all(each.cancelled() or each.exception() is None for each in calls)
        assert pool.active == 0
        taken = [await pool.obtain(Exchange()) for _ in range(3)]
        assert (pool.active, pool.idle) == (3, 0)
        assert not [each for each in taken if each.ended_by]
        await pool.aclose()
        await server.wait_all_closed()
