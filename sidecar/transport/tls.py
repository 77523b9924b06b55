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


def is_client_refused(error: BaseException | None, tls: ssl.SSLObject | None) -> bool:
    """Whether the end of a connection that has brought no data was the vendor's refusal of our certificate.

    In TLS 1.3 the client may write as soon as its own half of the handshake is done, before the vendor has looked at
    its certificate. A vendor that then refuses has read nothing of HTTP: the alert is its first record. One that has
    accepted the handshake mostly sends a session ticket first; and it cannot ask for a certificate later, since we do
    not offer that (post-handshake authentication). TLS 1.2 can (renegotiation), so there the alert proves nothing.
    """
    if not isinstance(error, ssl.SSLError) or error.reason not in _CLIENT_REFUSED or tls is None:
        return False
    session = tls.session
    return tls.version() == "TLSv1.3" and (session is None or not session.has_ticket)
