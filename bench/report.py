"""Writes results: a table for the terminal, Markdown, JSON, a plot. It computes nothing."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from bench.interpreter import Interpreter
from bench.measure import Sample, Settings
from bench.programs import ROOT
from bench.results import NOISE, Goal, Row
from bench.targets import TARGETS

HEAD = (
    "in flight",
    "server",
    "pushes/s",
    "CPU us/push",
    "x (b)",
    "x (c)",
    "p50 ms",
    "p99 ms",
    "p50 - (d), ms",
    "RSS MiB",
    "failed",
)
TITLE = "One push: gRPC in, HTTPS out, rules on, 1 % of traces sampled, early headers"

DISTRIBUTIONS = (
    "grpcio",
    "protobuf",
    "protovalidate",
    "httpx",
    "httptools",
    "uvloop",
    "msgspec",
)
NAIVE_DISTRIBUTIONS = ("opentelemetry-instrumentation-grpc", "opentelemetry-instrumentation-httpx")


def environment(python: Interpreter) -> dict[str, str]:
    """Everything that must be the same before two results may be compared."""
    go = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Path}} {{.Version}}", "google.golang.org/grpc"],
        cwd=ROOT / "bench" / "go",
        capture_output=True,
        text=True,
        check=True,
    )
    go_version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True)
    installed = {distribution.name.lower() for distribution in importlib.metadata.distributions()}
    names = (*DISTRIBUTIONS, "opentelemetry-sdk", *NAIVE_DISTRIBUTIONS)
    return {
        "cpus": str(os.cpu_count()),
        "cpu": _cpu_model(),
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": str(python).removeprefix("Python "),
        "go": go_version.stdout.strip().removeprefix("go"),
        "grpc-go": go.stdout.split()[-1].removeprefix("v"),
        **{name: importlib.metadata.version(name) for name in names if name in installed},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def cells(row: Row) -> tuple[str, ...]:
    """Format one row under `HEAD`."""

    def ratio(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    return (
        str(row.work),
        f"({row.target}) {TARGETS[row.target].label}",
        f"{row.pushes_per_s:,.0f}",
        f"{row.cpu_us_per_push:.0f}" + ("" if row.cpu_spread is None else f" ±{row.cpu_spread:.0%}"),
        ratio(row.cpu_to_b),
        ratio(row.cpu_to_c),
        f"{row.p50_us / 1000:.2f}",
        f"{row.p99_us / 1000:.2f}",
        "" if row.added_p50_us is None else f"{row.added_p50_us / 1000:.2f}",
        f"{row.rss_bytes / 2**20:.0f}",
        str(row.errors),
    )


def table(found: Sequence[Row]) -> Table:
    """Make the table for the terminal."""
    made = Table(title=TITLE)
    for name in HEAD:
        made.add_column(name, justify="left" if name == "server" else "right", no_wrap=name == "server")
    work = None
    for row in found:
        if work not in (None, row.work):
            made.add_section()
        work = row.work
        made.add_row(*cells(row))
    return made


def notes(samples: Sequence[Sample]) -> list[str]:
    """Say what a reader has to know about how much to believe."""
    others = max((sample.others_cpu_share for sample in samples), default=0.0)
    said = []
    if others > NOISE:
        said.append(f"Other work took up to {others:.0%} of the CPU in a window: repeat this on a quiet machine.")
    said += sorted({f"({sample.target}) failed: {sample.first_error}" for sample in samples if sample.first_error})
    return said


def write(
    folder: Path,
    python: Interpreter,
    settings: Settings,
    samples: Sequence[Sample],
    found: Sequence[Row],
    reached: Sequence[Goal],
) -> list[Path]:
    """Write `latest.json`, `latest.md` and `latest.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    made_at = datetime.now(UTC).replace(microsecond=0).isoformat()
    versions = environment(python)
    data = {
        "made_at": made_at,
        "environment": versions,
        "settings": asdict(settings),
        "goals": [{**asdict(goal), "is_reached": goal.is_reached} for goal in reached],
        "rows": [asdict(row) for row in found],
        "samples": [asdict(sample) for sample in samples],
    }
    as_json, as_markdown, as_plot = (folder / f"latest.{suffix}" for suffix in ("json", "md", "svg"))
    as_json.write_text(json.dumps(data, indent=1) + "\n")
    as_markdown.write_text("\n".join(_markdown(made_at, versions, settings, samples, found, reached)) + "\n")

    from bench.plot import draw  # noqa: PLC0415 - matplotlib takes a second to import, and only this needs it

    draw(found, as_plot)
    return [as_json, as_markdown, as_plot]


def _markdown(
    made_at: str,
    versions: dict[str, str],
    settings: Settings,
    samples: Sequence[Sample],
    found: Sequence[Row],
    reached: Sequence[Goal],
) -> list[str]:
    return [
        f"# Benchmark of {made_at}",
        "",
        f"{TITLE}. Medians of {settings.rounds} interleaved rounds, {settings.seconds:g} s a window. CPU is the user",
        "and system time of the server's process, of (d) of the caller's own; ± is half of the way from the",
        "cheapest round to the dearest. x (b) and x (c): CPU per push, medians of the rounds' own ratios.",
        "",
        f"| {' | '.join(HEAD)} |",
        f"|{'|'.join('---' if name == 'server' else '---:' for name in HEAD)}|",
        *(f"| {' | '.join(cells(row))} |" for row in found),
        "",
        *(f"- {goal}" for goal in reached),
        *(f"- {note}" for note in notes(samples)),
        "",
        "![CPU and latency](latest.svg)",
        "",
        f"Measured with: {', '.join(f'{name} {version}' for name, version in versions.items())}.",
    ]
