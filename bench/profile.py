"""Where this sidecar's CPU goes, by step: `python -m bench.profile`.

Two samplers, since neither suffices. perf has no bias and sees every thread and library, but takes Python
code for one block. py-spy names the Python functions, but stops the process to look, which favours system
calls. So perf says what each library and all Python code take, and py-spy divides the share of the latter.
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.ending import ending_in_words
from bench.measure import Settings, Work, load
from bench.programs import BenchError, build_go_programs, run
from bench.steps import native_steps, python_steps, shares
from bench.targets import TARGETS, Served, site

WORTH_NAMING = 0.05


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.profile",
        description="Profiles a server under load: CPU by step, all threads together.",
        epilog="example: python -m bench.profile --seconds 10 --in-flight 32",
    )
    parser.add_argument("--seconds", type=int, choices=range(1, 61), metavar="N", default=8, help="each sampler")
    parser.add_argument("--in-flight", type=int, choices=range(1, 257), metavar="N", default=32, help="default 32")
    parser.add_argument("--target", choices=("a", "b"), default="a", help="this sidecar (a) or the naive one (b)")
    return parser.parse_args(argv)


def sample(served: Served, seconds: int, folder: Path) -> tuple[Counter[str], Counter[str]]:
    """Run both samplers, one after the other."""
    pid = served.pid
    if pid is None:
        raise BenchError("this target has no server")
    recorded, stacks = folder / "perf.data", folder / "stacks"
    limit = seconds + 60.0  # both take a while to read the program's symbols
    perf, py_spy = _program("perf"), _program("py-spy")
    call_graph = ["-F", "499", "--call-graph", "dwarf,16384"]
    run(
        [perf, "record", "-q", *call_graph, "-p", str(pid), "-o", recorded, "--", "sleep", str(seconds)],
        within_s=limit,
    )
    # Whoever holds the GIL runs Python code, or a library for it; py-spy takes waiting threads for busy ones.
    what = ["--native", "--gil", "--full-filenames", "-r", "250", "-f", "raw"]
    run([py_spy, "record", *what, "-d", str(seconds), "-o", stacks, "-p", str(pid)], within_s=limit)
    script: list[str | Path] = [perf, "script", "-i", recorded, "-F", "comm,tid,ip,sym,dso", "--no-inline"]
    return native_steps(run(script, within_s=limit)), python_steps(stacks.read_text().splitlines())


def _program(name: str) -> str:
    beside_python = Path(sys.executable).parent / name
    path = str(beside_python) if beside_python.exists() else shutil.which(name)
    if path is None:
        raise BenchError("The profile needs perf (Debian: linux-perf) and py-spy (pip install py-spy).")
    return path


@ending_in_words
def main(argv: Sequence[str] | None) -> int:
    """Profile, and print the steps from the dearest to the cheapest."""
    given = arguments(argv)
    messages = Console(stderr=True)
    settings = Settings(seconds=2.0 * given.seconds + 6, warm_up_s=1.0, rounds=1, in_flight=(given.in_flight,))
    with (
        tempfile.TemporaryDirectory(prefix="push-sidecar-bench-") as name,
        ThreadPoolExecutor() as pool,  # left last: without a server the load ends at once
        site(build_go_programs(), Path(name)) as at,
        TARGETS[given.target].start(at) as served,
        messages.status("sampling"),
    ):
        loading = pool.submit(load, at, served, settings, Work(1, given.in_flight))
        native, python = sample(served, given.seconds, Path(name))
        report = loading.result()

    found = sorted(shares(native, python).items(), key=lambda item: -item[1])
    label = TARGETS[given.target].label
    table = Table(title=f"CPU of ({given.target}) {label} by step", caption=f"{given.in_flight} in flight")
    table.add_column("step")
    table.add_column("share", justify="right")
    for step, share in found:
        if share >= WORTH_NAMING:
            table.add_row(step, f"{share:.1%}")
    small = sum(share for _, share in found if share < WORTH_NAMING)
    table.add_row(f"{sum(share < WORTH_NAMING for _, share in found)} steps below {WORTH_NAMING:.0%}", f"{small:.1%}")
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(table)
    console.print(str(at.python), highlight=False)
    console.print(
        f"{native.total()} samples of perf, {python.total()} of Python code by py-spy; {report['errors']} pushes failed"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(None))
