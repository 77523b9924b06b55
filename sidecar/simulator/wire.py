"""Doing a fault to one HTTP exchange: the bytes, pauses and cut connections.

Must not live here: which request is hit (faults.py), what the vendor thinks of it.
"""

import asyncio
import json
import os
import socket
import struct
from typing import Final

from aiohttp import web

from sidecar.simulator.exchange import Reply
from sidecar.simulator.faults import Fault, Garbage, Kind

_LINGER_ZERO: Final = struct.pack("ii", 1, 0)
_DRIP_BYTES: Final = 8
_NESTING: Final = 100_000
JSON_TYPE: Final = "application/json; charset=utf-8"

_GARBAGE: Final[dict[Garbage, tuple[str, bytes]]] = {
    Garbage.HTML: ("text/html; charset=utf-8", b"<html><body><h1>502 Bad Gateway</h1></body></html>"),
    Garbage.EMPTY: (JSON_TYPE, b""),
    Garbage.TEXT: (JSON_TYPE, b"push accepted, thank you"),
    Garbage.CHARSET: (
        "application/json; charset=utf-16",
        '{"ret_code": 0, "err_msg": "成功"}'.encode("utf-16"),
    ),
    Garbage.NESTED: (JSON_TYPE, b"[" * _NESTING + b"]" * _NESTING),
    Garbage.LIST: (JSON_TYPE, b'[{"ret_code": 0}]'),
}


def encode(reply: Reply) -> web.Response:
    """Return a vendor's reply as an HTTP response."""
    body = json.dumps(reply.json, ensure_ascii=False, separators=(",", ":")).encode()
    return web.Response(status=reply.status, body=body, headers={"Content-Type": JSON_TYPE, **reply.headers})


def cut(http: web.BaseRequest, *, is_reset: bool) -> None:
    """End the connection at once: with a TCP reset, or in order (TLS close_notify and FIN)."""
    transport = http.transport
    if transport is None:
        return
    if not is_reset:
        http.protocol.force_close()
        return
    held = transport.get_extra_info("socket")
    # A duplicate shares the option with the original; uvloop's own object allows less.
    with socket.socket(fileno=os.dup(held.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    transport.abort()


async def perform(http: web.BaseRequest, fault: Fault, reply: Reply) -> tuple[int | None, web.StreamResponse]:
    """Answer as the fault wants it; return the status that was sent (None: none) and what aiohttp is to send.

    `reply` is what would be answered without the fault, or the refusal that the fault asks for.
    """
    match fault.kind:
        case Kind.SLOW | Kind.RET_CODE:
            return reply.status, encode(reply)
        case Kind.HTTP:
            return fault.status, _http(fault)
        case Kind.GARBAGE:
            content_type, body = _GARBAGE[fault.garbage]
            return 200, web.Response(body=body, headers={"Content-Type": content_type})
        case Kind.HALF_BODY:
            return reply.status, await _half(http, encode(reply))
        case Kind.DRIP:
            return reply.status, await _drip(http, encode(reply), fault.pause_s)
        case Kind.CLOSE_AFTER_ANSWER:
            return reply.status, await _whole_then_close(http, encode(reply))
        case Kind.HANG:
            await asyncio.Event().wait()  # until the client goes: aiohttp cancels the handler
        case _:
            cut(http, is_reset=fault.kind in {Kind.RESET_BEFORE_BODY, Kind.RESET_AFTER_BODY})
    return None, web.Response()  # dropped: the connection is gone


def _http(fault: Fault) -> web.Response:
    body = fault.body if isinstance(fault.body, bytes) else fault.body.encode()
    headers = dict(fault.headers)
    if body:
        headers.setdefault("Content-Type", JSON_TYPE)
    return web.Response(status=fault.status, body=body, headers=headers)


async def _half(http: web.BaseRequest, whole: web.Response) -> web.StreamResponse:
    started, body = await _start(http, whole)
    await started.write(body[: len(body) // 2])
    cut(http, is_reset=False)
    return started


async def _drip(http: web.BaseRequest, whole: web.Response, pause_s: float) -> web.StreamResponse:
    started, body = await _start(http, whole)
    for at in range(0, len(body), _DRIP_BYTES):
        await started.write(body[at : at + _DRIP_BYTES])
        await asyncio.sleep(pause_s)
    return started


async def _whole_then_close(http: web.BaseRequest, whole: web.Response) -> web.StreamResponse:
    started, body = await _start(http, whole)
    await started.write(body)
    await started.write_eof()
    cut(http, is_reset=False)
    return started


async def _start(http: web.BaseRequest, whole: web.Response) -> tuple[web.StreamResponse, bytes]:
    body = whole.body if isinstance(whole.body, bytes) else b""
    started = web.StreamResponse(status=whole.status, headers=dict(whole.headers))
    started.content_length = len(body)
    await started.prepare(http)
    return started, body
