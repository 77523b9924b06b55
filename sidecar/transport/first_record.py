"""Looks at what comes below TLS on a new connection: whether it was one alert, and nothing before or after it.

Above TLS that cannot be seen: where data and an alert are read at once, the event loops drop the data.
"""

import asyncio
from typing import cast

# An alert of TLS 1.3 on the wire (RFC 8446, 5.2): the head of a record of 19 bytes, which are level, description and
# type, and the 16 bytes that seal them. No record of two alerts, and of data only one of two bytes, is as long.
_HEAD = b"\x17\x03\x03\x00\x13"
_ALERT_BYTES = len(_HEAD) + 19


class FirstRecord(asyncio.BufferedProtocol):
    """Stands between a TCP transport and the event loop's TLS, until `stop`."""

    def __init__(self, transport: asyncio.Transport) -> None:
        # TLS of either event loop takes its bytes in this way.
        self._tls = cast("asyncio.BufferedProtocol", transport.get_protocol())
        self._transport = transport
        self._buffer: memoryview | bytearray = bytearray()
        self._head = b""
        self._size = 0
        transport.set_protocol(self)

    @property
    def is_alert(self) -> bool:
        """Whether all that has come is one record, of an alert's length."""
        return self._size == _ALERT_BYTES and self._head == _HEAD

    def stop(self) -> None:
        """Look at nothing any more."""
        self._transport.set_protocol(self._tls)

    # What the event loop tells.

    def get_buffer(self, sizehint: int) -> memoryview | bytearray:
        """Return where the next bytes go."""
        self._buffer = cast("memoryview | bytearray", self._tls.get_buffer(sizehint))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Look at what has come."""
        self._head += bytes(self._buffer[: min(nbytes, len(_HEAD) - len(self._head))])
        self._size += nbytes
        self._buffer = bytearray()
        self._tls.buffer_updated(nbytes)

    def eof_received(self) -> bool | None:
        """Pass on the end."""
        return self._tls.eof_received()

    def pause_writing(self) -> None:
        """Pass it on."""
        self._tls.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._tls.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the end."""
        self._tls.connection_lost(exc)
