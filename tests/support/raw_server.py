"""A vendor that misbehaves byte by byte: a TCP or TLS server on loopback that does what a script says, per connection.

It knows HTTP only as far as it must: where a request ends. What it saw (bytes, connections) is kept for the test.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Self

OK = b'{"ret_code":0}'


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it came."""

    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        """The request line."""
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers in order, names in lower case."""
        lines = self.head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")[1:]
        pairs = (line.split(":", 1) for line in lines)
        return [(name.lower(), value.strip()) for name, value in pairs]


class RawConnection:
    """One accepted connection; `index` counts from 0."""

    def __init__(
        self, server: "RawServer", index: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self.index = index

    async def read_head(self) -> bytes:
        """Read up to the end of the headers."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def read_request(self) -> RawRequest:
        """Read one whole request and keep it in `server.requests`."""
        head = await self.read_head()
        size = next((int(v) for n, v in RawRequest(head, b"").headers if n == "content-length"), 0)
        request = RawRequest(head, await self._reader.readexactly(size))
        self._server.requests.append(request)
        return request

    async def read_some(self, size: int = 65536) -> bytes:
        """Read what is there, at least a byte and at most so many; empty at the end."""
        return await self._reader.read(size)

    async def read_eof(self) -> bytes:
        """Read until the peer closes; returns what came before. A reset is a close, too."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            return await self._reader.read()
        return b""

    async def send(self, data: bytes) -> None:
        """Send bytes.

        Raises `ConnectionError` when the peer has gone.
        """
        if self._writer.is_closing():
            raise ConnectionResetError
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, body: bytes = OK, *, status: str = "200 OK", headers: str = "") -> None:
        """Send a whole answer."""
        await self.send(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body)

    async def serve_one(self) -> RawRequest:
        """Read a request and answer it with success."""
        request = await self.read_request()
        await self.answer()
        return request

    def reset(self) -> None:
        """End the connection with RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def send_fin_now(self) -> None:
        """End the stream below TLS: the FIN is in the peer's kernel when this returns, without a turn of the loop."""
        with socket.socket(fileno=socket.dup(self._socket.fileno())) as twin:
            twin.shutdown(socket.SHUT_WR)

    def end_now(self, data: bytes) -> None:
        """Send bytes below TLS and take nothing any more, as at once as `send_fin_now`: what comes is reset."""
        with socket.socket(fileno=socket.dup(self._socket.fileno())) as twin:
            twin.sendall(data)
            twin.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close in good order (close_notify, FIN)."""
        self._writer.close()

    async def tunnel_to(self, port: int) -> None:
        """Pass bytes to and from a port of loopback, until either side ends."""
        await self.tunnel(*await asyncio.open_connection("127.0.0.1", port))

    async def tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes to and from another connection, until either side ends; closes that one."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(self._reader, writer))
                group.create_task(_copy(reader, self._writer))
        finally:
            writer.close()

    @property
    def _socket(self) -> socket.socket:
        found: socket.socket = self._writer.get_extra_info("socket")
        return found


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # an end like any other
    finally:
        writer.close()


Script = Callable[[RawConnection], Awaitable[None]]


class RawServer:
    """Runs `script` for every connection, and closes the connection when it returns. An async context manager.

    `port` is 0 for a free one.
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None, port: int = 0, *, host: str = "127.0.0.1") -> None:
        self._script = script
        self._tls = tls
        self.port = port
        self._host = host
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._changed = asyncio.Event()
        self.requests: list[RawRequest] = []
        self.connections: list[RawConnection] = []
        self.failures: list[BaseException] = []

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, self._host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening, end every script, and report what failed in one."""
        self._server.close()
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.failures:
            raise ExceptionGroup("scripts of the raw server", [e for e in self.failures if isinstance(e, Exception)])

    async def wait_open(self, *, at_least: int = 0, at_most: int = 1_000_000) -> None:
        """Wait until so many connections are open."""
        while not at_least <= len(self._open) <= at_most:
            self._changed.clear()
            await self._changed.wait()

    async def wait_all_closed(self) -> None:
        """Wait until no connection is open."""
        await self.wait_open(at_most=0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        self._changed.set()
        connection = RawConnection(self, len(self.connections), reader, writer)
        self.connections.append(connection)
        try:
            await self._script(connection)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client went away: tests see that on their side
        except asyncio.CancelledError:
            pass  # the test is over; streams would report a cancelled handler as an error
        except Exception as error:  # noqa: BLE001  # shown when the server is left
            self.failures.append(error)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError, asyncio.CancelledError):
                await writer.wait_closed()
            del self._open[task]
            self._changed.set()


@contextlib.asynccontextmanager
async def serving(
    script: Script, tls: ssl.SSLContext | None = None, port: int = 0, *, host: str = "127.0.0.1"
) -> AsyncIterator[RawServer]:
    """Run a server, at most for a time that no test needs."""
    async with asyncio.timeout(30), RawServer(script, tls, port, host=host) as server:
        yield server


async def turns(count: int = 20) -> None:
    """Let the event loop turn: what is in the kernel on loopback has been read after a few."""
    for _ in range(count):
        await asyncio.sleep(0)


async def serve_forever(connection: RawConnection) -> None:
    """Answer every request with success."""
    while True:
        await connection.serve_one()


async def hold(connection: RawConnection) -> None:
    """Do nothing until the peer goes."""
    await connection.read_eof()
