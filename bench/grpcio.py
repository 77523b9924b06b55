"""Which grpcio release is the cheapest: `python -m bench.grpcio`.

Each candidate is laid over the installed packages, in a folder of its own: grpcio is the only difference.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.ending import ending_in_words
from bench.measure import Settings, measure
from bench.programs import BenchError, build_go_programs, run
from bench.results import rows
from bench.targets import Target, sidecar, site

CANDIDATES = "1.78.0,1.78.2,1.80.1,1.85.1"
INSTALLED_WITHIN_S = 300.0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.grpcio",
        description="Measures this sidecar under several releases of grpcio, in interleaved rounds.",
        epilog="example: python -m bench.grpcio --versions 1.78.0,1.85.1 --rounds 7",
    )
    parser.add_argument("--versions", default=CANDIDATES, help=f"default {CANDIDATES}")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a window (default 5)")
    parser.add_argument("--rounds", type=int, choices=range(1, 101), metavar="N", default=5, help="default 5")
    return parser.parse_args(argv)


def install(version: str, folder: Path) -> dict[str, str]:
    """Install one release of grpcio, alone, under `folder`; the environment returned makes Python prefer it."""
    overlay = folder / version
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(overlay)]
    run([*pip, f"grpcio=={version}"], within_s=INSTALLED_WITHIN_S)
    env = {"PYTHONPATH": str(overlay)}
    show = [sys.executable, "-c", "import grpc; print(grpc.__version__)"]
    imported = run(show, within_s=INSTALLED_WITHIN_S, env=env).strip()
    if imported != version:
        raise BenchError(f"grpcio {version} was installed, and {imported} is imported")
    return env


@ending_in_words
def main(argv: Sequence[str] | None) -> int:
    """Measure, and print the releases from the cheapest to the dearest."""
    given = arguments(argv)
    messages = Console(stderr=True)
    settings = Settings(seconds=given.seconds, warm_up_s=1.0, rounds=given.rounds, in_flight=(1, 32))
    with tempfile.TemporaryDirectory(prefix="push-sidecar-bench-") as name:
        folder = Path(name)
        targets = []
        for version in given.versions.split(","):
            with messages.status(f"installing grpcio {version}"):
                env = install(version, folder)
            targets.append(Target(version, f"grpcio {version}", partial(sidecar, env=env)))
        with site(build_go_programs(), folder) as at, messages.status("measuring") as status:
            samples = measure(
                at,
                targets,
                settings,
                lambda target, work, number: status.update(
                    f"round {number} of {settings.rounds}: {target.label}, in flight: {work}"
                ),
            )

    table = Table(title=f"This sidecar under releases of grpcio, {settings.rounds} rounds")
    for head in (
        "in flight",
        "grpcio",
        "CPU us/push",
        "x cheapest",
        "pushes/s",
        "p50 ms",
        "RSS MiB",
        "failed",
    ):
        table.add_column(head, justify="right")
    found = rows(samples)
    for level in settings.in_flight:
        at_level = sorted((row for row in found if row.work.in_flight == level), key=lambda row: row.cpu_us_per_push)
        for row in at_level:
            spread = "" if row.cpu_spread is None else f" ±{row.cpu_spread:.0%}"
            table.add_row(
                str(level),
                row.target,
                f"{row.cpu_us_per_push:.0f}{spread}",
                f"{row.cpu_us_per_push / at_level[0].cpu_us_per_push:.2f}",
                f"{row.pushes_per_s:,.0f}",
                f"{row.p50_us / 1000:.2f}",
                f"{row.rss_bytes / 2**20:.0f}",
                str(row.errors),
            )
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(None))
