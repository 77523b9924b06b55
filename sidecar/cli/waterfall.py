"""Draws the spans of one call as a small waterfall: who took how long, and when.

A span is [name, index of its parent (-1: none), start_us, duration_us, "ok" | "error" | "unset", {attributes},
[[event, offset_us], ...]], times counted from the start of the first. What to record lives in telemetry/.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console

Spans = Sequence[Sequence[Any]]
_PIPED_WIDTH: Final = 100
_MIN_BAR: Final = 10
_MAX_BAR: Final = 60


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
    """Print the waterfall, coloured on a terminal, as wide as it is."""
    from rich.text import Text  # noqa: PLC0415  # `serve` imports none of it

    width = console.width if console.is_terminal else _PIPED_WIDTH
    ascii_only = console.options.ascii_only
    names = [branches + str(spans[index][0]) for index, branches in _tree(spans, ascii_only=ascii_only)]
    name_width = max(map(len, names), default=0)
    bar_width = max(_MIN_BAR, min(_MAX_BAR, width - name_width - 40))
    for row in rows_of(spans, bar_width, ascii_only=ascii_only):
        colour = "red" if row.is_error else "cyan"
        line = Text.assemble(
            row.name.ljust(name_width), "  ", (row.bar, colour), f" {row.duration:>10}", "  ", (row.note, "dim")
        )
        line.rstrip()
        console.print(line, soft_wrap=True)


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
