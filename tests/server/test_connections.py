"""How many connections of the operators' HTTP there may be, and for how long, whatever their peers do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from sidecar.server.connections import BoundedConnections

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Peer]]


class Echo(asyncio.Protocol):
    """Answers with what it is sent, so many times over."""

    def __init__(self, times: int, lost: list[Exception | None]) -> None:
        self._times = times
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data * self._times)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.append(exc)


@asynccontextmanager
async def bounded(
    limit: int = 3, lasts_s: float = 60.0, times: int = 1
) -> AsyncIterator[tuple[BoundedConnections, Connect, list[Exception | None]]]:
    """Serve inside the block."""
    lost: list[Exception | None] = []
    connections = BoundedConnections(lambda: Echo(times, lost), limit=limit, lasts_s=lasts_s)
    server = await asyncio.get_running_loop().create_server(connections, "127.0.0.1", 0)
    async with AsyncExitStack() as stack:

        async def connect() -> Peer:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            stack.callback(writer.close)
            writer.write(b"here")
            return reader, writer

        yield connections, connect, lost
        server.close()
        connections.abort()


async def echoed(peer: Peer) -> bytes:
    async with asyncio.timeout(5):
        return await peer[0].readexactly(4)


async def ended(peer: Peer) -> bool:
    async with asyncio.timeout(5):
        try:
            return await peer[0].read() is not None
        except ConnectionError:
            return True


async def test_newest_is_served_and_the_oldest_makes_room() -> None:
    async with bounded(limit=3) as (connections, connect, _):
        peers = []
        for _ in range(5):
            peers.append(await connect())
            assert await echoed(peers[-1]) == b"here"
        assert [await ended(peer) for peer in peers[:2]] == [True, True]
        for peer in peers[2:]:
            peer[1].write(b"more")
            assert await echoed(peer) == b"more"
        assert len(connections) == 3


async def test_who_has_left_takes_no_place() -> None:
    async with bounded(limit=2) as (connections, connect, lost):
        stays = await connect()
        for number in range(5):
            _, writer = leaves = await connect()
            await echoed(leaves)
            writer.close()
            async with asyncio.timeout(5):
                while len(lost) <= number:  # noqa: ASYNC110  # what is waited for has no event
                    await asyncio.sleep(0.005)
        assert await echoed(stays) == b"here"
        assert len(connections) == 1


@pytest.mark.parametrize("times", [1, 10_000_000], ids=["idle", "reads-nothing"])
async def test_connection_ends_when_its_time_is_up(times: int) -> None:
    async with bounded(lasts_s=0.2, times=times) as (connections, connect, lost):
        peer = await connect()
        async with asyncio.timeout(5):
            while not lost:  # noqa: ASYNC110  # what is waited for has no event
                await asyncio.sleep(0.005)
        assert len(connections) == 0
        assert await ended(peer)


async def test_all_can_be_cut_off() -> None:
    async with bounded(limit=3, times=10_000_000) as (connections, connect, lost):
        peers = [await connect() for _ in range(3)]
        async with asyncio.timeout(5):
            while len(connections) < 3:  # noqa: ASYNC110  # what is waited for has no event
                await asyncio.sleep(0.005)
        connections.abort()
        assert all([await ended(peer) for peer in peers])
        assert (len(connections), len(lost)) == (0, 3)
