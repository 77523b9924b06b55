"""Draws the spans of one call as a small waterfall: who took how long, and when.

A span is [name, index of its parent (-1: none), start_us, duration_us, "ok" | "error" | "unset", {attributes},
[[event, offset_us], ...]], times counted from the start of the first. What to record lives in telemetry/.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console

Spans = Sequence[Sequence[Any]]
_PIPED_WIDTH: Final = 100
_PIPED_NOTE_WIDTH: Final = 25
_MIN_NAME: Final = 8
_MIN_BAR: Final = 10
_MAX_BAR: Final = 60
_MIN_NOTE: Final = 36
# A space and up to ten characters.
_DURATION_WIDTH: Final = 11
_GAP_WIDTH: Final = 2
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Row:
    """One span as it is drawn."""

    name: str
    """With the branches of the tree before it."""
    bar: str
    duration: str
    note: str
    is_error: bool


def rows_of(spans: Spans, bar_width: int, *, ascii_only: bool = False) -> list[Row]:
    """Lay the spans out, children below their parents in the order in which they began."""
    if not spans:
        return []
    first_us = min(span[2] for span in spans)
    total_us = max(1, max(span[2] + span[3] for span in spans) - first_us)
    return [
        Row(
            name=branches + str(spans[index][0]),
            bar=_bar(spans[index], first_us, total_us, bar_width, ascii_only=ascii_only),
            duration=_milliseconds(spans[index][3]),
            note=_note(spans[index]),
            is_error=spans[index][4] == "error",
        )
        for index, branches in _tree(spans, ascii_only=ascii_only)
    ]


def print_waterfall(spans: Spans, console: "Console") -> None:
    """Print the waterfall: coloured and no wider than the terminal, or a line a span where it is piped.

    On a terminal where one of the notes does not fit beside its bar, each stands below its bar.
    """
    from rich.text import Text  # noqa: PLC0415  # `serve` imports none of it

    ascii_only = console.options.ascii_only
    measured = rows_of(spans, _MIN_BAR, ascii_only=ascii_only)
    name_width = max((len(row.name) for row in measured), default=0)
    note_width = max((len(row.note) for row in measured), default=0)
    width = console.width if console.is_terminal else _PIPED_WIDTH
    is_below = False
    if console.is_terminal:
        name_width = min(name_width, max(_MIN_NAME, width - _MIN_BAR - _DURATION_WIDTH - _GAP_WIDTH))
        is_below = width < name_width + _MIN_BAR + _DURATION_WIDTH + 2 * _GAP_WIDTH + note_width
    beside = 0 if is_below else _GAP_WIDTH + (note_width if console.is_terminal else _PIPED_NOTE_WIDTH)
    bar_width = max(_MIN_BAR, min(_MAX_BAR, width - name_width - _GAP_WIDTH - _DURATION_WIDTH - beside))
    gap = " " * _GAP_WIDTH
    for row in rows_of(spans, bar_width, ascii_only=ascii_only):
        bar = (row.bar, "red" if row.is_error else "cyan")
        name = _shortened(row.name, name_width, ascii_only=ascii_only).ljust(name_width)
        lines = [Text.assemble(name, gap, bar, row.duration.rjust(_DURATION_WIDTH))]
        if is_below:
            lines += [Text(line, style="dim") for line in _below(row.note, name_width + _GAP_WIDTH, width)]
        elif row.note:
            lines[0].append(gap).append(row.note, style="dim")
        for line in lines:
            if console.is_terminal:
                line.truncate(width)
            console.print(line, soft_wrap=True)


def _shortened(name: str, width: int, *, ascii_only: bool) -> str:
    return name if len(name) <= width else name[: width - 1] + ("~" if ascii_only else "…")


def _below(note: str, indent_width: int, width: int) -> list[str]:
    """Break a note between its parts into lines that begin where the bars do, or further left in a narrow terminal."""
    if width - indent_width < _MIN_NOTE:
        indent_width = _GAP_WIDTH
    # Within a part a space is no place to break at, unless the part alone is too long.
    parts = note.replace(" ", _NO_BREAK).replace(f",{_NO_BREAK}", ", ")
    lines = textwrap.wrap(parts, max(_MIN_NOTE, width - indent_width), break_on_hyphens=False)
    return [" " * indent_width + line.replace(_NO_BREAK, " ") for line in lines]


def _tree(spans: Spans, *, ascii_only: bool) -> Iterator[tuple[int, str]]:
    """Walk the tree; yields each span's index and the branches before its name."""
    last, inner, trunk = ("`- ", "|- ", "|  ") if ascii_only else ("└ ", "├ ", "│ ")
    children: dict[int, list[int]] = {}
    for index in sorted(range(len(spans)), key=lambda index: spans[index][2]):
        parent = spans[index][1]
        children.setdefault(parent if 0 <= parent < len(spans) else -1, []).append(index)

    def walk(parent: int, before: str) -> Iterator[tuple[int, str]]:
        siblings = children.pop(parent, [])
        for index in siblings:
            is_last = index == siblings[-1]
            yield index, before + (last if is_last else inner)
            yield from walk(index, before + (" " * len(trunk) if is_last else trunk))

    for root in children.pop(-1, []):
        yield root, ""
        yield from walk(root, "")


def _bar(span: Sequence[Any], first_us: int, total_us: int, width: int, *, ascii_only: bool) -> str:
    """Draw the span in half cells, each event as a mark; the shortest span still has half a cell."""
    halves = 2 * width
    start = min(halves - 1, (span[2] - first_us) * halves // total_us)
    end = max(start + 1, round((span[2] - first_us + span[3]) * halves / total_us))
    full, left, right, mark = ("=", "=", "=", "*") if ascii_only else ("━", "╸", "╺", "◆")
    cells = []
    for cell in range(width):
        has_left, has_right = (start <= half < end for half in (2 * cell, 2 * cell + 1))
        cells.append(full if has_left and has_right else left if has_left else right if has_right else " ")
    for _, offset_us in span[6]:
        cells[max(0, min(width - 1, (offset_us - first_us) * width // total_us))] = mark
    return "".join(cells)


def _note(span: Sequence[Any]) -> str:
    attributes = span[5]
    status = str(attributes.get("http.response.status_code", ""))
    notes = [f"HTTP {status}"] if status else []
    error_type = str(attributes.get("error.type", "error"))
    if span[4] == "error" and error_type != status:
        notes.append(error_type)
    started = {name.removesuffix(".start"): at_us for name, at_us in span[6] if name.endswith(".start")}
    ended = {name.removesuffix(".end"): at_us for name, at_us in span[6] if name.endswith(".end")}
    notes += [f"{name} {_milliseconds(ended[name] - at_us)}" for name, at_us in started.items() if name in ended]
    notes += [
        f"{name} at {_milliseconds(at_us)}"
        for name, at_us in span[6]
        if not {name.removesuffix(".start"), name.removesuffix(".end")} & started.keys() & ended.keys()
    ]
    return ", ".join(notes)


def _milliseconds(time_us: int) -> str:
    return f"{time_us / 1000:.{2 if time_us < 10_000 else 1}f} ms"  # noqa: PLR2004  # three digits are enough
