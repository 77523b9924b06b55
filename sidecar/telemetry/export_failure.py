"""Why the collector did not take spans, in a few words of ours: read from the exporters' log lines, which nobody sees.

Nothing that a collector words, no address and no header goes on.
"""

import logging
import socket
import ssl
from collections.abc import Iterator
from http import HTTPStatus
from http.client import RemoteDisconnected

# Where the exporters log.
_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
)
# The exporter logs some by their number, and some by their name.
_HTTP_STATUSES = {key: status.value for status in HTTPStatus for key in (status.value, status.phrase)}

NO_TIME_LEFT = "no time left"
_CERTIFICATE = "TLS certificate refused"
_HANDSHAKE = "TLS handshake failed"
_REFUSED = "connection refused"
_CLOSED = "connection closed"
_NO_NAME = "name not found"
_TIMEOUT = "timeout"

# How gRPC's C core begins when it reached no collector. Other details may be the collector's own words.
_NOT_REACHED = ("failed to connect to all addresses", "errors resolving ", "DNS resolution failed")
# What it says then; the first that is found counts.
_GRPC_DETAILS = (
    ("CERTIFICATE_VERIFY_FAILED", _CERTIFICATE),
    ("Hostname Verification Check failed", _CERTIFICATE),
    ("Tls handshake failed", _HANDSHAKE),
    ("Ssl handshake failed", _HANDSHAKE),
    ("Connection refused", _REFUSED),
    ("Connection reset", _CLOSED),
    ("Socket closed", _CLOSED),
    ("errors resolving", _NO_NAME),
    ("DNS resolution failed", _NO_NAME),
)
# What lies below the exceptions of the HTTP library; the first that fits counts.
_EXCEPTIONS: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, _CERTIFICATE),
    (ssl.SSLError, _HANDSHAKE),
    (ConnectionRefusedError, _REFUSED),
    (RemoteDisconnected, _CLOSED),
    (ConnectionError, _CLOSED),
    (socket.gaierror, _NO_NAME),
    (TimeoutError, _TIMEOUT),
)


class FailureCause(logging.Filter):
    """Takes the cause of a failure from the exporters' log lines, and lets no line through."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = ""
        for name in _LOGGERS:
            logging.getLogger(name).filters.insert(0, self)  # before one of theirs that drops lines

    def let_go(self) -> None:
        """Let the exporters log again."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep what the line says of the failure, if it says anything."""
        values = record.args if isinstance(record.args, tuple) else ()
        for value in values:
            if type(value).__name__ == "StatusCode":
                self.seen = _of_grpc(str(getattr(value, "name", "")), str(values[-1]))
            elif isinstance(value, Exception):
                self.seen = cause_of(value)
            elif isinstance(value, int | str) and value in _HTTP_STATUSES:
                self.seen = f"HTTP {_HTTP_STATUSES[value]}"
        if not self.seen and "due to timeout" in str(record.msg):
            self.seen = _TIMEOUT  # the HTTP exporter names no exception then
        return False


def cause_of(error: BaseException) -> str:
    """Return what lies below an exception, or else its type."""
    for below in _chain(error):
        for kind, cause in _EXCEPTIONS:
            if isinstance(below, kind):
                return cause
    return type(error).__name__


def _of_grpc(code: str, details: str) -> str:
    if code == "UNAVAILABLE" and details.startswith(_NOT_REACHED):
        return next((cause for words, cause in _GRPC_DETAILS if words in details), code)
    return code


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
