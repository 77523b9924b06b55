"""Reads the tables of docs/xg-mapping.md. Knows nothing of the code under test."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PATH = Path(__file__).parents[2] / "docs" / "xg-mapping.md"
REQUEST_HEADER = ("documented", "proto field", "rule", "body", "source", "ours")
ANSWER_HEADER = ("documented", "answer field", "how it is read", "source", "ours")
DECISION_HEADER = ("", "decision", "reason")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table, its cells by the names of the columns."""

    section: str
    cells: dict[str, str]

    def code(self, column: str) -> list[str]:
        """Return what a cell has in code marks."""
        return re.findall(r"`([^`]+)`", self.cells[column])

    @property
    def place(self) -> str:
        """The place in the body; empty when the value is not sent."""
        return next(iter(self.code("body")), "")


def rows(header: tuple[str, ...]) -> list[Row]:
    """Return the rows of every table with this header."""
    return list(_rows(header))


def _rows(header: tuple[str, ...]) -> Iterator[Row]:
    section, inside = "", False
    for line in PATH.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        if not line.startswith("|"):
            inside = False
            continue
        cells = tuple(cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|"))
        if cells == header:
            inside = True
        elif inside and set(line) - set("|-"):
            if len(cells) != len(header):
                raise ValueError(f"a row of {len(cells)} cells where {len(header)} are due: {line}")
            yield Row(section, dict(zip(header, cells, strict=True)))
