"""What a collector costs that is away: `python -m bench.collector`.

The same sidecar without traces, with a collector that takes every trace, one that refuses connections, and one that
never answers. Every call is sampled, which is the dearest setting.
"""

import argparse
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from rich.console import Console

from bench.ending import ending_in_words
from bench.measure import Sample, Settings, Work, load, measure
from bench.programs import build_go_programs
from bench.report import notes
from bench.results import rows
from bench.targets import Served, Site, Target, sidecar, site

GOAL = 1.02
WARM_UP_S = 5.0  # fills the queue of spans, and tries the collector that is away
WITHOUT = "none"
LABELS = {
    WITHOUT: "no traces",
    "live": "a collector that takes them",
    "dead": "one that is not there",
    "silent": "one that never answers",
}
RESULT = Path(__file__).parent / "results" / "collector.md"
HEAD = (
    "collector",
    "CPU us/push",
    "x no traces",
    "middle half of the rounds",
    "pushes/s",
    "p99 ms",
    "RSS MiB",
    "failed",
)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.collector",
        description="Measures what a collector costs that is away, in interleaved rounds.",
        epilog="example: python -m bench.collector --rounds 5 --out /tmp/collector.md",
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a window (default 1)")
    parser.add_argument("--rounds", type=int, choices=range(1, 1001), metavar="N", default=60, help="default 60")
    parser.add_argument(
        "--protocol",
        choices=("grpc", "http/protobuf"),
        default="http/protobuf",
        help="to the collectors that are away; the one that takes traces speaks HTTP (default http/protobuf)",
    )
    parser.add_argument("--out", type=Path, default=RESULT, help=f"default {RESULT.name} in bench/results")
    return parser.parse_args(argv)


@contextmanager
def silent_collector() -> Iterator[str]:
    """Take connections and never answer; gives the endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as connections:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.enter_context(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def dead_collector() -> Iterator[str]:
    """Give an endpoint whose port is taken, so that nobody else gets it, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def _running(served: Served, _at: Site) -> AbstractContextManager[Served]:
    return nullcontext(served)


def ratios(samples: Sequence[Sample], target: str) -> list[float]:
    """Return CPU per push as a ratio to that without traces, of each round by itself."""
    base = {sample.round: sample.cpu_us_per_push for sample in samples if sample.target == WITHOUT}
    return sorted(sample.cpu_us_per_push / base[sample.round] for sample in samples if sample.target == target)


def table(samples: Sequence[Sample]) -> list[str]:
    """Write the result as Markdown."""
    lines = [f"| {' | '.join(HEAD)} |", f"|---|{'---:|' * (len(HEAD) - 1)}"]
    found = {row.target: row for row in rows(samples)}
    for target, label in LABELS.items():
        row, own = found[target], ratios(samples, target)
        cells = (
            label,
            f"{row.cpu_us_per_push:.0f}",
            f"{median(own):.3f}",
            f"{own[len(own) // 4]:.3f} to {own[-1 - len(own) // 4]:.3f}",
            f"{row.pushes_per_s:,.0f}",
            f"{row.p99_us / 1000:.1f}",
            f"{row.rss_bytes / 2**20:.0f}",
            str(row.errors),
        )
        lines.append(f"| {' | '.join(cells)} |")
    for target in ("dead", "silent"):
        ratio = median(ratios(samples, target))
        verdict = "reached" if ratio <= GOAL else "MISSED (a finding, not a failure of this run)"
        lines.append(f"- {LABELS[target]}: {ratio:.3f} of the CPU without traces, at most {GOAL} wanted: {verdict}")
    lines.insert(-2, "")
    return lines + [f"- {note}" for note in notes(samples)]


@ending_in_words
def main(argv: Sequence[str] | None) -> int:
    """Measure, print and write the result."""
    given = arguments(argv)
    settings = Settings(seconds=given.seconds, warm_up_s=0.2, rounds=given.rounds, in_flight=(32,))
    every_call = {"OTEL_TRACES_SAMPLER": "parentbased_always_on", "OTEL_TRACES_SAMPLER_ARG": ""}
    away = {**every_call, "OTEL_EXPORTER_OTLP_PROTOCOL": given.protocol}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="push-sidecar-bench-")))
        at = stack.enter_context(site(build_go_programs(), folder))
        environments = {
            WITHOUT: {"OTEL_TRACES_EXPORTER": "none"},
            "live": every_call,
            "dead": {**away, "OTEL_EXPORTER_OTLP_ENDPOINT": stack.enter_context(dead_collector())},
            "silent": {**away, "OTEL_EXPORTER_OTLP_ENDPOINT": stack.enter_context(silent_collector())},
        }
        status = stack.enter_context(Console(stderr=True).status("warming up"))
        # All at once, so that the windows that are compared can be short and close to each other.
        targets = []
        for key, env in environments.items():
            own = folder / key
            own.mkdir()
            served = stack.enter_context(sidecar(replace(at, folder=own), env))
            targets.append(Target(key, LABELS[key], partial(_running, served)))
            load(at, served, replace(settings, seconds=WARM_UP_S), Work(1, settings.in_flight[0]))
        samples = measure(
            at,
            targets,
            settings,
            lambda target, _, number: status.update(f"round {number} of {settings.rounds}: {target.label}"),
        )
    text = "\n".join([
        "# What a collector costs that is away",
        "",
        f"`python -m bench.collector`: medians of {settings.rounds} interleaved rounds, {settings.seconds:g} s each,",
        f"{settings.in_flight[0]} in flight, every call sampled, away: {given.protocol}. Ratios are of each round.",
        "",
        *table(samples),
    ])  # fmt: skip
    print(text)
    given.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(None))
