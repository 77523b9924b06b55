"""The waterfall of a call's spans, on spans made by hand."""

import io

import pytest
from rich.console import Console

from sidecar.cli.waterfall import Row, print_waterfall, rows_of

# 10 ms: a short wait, a failed attempt, a pause, a second attempt.
SPANS = [
    ["xg.Push", -1, 0, 10_000, "ok", {}, []],
    ["wait", 0, 0, 20, "unset", {}, []],
    ["POST", 0, 1_000, 4_000, "error", {"http.response.status_code": 503, "error.type": "503"}, []],
    ["pause", 0, 5_000, 1_000, "unset", {}, []],
    ["POST", 0, 6_000, 4_000, "ok", {"http.response.status_code": 200}, [["body", 7_000]]],
]


def draw(spans, width=100, **how):
    console = Console(file=io.StringIO(), width=width, **how)
    print_waterfall(spans, console)
    return console.file.getvalue()


def test_spans_are_laid_out_on_one_time_scale():
    assert rows_of(SPANS, 10) == [
        Row("xg.Push", "━━━━━━━━━━", "10.0 ms", "", is_error=False),
        Row("├ wait", "╸         ", "0.02 ms", "", is_error=False),
        Row("├ POST", " ━━━━     ", "4.00 ms", "HTTP 503", is_error=True),
        Row("├ pause", "     ━    ", "1.00 ms", "", is_error=False),
        Row("└ POST", "      ━◆━━", "4.00 ms", "HTTP 200, body at 7.00 ms", is_error=False),
    ]


def test_half_a_cell_is_drawn():
    spans = [["root", -1, 0, 100, "ok", {}, []], ["child", 0, 5, 90, "ok", {}, []]]
    assert rows_of(spans, 10)[1].bar == "╺━━━━━━━━╸"


def test_children_stand_below_their_parents_in_the_order_of_their_starts():
    spans = [
        ["root", -1, 0, 100, "ok", {}, []],
        ["second", 0, 50, 10, "ok", {}, []],
        ["first", 0, 10, 30, "ok", {}, []],
        ["inner", 2, 20, 10, "ok", {}, []],
    ]
    assert [row.name for row in rows_of(spans, 10)] == ["root", "├ first", "│ └ inner", "└ second"]


def test_a_span_whose_parent_is_not_there_is_a_root():
    spans = [["a", 7, 0, 10, "ok", {}, []], ["b", -1, 5, 5, "ok", {}, []]]
    assert [row.name for row in rows_of(spans, 4)] == ["a", "b"]


def test_parents_in_a_circle_do_not_hang():
    spans = [["root", -1, 0, 1, "ok", {}, []], ["a", 2, 0, 1, "ok", {}, []], ["b", 1, 0, 1, "ok", {}, []]]
    assert [row.name for row in rows_of(spans, 4)] == ["root"]


def test_a_call_of_no_time_at_all_is_drawn():
    assert rows_of([["root", -1, 0, 0, "ok", {}, []]], 4) == [Row("root", "╸   ", "0.00 ms", "", is_error=False)]


def test_an_error_without_status_names_its_type():
    spans = [["root", -1, 0, 10, "error", {"error.type": "UNKNOWN"}, []], ["c", 0, 0, 1, "error", {}, []]]
    assert [row.note for row in rows_of(spans, 4)] == ["UNKNOWN", "error"]


def test_events_that_start_and_end_something_become_its_duration():
    events = [["connect.start", 100], ["connect.end", 2_900], ["pool.start", 50], ["body", 3_000]]
    (row,) = rows_of([["POST", -1, 0, 4_000, "ok", {}, events]], 4)
    assert row.note == "connect 2.80 ms, pool.start at 0.05 ms, body at 3.00 ms"


def test_no_spans_are_no_lines():
    assert rows_of([], 10) == []
    assert draw([]) == ""


def test_piped_output_is_plain_and_has_a_line_a_span():
    text = draw(SPANS)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert len(lines) == 5
    assert lines[0].split() == ["xg.Push", "━" * 53, "10.0", "ms"]
    assert lines[2].startswith("├ POST ")
    assert lines[2].endswith("4.00 ms  HTTP 503")


def test_terminal_output_is_red_where_something_failed():
    lines = draw(SPANS, force_terminal=True, color_system="standard").splitlines()
    assert ["\x1b[31m" in line for line in lines] == [False, False, True, False, False]


def test_ascii_terminal_gets_ascii():
    rows = rows_of(SPANS, 10, ascii_only=True)
    assert rows[4] == Row("`- POST", "      =*==", "4.00 ms", "HTTP 200, body at 7.00 ms", is_error=False)
    assert all((row.name + row.bar + row.note).isascii() for row in rows)


CALL = [
    ["pushsidecar.xg.v1.PushService/Push", -1, 0, 10_000, "ok", {}, []],
    [
        *("POST /v3/push/app", 0, 1_000, 4_000, "ok", {"http.response.status_code": 200}),
        [["request.body.sent", 2_000], ["response.headers.received", 4_900]],
    ],
    ["inner", 1, 1_000, 500, "ok", {}, []],
]


@pytest.mark.parametrize("width", [24, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_line_is_wider_than_the_terminal(width, encoding):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_waterfall(CALL, Console(file=file, width=width, force_terminal=True, color_system=None))
    file.seek(0)
    assert max(map(len, file.read().splitlines())) <= width


def test_notes_that_do_not_fit_beside_their_bars_stand_below_them_whole():
    lines = draw(CALL, 80, force_terminal=True, color_system=None).splitlines()
    assert [line.rstrip() for line in lines] == [
        "pushsidecar.xg.v1.PushService/Push  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━    10.0 ms",
        "└ POST /v3/push/app                    ━━━◆━━━━━━━━━◆                    4.00 ms",
        "                                    HTTP 200, request.body.sent at 2.00 ms,",
        "                                    response.headers.received at 4.90 ms",
        "  └ inner                              ━━                                0.50 ms",
    ]


def test_notes_that_fit_stand_beside_their_bars_on_a_terminal():
    lines = draw(CALL, 200, force_terminal=True, color_system=None).splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("ms  HTTP 200, request.body.sent at 2.00 ms, response.headers.received at 4.90 ms")


def test_name_that_does_not_fit_is_cut():
    lines = draw(CALL, 40, force_terminal=True, color_system=None).splitlines()
    assert lines[0].startswith("pushsidecar.xg.v…  ━")
    assert lines[0].endswith("10.0 ms")
