"""Which headers of W3C's Trace Context a call has, where a key stands several times or is no text."""

import pytest

from sidecar.telemetry.trace_headers import trace_headers

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        pytest.param([], {}, id="none"),
        pytest.param([("traceparent", PARENT)], {"traceparent": PARENT}, id="parent"),
        pytest.param([("tracestate", "a=1")], {}, id="state-without-a-parent"),
        pytest.param(
            [("tracestate", "b=2"), ("traceparent", PARENT), ("x", "y"), ("tracestate", "a=1,c=3")],
            {"traceparent": PARENT, "tracestate": "b=2,a=1,c=3"},
            id="two-states",
        ),
        pytest.param([("traceparent", PARENT), ("tracestate", "a=1"), ("traceparent", PARENT)], {}, id="two-parents"),
        pytest.param([("traceparent", PARENT), ("traceparent", b"\xff")], {}, id="second-parent-is-no-text"),
        pytest.param([("traceparent", b"\xff")], {}, id="parent-is-no-text"),
        pytest.param(
            [("tracestate", "a=1"), ("traceparent", PARENT), ("tracestate", b"\xff")],
            {"traceparent": PARENT},
            id="second-state-is-no-text",
        ),
    ],
)
def test_headers(pairs: list[tuple[str, str | bytes]], expected: dict[str, str]) -> None:
    assert trace_headers(pairs) == expected
