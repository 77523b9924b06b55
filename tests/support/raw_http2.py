"""gRPC calls as bare HTTP/2 frames: what no gRPC library would send, and peers that do not read."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self

PUSH = b"/pushsidecar.xg.v1.PushService/Push"
REFLECT = b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
WATCH = b"/grpc.health.v1.Health/Watch"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_INITIAL_WINDOW_SIZE = 4
_LARGEST_WINDOW = 2**31 - 1
_FIRST_WINDOW = 65535
_LITTLE_BYTES, _MUCH_BYTES = 4096, 1 << 20
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_MAX_LENGTH = 126  # of a text whose length is one byte


async def raw_push(
    address: str, body: bytes, *metadata: tuple[bytes, bytes], path: bytes = PUSH, timeout_s: float = 30
) -> bytes:
    """Make a push, or the call of another `path`; returns what the server wrote until it ended the call."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _call(1, path, metadata) + _message(1, body))
        answer = b""
        async with asyncio.timeout(timeout_s):
            while b"grpc-status" not in answer:
                received = await reader.read(65536)
                if not received:
                    break
                answer += received
        return answer
    finally:
        writer.close()
        await writer.wait_closed()


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class RawPeer:
    """A connection of which nothing is read, and nothing acknowledged, but by a test's word."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._next_stream = 1

    async def open(self, path: bytes, body: bytes | None = b"") -> int:
        """Begin a call, with its one message unless `body` is None; returns its stream."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._writer.write(_call(stream, path) + (b"" if body is None else _message(stream, body)))
        await self._writer.drain()
        return stream

    async def widen(self, window: int) -> None:
        """Let the server write so many bytes of each stream's messages."""
        self._writer.write(_frame(_SETTINGS, 0, 0, struct.pack("!HI", _INITIAL_WINDOW_SIZE, window)))
        await self._writer.drain()

    async def message(self) -> bytes:
        """Read up to the next message; it must come in a frame of its own."""
        return (await self.frame(_DATA)).payload[5:]

    async def ping(self) -> None:
        """Wait until the server has read what was sent so far."""
        self._writer.write(_frame(_PING, 0, 0, bytes(8)))
        await self._writer.drain()
        while not (await self.frame(_PING)).flags & _ACK:
            pass

    async def refused(self, count: int) -> set[int]:
        """Read until so many calls were reset; returns their streams."""
        return {(await self.frame(_RST_STREAM)).stream for _ in range(count)}

    async def wait_for_end(self) -> None:
        """Read until the server ends the connection."""
        with suppress(EOFError, OSError):
            while True:
                await self.frame()

    async def frame(self, kind: int | None = None, *, timeout_s: float = 30) -> Frame:
        """Read up to the next frame (of a kind); raises `EOFError` or `OSError` at the end of the connection."""
        async with asyncio.timeout(timeout_s):
            while True:
                head = await self._reader.readexactly(9)
                (length,) = struct.unpack("!I", b"\x00" + head[:3])
                (stream,) = struct.unpack("!I", head[5:])
                payload = await self._reader.readexactly(length)
                if kind in {None, head[3]}:
                    return Frame(head[3], head[4], stream, payload)


@asynccontextmanager
async def raw_peer(address: str, *, window: int | None = None) -> AsyncIterator[RawPeer]:
    """Connect inside the block; `window` is how many bytes of each stream's messages the server may write."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    settings = b"" if window is None else struct.pack("!HI", _INITIAL_WINDOW_SIZE, window)
    writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, settings))
    try:
        yield RawPeer(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


class Deaf:
    """A caller that makes calls over one connection, and reads nothing until it `hears`. An async context manager.

    Its windows of flow control are open: what stops the server is that the connection is full.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._stream = -1
        self._heard = b""

    async def __aenter__(self) -> Self:
        """Connect."""
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LITTLE_BYTES)
        self._socket.setblocking(False)
        self._loop = asyncio.get_running_loop()
        await self._loop.sock_connect(self._socket, self._address)
        settings = struct.pack("!HI", _INITIAL_WINDOW_SIZE, _LARGEST_WINDOW)
        more = struct.pack("!I", _LARGEST_WINDOW - _FIRST_WINDOW)
        await self._send(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, more))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave."""
        self._socket.close()

    async def call(self, path: bytes, body: bytes) -> None:
        """Make a call without a deadline."""
        self._stream += 2
        await self._send(_call(self._stream, path) + _message(self._stream, body))

    async def hear(self, text: bytes, times: int = 1) -> None:
        """Read until this text has come so many times."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _MUCH_BYTES)
        while self._heard.count(text) < times:
            received = await self._loop.sock_recv(self._socket, _MUCH_BYTES)
            assert received, "the server has closed the connection"
            self._heard += received

    async def _send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._socket, data)


def _call(stream: int, path: bytes, metadata: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    headers = [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"),
        (b"content-type", b"application/grpc"), (b"te", b"trailers"), *metadata,
    ]  # fmt: skip
    return _frame(HEADERS, _END_HEADERS, stream, b"".join(_literal(name) + _text(value) for name, value in headers))


def _message(stream: int, body: bytes) -> bytes:
    return _frame(_DATA, _END_STREAM, stream, b"\x00" + struct.pack("!I", len(body)) + body)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def _literal(name: bytes) -> bytes:
    """Return a header's start: a literal name, not to be indexed."""
    return b"\x00" + _text(name)


def _text(value: bytes) -> bytes:
    assert len(value) <= _MAX_LENGTH
    return bytes([len(value)]) + value
