"""What the raw vendor and the raw proxy do with one connection, byte by byte."""

import asyncio

from tests.support.raw_server import OK, RawConnection, Script, hold, serve_forever


def head_of(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """Return the head of an answer with this body."""
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode()


SUCCESS = head_of(OK) + OK
# A proxy's answer to CONNECT.
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


async def closes(connection: RawConnection) -> None:
    """End the connection in good order."""
    connection.close()


async def resets(connection: RawConnection) -> None:
    """End the connection with RST."""
    connection.reset()


def after_head(then: Script) -> Script:
    """Read the head of a request, and leave its body unread."""

    async def script(connection: RawConnection) -> None:
        await connection.read_head()
        await then(connection)

    return script


def answers(*pieces: bytes, then: Script = hold, is_early: bool = False) -> Script:
    """Read a request (`is_early`: only its head), answer with these bytes, then do what `then` says."""

    async def script(connection: RawConnection) -> None:
        await (connection.read_head() if is_early else connection.read_request())
        for piece in pieces:
            await connection.send(piece)
        await then(connection)

    return script


def drips(start: bytes, piece: bytes, pause_s: float) -> Script:
    """Begin an answer and go on with one piece after another, for ever."""

    async def script(connection: RawConnection) -> None:
        await connection.read_request()
        await connection.send(start)
        while True:
            await connection.send(piece)
            await asyncio.sleep(pause_s)

    return script


def sends(data: bytes) -> Script:
    """Speak first, and without TLS."""

    async def script(connection: RawConnection) -> None:
        await connection.send(data)
        await connection.read_eof()

    return script


def on_second_call(then: Script) -> Script:
    """Answer the first call on the first connection; then do what `then` says. Other connections are served well."""

    async def script(connection: RawConnection) -> None:
        await connection.serve_one()
        await (then if connection.index == 0 else serve_forever)(connection)

    return script


async def relay(connection: RawConnection) -> None:
    """Be a CONNECT proxy: connect where the client wants, or answer 502."""
    target = (await connection.read_head()).split()[1].decode()
    host, _, port = target.rpartition(":")
    connecting = asyncio.ensure_future(asyncio.open_connection(host, int(port)))
    gone = asyncio.ensure_future(connection.read_eof())
    try:
        await asyncio.wait({connecting, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        await asyncio.wait({gone})
        if is_left := not connecting.done():
            connecting.cancel()  # else it could reach the vendor of a later row
    if is_left:
        return
    if connecting.exception() is not None:
        await connection.answer(b"", status="502 Bad Gateway")
        return
    await connection.send(ESTABLISHED)
    await connection.tunnel(*connecting.result())
