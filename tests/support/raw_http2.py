"""One gRPC call as bare HTTP/2 frames: sends metadata that no gRPC library would."""

import asyncio
import struct

PUSH = b"/pushsidecar.xg.v1.PushService/Push"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4
_MAX_LENGTH = 126  # of a text whose length is one byte


async def raw_push(address: str, body: bytes, *metadata: tuple[bytes, bytes], timeout_s: float = 10) -> bytes:
    """Make a push with `metadata`; returns what the server wrote until it ended the call."""
    headers = [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", PUSH), (b":authority", b"x"),
        (b"content-type", b"application/grpc"), (b"te", b"trailers"), *metadata,
    ]  # fmt: skip
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        message = b"\x00" + struct.pack("!I", len(body)) + body
        writer.write(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, b"")
            + _frame(_HEADERS, _END_HEADERS, 1, b"".join(_literal(name) + _text(value) for name, value in headers))
            + _frame(_DATA, _END_STREAM, 1, message)
        )
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


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def _literal(name: bytes) -> bytes:
    """Return a header's start: a literal name, not to be indexed."""
    return b"\x00" + _text(name)


def _text(value: bytes) -> bytes:
    assert len(value) <= _MAX_LENGTH
    return bytes([len(value)]) + value
