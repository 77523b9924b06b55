"""How what goes wrong is made to go wrong on a stage, and how it is over. What is seen of it is the rows' to say."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext, SSLObject, TLSVersion

from sidecar.simulator import Fault as Scripted
from tests.matrix.scripts import relay
from tests.matrix.stage import LOST, RAW, SHORT_CONNECT, SIMULATED, VIA, Stage
from tests.support.hand_tls import HandTls
from tests.support.raw_server import RawConnection, RawServer, Script, serve_forever, serving
from tests.support.running import android

# Returns how many requests the vendor has read whole, and how many connections have come.
Count = Callable[[], tuple[int, int]]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong for pushes of `app` inside the block of `strikes`."""

    app: str
    strikes: Callable[[Stage], AbstractAsyncContextManager[Count]]

    @property
    def app_after(self) -> str:
        """The app by which it is seen that it is over: a name that does not resolve never does."""
        return SIMULATED if self.app == LOST else self.app


@asynccontextmanager
async def is_over(stage: Stage, app: str) -> AsyncIterator[Count]:
    """Let everything be well inside the block, on the same addresses."""
    if app == SIMULATED:
        stage.vendor.reset()
        yield _count_of_simulator(stage)
        return
    async with AsyncExitStack() as stack:
        if app.startswith(VIA):
            await stack.enter_async_context(serving(relay, None, stage.proxy_port))
        yield await stack.enter_async_context(_raw_vendor(stage, serve_forever))


def simulated(scripted: Scripted | Callable[[], Scripted] | None = None) -> Fault:
    """Return a fault of the simulator, made when it strikes where a time stands in it; or what it does by itself."""

    @asynccontextmanager
    async def strikes(stage: Stage) -> AsyncIterator[Count]:
        stage.vendor.reset()
        if scripted is not None:
            stage.vendor.script(scripted if isinstance(scripted, Scripted) else scripted())
        yield _count_of_simulator(stage)

    return Fault(SIMULATED, strikes)


def raw(
    script: Script,
    app: str = RAW,
    *,
    certificates: Sequence[str] = ("good",),
    is_warm: bool = False,
    before: Callable[[RawServer], Awaitable[None]] | None = None,
) -> Fault:
    """Return a vendor that does what a script says, on every connection.

    `certificates` are those of its connections in turn, the last for ever; none is no TLS. `is_warm`: one push is
    served well before what is counted begins. `before` comes right before the push.
    """

    @asynccontextmanager
    async def strikes(stage: Stage) -> AsyncIterator[Count]:
        async with _raw_server(stage, script, certificates) as (server, count):
            calls = connections = 0
            if is_warm:
                assert (await stage.push(app, android())).code == "OK"
                calls, connections = count()
            if before is not None:
                await before(server)
            yield lambda: (count()[0] - calls, count()[1] - connections)

    return Fault(app, strikes)


def demanding(*, is_tls12: bool = False) -> Fault:
    """Return a vendor that demands a client certificate, and is shown none."""

    def context(stage: Stage) -> SSLContext:
        context = stage.authority.demanding_context()
        if is_tls12:
            context.maximum_version = TLSVersion.TLSv1_2
        return context

    return _by_hand(context, 0, None)


def alerting(alert: int, *, tickets: int = 0) -> Fault:
    """Return a vendor that sends an alert when it has got a request; before it, session tickets."""
    return _by_hand(lambda stage: stage.authority.server_context(), tickets, alert)


def _by_hand(context: Callable[[Stage], SSLContext], tickets: int, alert: int | None) -> Fault:
    @asynccontextmanager
    async def strikes(stage: Stage) -> AsyncIterator[Count]:
        async def script(connection: RawConnection) -> None:
            end = await HandTls.accept(connection, context(stage), tickets=tickets)
            assert alert is not None, "it was shown a certificate"
            await end.read()
            await end.alert(alert)

        async with _raw_server(stage, script, ()) as (_, count):
            yield count

    return Fault(RAW, strikes)


def redirect(status: str) -> Fault:
    """Return a vendor that answers with a `Location` elsewhere, where nobody may come."""

    @asynccontextmanager
    async def strikes(stage: Stage) -> AsyncIterator[Count]:
        async with serving(serve_forever, stage.certificates["good"]) as elsewhere:
            location = f"location: https://127.0.0.1:{elsewhere.port}/v3/push/app\r\n"

            async def script(connection: RawConnection) -> None:
                await connection.read_request()
                await connection.answer(b"", status=status, headers=location)
                await connection.read_eof()

            async with _raw_vendor(stage, script) as count:
                yield count
            assert elsewhere.connections == []

    return Fault(RAW, strikes)


def nobody(app: str = RAW) -> Fault:
    """Return that nobody listens: neither the vendor nor the row's own proxy."""

    @asynccontextmanager
    async def strikes(_: Stage) -> AsyncIterator[Count]:
        yield lambda: (0, 0)

    return Fault(app, strikes)


def full_backlog(app: str = SHORT_CONNECT) -> Fault:
    """Return a listener that accepts nobody, so that connecting takes for ever."""

    @asynccontextmanager
    async def strikes(stage: Stage) -> AsyncIterator[Count]:
        async with AsyncExitStack() as stack:
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", stage.proxy_port if app.startswith(VIA) else stage.raw_port))
            listener.listen(0)
            for _ in range(4):  # fill the backlog: the next SYN is dropped
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            yield lambda: (0, 0)

    return Fault(app, strikes)


def proxied(
    proxy: Script,
    app: str = VIA,
    *,
    vendor: Script = serve_forever,
    is_warm: bool = False,
    before: Callable[[RawServer], Awaitable[None]] | None = None,
) -> Fault:
    """Return a proxy that does what a script says, and a vendor behind it; the connections are the proxy's."""

    @asynccontextmanager
    async def strikes(stage: Stage) -> AsyncIterator[Count]:
        async with (
            _raw_server(stage, vendor, ("good",)) as (server, _),
            serving(proxy, None, stage.proxy_port) as listener,
        ):
            calls = connections = 0
            if is_warm:
                assert (await stage.push(app, android())).code == "OK"
                calls, connections = len(server.requests), len(listener.connections)
            if before is not None:
                await before(listener)
            yield lambda: (len(server.requests) - calls, len(listener.connections) - connections)

    return Fault(app, strikes)


def _count_of_simulator(stage: Stage) -> Count:
    def count() -> tuple[int, int]:
        records = stage.vendor.records
        return sum(record.is_complete for record in records), len({record.connection for record in records})

    return count


@asynccontextmanager
async def _raw_vendor(stage: Stage, script: Script) -> AsyncIterator[Count]:
    async with _raw_server(stage, script, ("good",)) as (_, count):
        yield count


@asynccontextmanager
async def _raw_server(
    stage: Stage, script: Script, certificates: Sequence[str]
) -> AsyncIterator[tuple[RawServer, Count]]:
    handshakes = 0

    def choose(tls: SSLObject, _name: str | None, _context: SSLContext) -> None:
        nonlocal handshakes
        tls.context = stage.certificates[certificates[min(handshakes, len(certificates) - 1)]]
        handshakes += 1

    front = stage.front if certificates else None
    stage.front.sni_callback = choose
    async with serving(script, front, stage.raw_port) as server:
        # A handshake that fails is no connection to the server.
        yield server, lambda: (len(server.requests), handshakes if certificates else len(server.connections))
