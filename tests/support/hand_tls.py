"""A TLS server whose alerts are chosen: Python's `ssl` handshakes in memory, and an alert is encrypted by hand.

Of an event loop's own TLS server that refuses a client, the alert often never leaves. Here it does.
"""

import hmac
import ssl
import struct
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tests.support.raw_server import RawConnection

_RECORD_HEAD_BYTES = 5
_APPLICATION_DATA, _ALERT = 23, 21
FATAL = 2

# Those of RFC 8446, section 6, that a server sends when it has looked at a client's certificate, or missed it.
CLIENT_REFUSED = {
    "bad_certificate": 42, "unsupported_certificate": 43, "certificate_revoked": 44, "certificate_expired": 45,
    "certificate_unknown": 46, "unknown_ca": 48, "access_denied": 49, "certificate_required": 116,
}  # fmt: skip
# And the others of that section, of RFC 6066 and of RFC 7301.
OTHER = {
    "close_notify": 0, "unexpected_message": 10, "bad_record_mac": 20, "record_overflow": 22, "handshake_failure": 40,
    "illegal_parameter": 47, "decode_error": 50, "decrypt_error": 51, "protocol_version": 70,
    "insufficient_security": 71, "internal_error": 80, "inappropriate_fallback": 86, "missing_extension": 109,
    "unsupported_extension": 110, "unrecognized_name": 112, "bad_certificate_status_response": 113,
    "unknown_psk_identity": 115, "no_application_protocol": 120, "unassigned": 200,
}  # fmt: skip


class HandTls:
    """The server's end of a connection, from its handshake on."""

    def __init__(self, connection: RawConnection, context: ssl.SSLContext) -> None:
        self._connection = connection
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        # Records that were sent since the handshake: a number that each one is encrypted with.
        self._sent = 0
        self._secret = b""
        # The beginning of a session, for TLS 1.2.
        self._client_random = self._server_random = b""

    @classmethod
    async def accept(cls, connection: RawConnection, context: ssl.SSLContext, *, tickets: int = 0) -> "HandTls":
        """Make the handshake; raises `ssl.SSLError` when the alert that refuses the client has left.

        `context` is for this connection alone.
        """
        context.num_tickets = tickets
        with tempfile.TemporaryDirectory() as folder:
            keys = Path(folder) / "keys"
            context.keylog_filename = str(keys)
            end = cls(connection, context)
            try:
                await end._shake_hands()
            finally:
                await end._flush()
            lines = [line.split() for line in keys.read_text().splitlines()]
        for name, client_random, secret in (line for line in lines if len(line) == 3):
            if name in {"SERVER_TRAFFIC_SECRET_0", "CLIENT_RANDOM"}:  # TLS 1.3, TLS 1.2
                end._client_random, end._secret = bytes.fromhex(client_random), bytes.fromhex(secret)
        return end

    @property
    def client_certificate(self) -> bytes | None:
        """What the client has shown, as DER."""
        return self._tls.getpeercert(binary_form=True)

    async def read(self) -> bytes:
        """Read some of what the client has sent; empty at its end."""
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                if not await self._feed():
                    return b""

    async def send(self, data: bytes) -> None:
        """Send data."""
        self._tls.write(data)
        await self._flush()

    async def alert(self, description: int, level: int = FATAL) -> None:
        """Send an alert of TLS 1.3."""
        await self._connection.send(self.alert_record(description, level))

    def data_record(self, data: bytes) -> bytes:
        """Return data as the next record."""
        self._tls.write(data)
        self._sent += 1
        return self._out.read()

    def alert_record(self, description: int, level: int = FATAL) -> bytes:
        """Return an alert of TLS 1.3 as the next record."""
        content = bytes([level, description, _ALERT])
        head = struct.pack(">BHH", _APPLICATION_DATA, 0x0303, len(content) + 16)
        name = self._tls.cipher()
        assert name is not None
        key = _derive(self._secret, b"key", 16 if "AES_128" in name[0] else 32)
        mask = _derive(self._secret, b"iv", 12)
        nonce = bytes(a ^ b for a, b in zip(mask, self._sent.to_bytes(12, "big"), strict=True))
        self._sent += 1
        return head + AESGCM(key).encrypt(nonce, content, head)

    def first_alert_record_of_tls12(self, description: int) -> bytes:
        """Return an alert of TLS 1.2 as the first record after the handshake (RFC 5246, 6; RFC 5288, 3)."""
        block = _expand(self._secret, b"key expansion" + self._server_random + self._client_random, 72)
        key, salt = block[32:64], block[68:72]
        number = (1).to_bytes(8, "big")  # the handshake ended with number 0
        kind = struct.pack(">BH", _ALERT, 0x0303)
        sealed = AESGCM(key).encrypt(salt + number, bytes([FATAL, description]), number + kind + struct.pack(">H", 2))
        return kind + struct.pack(">H", len(number) + len(sealed)) + number + sealed

    async def plain_alert(self, description: int) -> None:
        """Send an alert that is not encrypted, as somebody between the two could."""
        await self._connection.send(struct.pack(">BHHBB", _ALERT, 0x0303, 2, FATAL, description))

    async def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                # Of these records none counts: they have keys of their own.
                records = self._out.read()
                # Behind the heads of the record and of ServerHello, and its version.
                self._server_random = self._server_random or records[11:43]
                await self._connection.send(records)
                if not await self._feed():
                    raise ConnectionResetError from None
            else:
                return

    async def _feed(self) -> bool:
        data = await self._connection.read_some()
        self._in.write(data)
        return bool(data)

    async def _flush(self) -> None:
        records = self._out.read()
        at = 0
        while at < len(records):
            self._sent += 1
            at += _RECORD_HEAD_BYTES + int.from_bytes(records[at + 3 : at + _RECORD_HEAD_BYTES], "big")
        if records:
            await self._connection.send(records)


def _derive(secret: bytes, label: bytes, size: int) -> bytes:
    """Derive what a record is encrypted with (RFC 8446, 7.1 and 7.3)."""
    name = b"tls13 " + label
    algorithm = hashes.SHA256() if len(secret) == 32 else hashes.SHA384()  # the two of AES-GCM
    return HKDFExpand(algorithm, size, struct.pack(">HB", size, len(name)) + name + b"\0").derive(secret)


def _expand(secret: bytes, seed: bytes, size: int) -> bytes:
    """Expand a secret by SHA-384 (RFC 5246, 5)."""
    found = b""
    link = seed
    while len(found) < size:
        link = hmac.digest(secret, link, "sha384")
        found += hmac.digest(secret, link + seed, "sha384")
    return found[:size]
