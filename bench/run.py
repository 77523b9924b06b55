"""The benchmark's command: `python -m bench.run`."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.ending import ending_in_words
from bench.interpreter import Interpreter
from bench.measure import Sample, Settings, Work, measure
from bench.programs import ROOT, build_go_programs
from bench.report import notes, table, write
from bench.results import LISTS, goals, rows
from bench.targets import TARGETS, Target, site

RESULTS = ROOT / "bench" / "results"
MAX_IN_FLIGHT = 1024

EXAMPLES = """\
(a) this sidecar, (b) a naive Python one, (c) a minimal Go one, (d) Go calling the vendor itself.
A list of 1,000 tokens is measured for (a) and (c) alone. The Python servers run on an optimised Python
(built with PGO) if the running one is, or one of its version is on PATH, such as Debian's; the result says which.
A missed goal is said in words; the exit code stays 0.

examples:
  python -m bench.run                              the whole benchmark, about 8 minutes; writes bench/results
  python -m bench.run --quick                      a smoke of some 20 seconds; writes nothing
  python -m bench.run --only a,c --in-flight 32 --rounds 9 --out /tmp/results
"""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.run",
        description="Compares what one push costs, interleaved, against the same local HTTPS upstream.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=_seconds, default=5.0, help="length of a window (default 5)")
    parser.add_argument("--warm-up", type=_seconds, default=1.0, help="seconds before each window (default 1)")
    parser.add_argument("--rounds", type=int, choices=range(1, 101), metavar="N", default=5, help="default 5")
    parser.add_argument("--in-flight", type=_levels, default=(1, 32, 256), metavar="N,...", help="default 1,32,256")
    parser.add_argument("--only", type=_targets, default="a,b,c,d", metavar="a,b,c,d", help="which to measure")
    parser.add_argument("--quick", action="store_true", help="one round of half-second windows at 1 and 32")
    parser.add_argument("--out", type=Path, help="folder of the results (default bench/results; --quick: none)")
    return parser.parse_args(argv)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 300:  # noqa: PLR2004 - the longest window that is no mistake
        raise argparse.ArgumentTypeError("above 0, at most 300")
    return value


def _levels(text: str) -> tuple[int, ...]:
    levels = tuple(sorted({int(part) for part in text.split(",")}))
    if not 1 <= levels[0] <= levels[-1] <= MAX_IN_FLIGHT:
        raise argparse.ArgumentTypeError(f"1 to {MAX_IN_FLIGHT}")
    return levels


def _targets(text: str) -> list[Target]:
    unknown = set(text.split(",")) - set(TARGETS)
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(TARGETS)}")
    return [target for key, target in TARGETS.items() if key in text.split(",")]


def measure_with_progress(
    console: Console, targets: Sequence[Target], settings: Settings
) -> tuple[Interpreter, list[Sample]]:
    """Build, start the upstream, and measure, with a bar that says what runs; returns the servers' Python, too."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        total = settings.rounds * sum(len(settings.works(target)) for target in targets)
        task = progress.add_task("building the Go programs", total=total)
        programs = build_go_programs()
        progress.update(task, description="measuring")

        def done(target: Target, work: Work, number: int) -> None:
            text = f"round {number}: ({target.key}) {target.label}, in flight: {work}"
            progress.update(task, advance=1, description=text)

        with (
            tempfile.TemporaryDirectory(prefix="push-sidecar-bench-") as folder,
            site(programs, Path(folder)) as at,
        ):
            return at.python, measure(at, targets, settings, done)


@ending_in_words
def main(argv: Sequence[str] | None) -> int:
    """Run the benchmark; the exit code says whether it ran, not whether the goals are reached."""
    given = arguments(argv)
    messages = Console(stderr=True)
    settings = Settings(given.seconds, given.warm_up, given.rounds, given.in_flight, (LISTS,))
    if given.quick:
        settings = Settings(seconds=0.5, warm_up_s=0.3, rounds=1, in_flight=(1, 32), lists=(LISTS,))
    python, samples = measure_with_progress(messages, given.only, settings)

    found = rows(samples)
    verdicts = goals(found)
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(table(found))
    for line in (*map(str, verdicts), f"The Python servers ran on {python}.", *notes(samples)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    out = given.out or (None if given.quick else RESULTS)
    if out is not None:
        for file in write(out, python, settings, samples, found, verdicts):
            console.print(f"wrote {file}", markup=False, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(None))
