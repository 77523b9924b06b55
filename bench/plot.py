"""Draws the plot of the results. It computes nothing."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from bench.results import Row
from bench.targets import TARGETS

COLORS = {"a": "#1f6feb", "b": "#d1495b", "c": "#2a9d8f", "d": "#8d99ae"}

mpl.use("svg")
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "push-sidecar", "font.size": 9})


def draw(rows: Sequence[Row], file: Path) -> None:
    """Write an SVG: CPU per push as bars, latency as a line from p50 to p99; without lists, which are no such push."""
    found = [row for row in rows if row.work.tokens == 1]
    levels = sorted({row.work.in_flight for row in found})
    targets = sorted({row.target for row in found})
    height = 0.8 / len(targets)
    figure, (cpu, latency) = plt.subplots(1, 2, figsize=(11, 1.2 + 1.1 * len(levels)), sharey=True)
    for row in found:
        y = levels.index(row.work.in_flight) + (targets.index(row.target) - (len(targets) - 1) / 2) * height
        color = COLORS[row.target]
        label = f"({row.target}) {TARGETS[row.target].label}" if row.work.in_flight == levels[0] else None
        cpu.barh(y, row.cpu_us_per_push, height * 0.9, color=color, label=label)
        cpu.annotate(
            f"{row.cpu_us_per_push:.0f}",
            (row.cpu_us_per_push, y),
            (3, 0),
            textcoords="offset points",
            va="center",
        )
        latency.plot([row.p50_us / 1000, row.p99_us / 1000], [y, y], color=color, linewidth=2)
        latency.plot(row.p50_us / 1000, y, "o", color=color)
        latency.plot(row.p99_us / 1000, y, "|", color=color, markersize=10, markeredgewidth=2)
    cpu.set_title("CPU of the server per push, µs")
    cpu.set_yticks(range(len(levels)), [f"{level} in flight" for level in levels])
    cpu.invert_yaxis()
    cpu.margins(x=0.1)
    latency.set_title("latency, ms: p50 (dot) to p99 (bar)")
    latency.set_xscale("log")
    latency.grid(axis="x", alpha=0.3)
    for axes in (cpu, latency):
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="lower center", ncols=len(targets), frameon=False)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
