"""What verifies a vendor, and what a vendor's refusal of our own certificate looks like."""

import ssl
from pathlib import Path

# Alerts of a vendor that has looked at our certificate, or missed it (RFC 8446, 6.2), as OpenSSL names them.
_CLIENT_REFUSED = frozenset({
    "TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_REVOKED", "SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "TLSV1_ALERT_UNKNOWN_CA", "TLSV1_ALERT_ACCESS_DENIED",
})  # fmt: skip


def build_tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Build what verifies a vendor: against `ca_file`, or the system's store.

    Raises `OSError` (`ssl.SSLError` is one) when `ca_file` cannot be used.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def show_certificate(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
    """Have a certificate shown to a vendor that demands one.

    Raises `OSError` when the files cannot be used, `PassphraseError` for a key that is encrypted.
    """
    # Without this OpenSSL asks on the terminal, and waits.
    context.load_cert_chain(cert_file, key_file, password=_no_passphrase)


class PassphraseError(Exception):
    """A key is encrypted."""


def _no_passphrase() -> str:
    raise PassphraseError


def is_tls13(tls: ssl.SSLObject | None) -> bool:
    """Whether a connection speaks TLS 1.3. Ask while it is whole: OpenSSL forgets the version at a fatal alert."""
    return tls is not None and tls.version() == "TLSv1.3"


def is_client_alert(error: BaseException | None) -> bool:
    """Whether an error is a vendor's alert that refuses our certificate, or the lack of one."""
    return isinstance(error, ssl.SSLError) and error.reason in _CLIENT_REFUSED


def has_ticket(tls: ssl.SSLObject) -> bool:
    """Whether the vendor has sent a session ticket."""
    session = tls.session
    return session is not None and session.has_ticket


def is_client_refused(error: BaseException | None, tls: ssl.SSLObject | None) -> bool:
    """Whether the end of a connection of TLS 1.3, by the first record that came, was the refusal of our certificate.

    In TLS 1.3 the client may write as soon as its own half of the handshake is done, before the vendor has looked at
    its certificate. A vendor that then refuses has read nothing of HTTP: the alert is its first record. One that has
    accepted the handshake mostly sends a session ticket first; and it cannot ask for a certificate later, since we do
    not offer that (post-handshake authentication). TLS 1.2 can (renegotiation), so there the alert proves nothing.
    """
    return is_client_alert(error) and tls is not None and not has_ticket(tls)
