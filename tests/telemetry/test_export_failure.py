"""Which cause is read from a line of an exporter, and that nothing of the collector's wording is in it."""

import logging
import socket
import ssl
from collections.abc import Iterator

import grpc
import pytest

from sidecar.telemetry.export_failure import FailureCause, cause_of

GRPC = "Failed to export %s to %s, error code: %s, error details: %s"
TIMEOUT = "Failed to export %s batch due to timeout, max retries or shutdown."
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
AT = "ipv4:192.0.2.7:4317"
NO_ADDRESS = f"failed to connect to all addresses; last error: UNKNOWN: {AT}: "


@pytest.fixture
def cause() -> Iterator[FailureCause]:
    reading = FailureCause()
    yield reading
    reading.let_go()


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        (UNAVAILABLE, f"{NO_ADDRESS}Failed to connect to remote host: Connection refused", "connection refused"),
        (UNAVAILABLE, f"{NO_ADDRESS}recvmsg:Connection reset by peer (104)", "connection closed"),
        (
            UNAVAILABLE,
            f"{NO_ADDRESS}Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: WRONG_VERSION_NUMBER",
            "TLS handshake failed",
        ),
        (
            UNAVAILABLE,
            f"{NO_ADDRESS}Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED",
            "TLS certificate refused",
        ),
        (UNAVAILABLE, "errors resolving collector:4317: [Domain name not found]", "name not found"),
        (UNAVAILABLE, f"{NO_ADDRESS}something new", "UNAVAILABLE"),
        (UNAVAILABLE, "the collector's own words: Connection refused", "UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.UNAUTHENTICATED, f"{NO_ADDRESS}Connection refused", "UNAUTHENTICATED"),
    ],
)
def test_cause_of_a_grpc_failure(cause: FailureCause, code: grpc.StatusCode, details: str, expected: str) -> None:
    record = logging.LogRecord("x", logging.ERROR, "/x.py", 1, GRPC, ("traces", "192.0.2.7:4317", code, details), None)
    assert cause.filter(record) is False
    assert cause.seen == expected


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        (ConnectionRefusedError(111, "planted"), "connection refused"),
        (ConnectionResetError(104, "planted"), "connection closed"),
        (ssl.SSLError(1, "planted"), "TLS handshake failed"),
        (ssl.SSLCertVerificationError(1, "planted"), "TLS certificate refused"),
        (socket.gaierror(-2, "planted"), "name not found"),
        (TimeoutError("planted"), "timeout"),
        (ValueError("planted"), "LookupError"),
    ],
)
def test_cause_is_what_lies_below_an_exception(below: Exception, expected: str) -> None:
    above = LookupError("planted")
    above.__cause__ = below
    assert cause_of(above) == expected


def test_cause_of_an_export_that_ran_out_of_time_is_the_failure_before_it_if_there_was_one(cause: FailureCause) -> None:
    record = logging.LogRecord("x", logging.ERROR, "/x.py", 1, TIMEOUT, ("spans",), None)
    cause.filter(record)
    assert cause.seen == "timeout"
    cause.seen = "connection refused"
    cause.filter(record)
    assert cause.seen == "connection refused"
