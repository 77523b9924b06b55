"""The matrix: which rows are played in which way. Another transport or listener is one more way."""

import pytest

from tests.matrix import body_rows, code_rows, connection_rows, proxy_rows, status_rows, wire_rows
from tests.matrix.stage import Way

ROWS = [*connection_rows.ROWS, *wire_rows.ROWS, *status_rows.ROWS, *body_rows.ROWS, *code_rows.ROWS]

WAYS = {
    "direct": Way(),
    "proxy": Way(has_proxy=True),
    "unix": Way(has_unix_socket=True),
}

ROWS_OF = {
    "direct": [*connection_rows.DIRECT_ROWS, *ROWS],
    "proxy": [*proxy_rows.ROWS, *ROWS],
    # Nothing differs to the vendor, and little to the caller.
    "unix": ROWS[::12],
}

CASES = [pytest.param(way, row, id=f"{way}-{row.name}") for way, rows in ROWS_OF.items() for row in rows]
