"""Rows: a proxy before the vendor that goes wrong. Its refusals are not the vendor's: nothing was sent.

Where the proxy is the row's own, the connections are those that came to the proxy.
"""

from tests.matrix.connection_rows import maybe, not_sent
from tests.matrix.faults import full_backlog, nobody, proxied
from tests.matrix.row import Row
from tests.matrix.scripts import (
    ESTABLISHED,
    after_head,
    answers,
    closes,
    head_of,
    on_second_call,
    relay,
    resets,
)
from tests.matrix.stage import DEADLINE_S, LOST, RAW, VIA, VIA_SHORT_CONNECT
from tests.matrix.verdict import ACCEPTED, DEADLINE_UNSENT
from tests.support.raw_server import RawServer, Script, hold


async def end_tunnel(proxy: RawServer) -> None:
    """End the idle tunnel; the sidecar's kernel knows it, and not yet its event loop."""
    proxy.connections[0].send_fin_now()


def refuses(status: str, headers: str = "") -> Script:
    """Refuse the CONNECT."""
    return answers(head_of(b"no", status, headers) + b"no", is_early=True)


def tunnel(then: Script) -> Script:
    """Say that the tunnel is there; then do what `then` says."""
    return answers(ESTABLISHED, then=then, is_early=True)


def refusal(status: str, headers: str = "") -> Row:
    """Return a row of a proxy that refuses."""
    return not_sent(f"a proxy that answers {status}", proxied(refuses(status, headers)), "proxy")


ROWS = [
    # The vendor cannot be reached, says the proxy.
    not_sent("a host name that the proxy cannot resolve", nobody(LOST), "proxy", connections=0),
    not_sent("a connection that the proxy is refused", nobody(RAW), "proxy", connections=0),
    # The proxy cannot be reached, or refuses.
    not_sent("no proxy", nobody(VIA), "connect", connections=0),
    not_sent("a proxy with a full backlog", full_backlog(VIA_SHORT_CONNECT), "connect_timeout", connections=0),
    *(refusal(status) for status in ("400 Bad Request", "403 Forbidden", "404 Not Found", "405 Method Not Allowed")),
    refusal("407 Proxy Authentication Required", 'proxy-authenticate: Basic realm="proxy"\r\n'),
    refusal("429 Too Many Requests", "retry-after: 60\r\n"),
    *(refusal(status) for status in ("500 Internal Server Error", "502 Bad Gateway", "504 Gateway Timeout")),
    refusal("503 Service Unavailable", "retry-after: 60\r\n"),
    refusal("302 Found", "location: http://127.0.0.1:1/\r\n"),
    # The proxy falls silent or hangs up.
    not_sent("a proxy that says nothing", proxied(hold, VIA_SHORT_CONNECT), "connect_timeout"),
    not_sent("a proxy that closes", proxied(after_head(closes)), "connect"),
    not_sent("a proxy that resets", proxied(after_head(resets)), "connect"),
    not_sent("a proxy that is none", proxied(answers(b"220 mail.example ESMTP\r\n", is_early=True)), "connect"),
    Row(
        "the deadline while a proxy says nothing",
        proxied(hold),
        DEADLINE_UNSENT,
        timeout_s=DEADLINE_S,
        calls=0,
        cause="cancelled",
    ),
    # The tunnel is there, and goes wrong.
    not_sent("a tunnel that says nothing", proxied(tunnel(hold), VIA_SHORT_CONNECT), "connect_timeout"),
    not_sent("a tunnel that closes", proxied(tunnel(closes)), "connect"),
    not_sent("a tunnel that resets", proxied(tunnel(resets)), "connect"),
    maybe("a tunnel whose end closes", proxied(relay, vendor=answers(then=closes)), "connection_lost"),
    maybe(
        "an old tunnel whose end closes",
        proxied(relay, vendor=on_second_call(answers(then=closes)), is_warm=True),
        "idle_connection_closed",
        connections=0,
    ),
    Row("an old tunnel that has just ended", proxied(relay, is_warm=True, before=end_tunnel), ACCEPTED),
    Row("a proxy that works", proxied(relay), ACCEPTED),
]
