"""Rows: there is no connection, or it ends or falls silent at some point of the call.

Before the body was asked for, nothing was sent; from then on the push may have gone out.
"""

from tests.matrix.faults import Fault, alerting, demanding, full_backlog, nobody, raw
from tests.matrix.row import TRIES, Row
from tests.matrix.scripts import SUCCESS, after_head, answers, closes, drips, head_of, on_second_call, resets, sends
from tests.matrix.stage import DEADLINE_S, LATE_READ, LOST, RAW, SHORT_CONNECT, SHORT_READ, SHORT_TOTAL
from tests.matrix.verdict import ACCEPTED, DEADLINE_MAYBE, DEADLINE_UNSENT, DONE, NOT_SENT, UNKNOWN, Attempt
from tests.support.hand_tls import CLIENT_REFUSED, OTHER
from tests.support.raw_server import OK, RawServer, hold, serve_forever, turns


def not_sent(name: str, fault: Fault, cause: str, *, connections: int = TRIES) -> Row:
    """Return a row of a push that never left, though it was tried as often as is allowed."""
    return Row(name, fault, NOT_SENT, attempts=TRIES, calls=0, connections=connections, cause=cause)


def maybe(name: str, fault: Fault, cause: str, *, calls: int = 1, connections: int = 1) -> Row:
    """Return a row of a push that may have gone out, and is not tried again."""
    return Row(name, fault, UNKNOWN, calls=calls, connections=connections, cause=cause)


def refused_once(name: str, *certificates: str) -> Row:
    """Return a row of a push that is sent once the vendor's certificate is right."""
    spans = (*[Attempt("error", "tls")] * (len(certificates) - 1), DONE)
    fault = raw(serve_forever, certificates=certificates)
    return Row(name, fault, ACCEPTED, attempts=len(spans), connections=len(spans), spans=spans)


async def close_idle(server: RawServer) -> None:
    """End the idle connection in good order, and let that be seen."""
    server.connections[0].close()
    await server.wait_all_closed()
    await turns()


async def end_idle(server: RawServer) -> None:
    """End the idle connection; it is known to the sidecar's kernel, and not yet to its event loop."""
    server.connections[0].send_fin_now()


async def answer_nobody(server: RawServer) -> None:
    """Send an answer on the idle connection."""
    await server.connections[0].send(SUCCESS)


HALF = head_of(OK) + OK[:5]
HEAD = head_of(OK)

ROWS = [
    # No connection.
    not_sent("a backlog that is full", full_backlog(), "connect_timeout", connections=0),
    not_sent("a handshake that stalls", raw(hold, SHORT_CONNECT, certificates=()), "connect_timeout"),
    not_sent("a close in place of the handshake", raw(closes, certificates=()), "connect"),
    not_sent("a reset in place of the handshake", raw(resets, certificates=()), "connect"),
    not_sent("plain HTTP in place of the handshake", raw(sends(SUCCESS), certificates=()), "tls"),
    not_sent("an expired certificate", raw(serve_forever, certificates=["expired"]), "tls"),
    not_sent("a certificate of another host", raw(serve_forever, certificates=["of another host"]), "tls"),
    not_sent("a certificate of another address", raw(serve_forever, certificates=["of another address"]), "tls"),
    not_sent("a certificate of another authority", raw(serve_forever, certificates=["of another authority"]), "tls"),
    refused_once("one expired certificate", "expired", "good"),
    refused_once("two expired certificates", "expired", "expired", "good"),
    # A vendor that looks at our certificate.
    not_sent("a client certificate that is missing", demanding(), "tls"),
    not_sent("a client certificate that is missing in TLS 1.2", demanding(is_tls12=True), "tls"),
    not_sent("an alert that refuses our certificate", alerting(CLIENT_REFUSED["unknown_ca"]), "tls"),
    maybe(
        "such an alert after a session ticket",
        alerting(CLIENT_REFUSED["unknown_ca"], tickets=1),
        "connection_lost",
        calls=0,
    ),
    maybe("an alert of an internal error", alerting(OTHER["internal_error"]), "connection_lost", calls=0),
    maybe("an alert that only closes", alerting(OTHER["close_notify"]), "connection_lost", calls=0),
    Row(
        "the deadline in a handshake that stalls",
        raw(hold, certificates=()),
        DEADLINE_UNSENT,
        timeout_s=DEADLINE_S,
        calls=0,
        cause="cancelled",
    ),
    # Silence.
    maybe("silence before the body is read", raw(after_head(hold), SHORT_READ), "read_timeout", calls=0),
    maybe("silence before the status line", raw(answers(), SHORT_READ), "read_timeout"),
    maybe("silence within the status line", raw(answers(b"HTTP/1.1 20"), SHORT_READ), "read_timeout"),
    maybe("silence within the headers", raw(answers(HEAD[:-2]), SHORT_READ), "read_timeout"),
    maybe("silence between headers and body", raw(answers(HEAD), SHORT_READ), "read_timeout"),
    maybe("silence within the body", raw(answers(HALF), SHORT_READ), "read_timeout"),
    maybe("silence after 100", raw(answers(b"HTTP/1.1 100 Continue\r\n\r\n"), SHORT_READ), "read_timeout"),
    maybe("a slow drip without end", raw(drips(head_of(b" " * 9999), b" ", 0.01), SHORT_TOTAL), "total_timeout"),
    maybe("102 without end", raw(drips(b"", b"HTTP/1.1 102 P\r\n\r\n", 0.01), SHORT_TOTAL), "total_timeout"),
    Row(
        "the deadline before the answer",
        raw(on_second_call(answers()), LATE_READ, is_warm=True),
        DEADLINE_MAYBE,
        timeout_s=DEADLINE_S,
        connections=0,
        cause="read_timeout",
    ),
    # The connection ends.
    maybe("a close before the body is read", raw(after_head(closes)), "connection_lost", calls=0),
    maybe("a reset before the body is read", raw(after_head(resets)), "connection_lost", calls=0),
    maybe("a close after the body was read", raw(answers(then=closes)), "connection_lost"),
    maybe("a reset after the body was read", raw(answers(then=resets)), "connection_lost"),
    maybe("a close after 100", raw(answers(b"HTTP/1.1 100 Continue\r\n\r\n", then=closes)), "connection_lost"),
    maybe("a close within the headers", raw(answers(HEAD[:-2], then=closes)), "connection_lost"),
    maybe("a reset within the headers", raw(answers(HEAD[:-2], then=resets)), "connection_lost"),
    maybe("a close between headers and body", raw(answers(HEAD, then=closes)), "response_cut"),
    maybe("a close after half the body", raw(answers(HALF, then=closes)), "response_cut"),
    maybe("a reset after half the body", raw(answers(HALF, then=resets)), "response_cut"),
    Row("a close after the whole answer", raw(answers(SUCCESS, then=closes)), ACCEPTED),
    # An old connection is picked: it ended, or it ends now.
    maybe(
        "an old connection that is closed as it is picked",
        raw(on_second_call(after_head(closes)), is_warm=True),
        "idle_connection_closed",
        calls=0,
        connections=0,
    ),
    maybe(
        "an old connection that is reset as it is picked",
        raw(on_second_call(after_head(resets)), is_warm=True),
        "idle_connection_closed",
        calls=0,
        connections=0,
    ),
    maybe(
        "an old connection that is closed after the body was read",
        raw(on_second_call(answers(then=closes)), is_warm=True),
        "idle_connection_closed",
        connections=0,
    ),
]

# What a proxy changes, or would have to pass on in time.
DIRECT_ROWS = [
    not_sent("a host name that does not resolve", nobody(LOST), "dns", connections=0),
    not_sent("a connection refused", nobody(RAW), "connect", connections=0),
    Row("an old connection that was closed", raw(serve_forever, is_warm=True, before=close_idle), ACCEPTED),
    Row("an old connection that has just ended", raw(serve_forever, is_warm=True, before=end_idle), ACCEPTED),
    Row("an answer on an old connection", raw(serve_forever, is_warm=True, before=answer_nobody), ACCEPTED),
]
