"""Measures targets in interleaved rounds, so that a slow minute of the machine hits all of them alike.

Medians and ratios belong to `results`.
"""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from bench.programs import BenchError, run
from bench.targets import Served, Site, Target

LOAD_OVERTIME_S = 60.0  # the last pushes may be as slow as their deadline


@dataclass(frozen=True, order=True)
class Work:
    """What is asked of a target in a window: pushes to so many tokens each, so many in flight."""

    tokens: int
    in_flight: int

    def __str__(self) -> str:
        """Say it in the column of what is in flight."""
        return str(self.in_flight) if self.tokens == 1 else f"{self.in_flight}, lists"


@dataclass(frozen=True)
class Settings:
    """How long, how often, and at which numbers in flight; `lists` are further windows."""

    seconds: float
    warm_up_s: float
    rounds: int
    in_flight: tuple[int, ...]
    lists: tuple[Work, ...] = ()

    def works(self, target: Target) -> list[Work]:
        """Return the windows of a target, in their order."""
        return [*(Work(1, level) for level in self.in_flight), *(self.lists if target.takes_lists else ())]


@dataclass(frozen=True)
class Sample:
    """One window of one target."""

    target: str
    work: Work
    round: int
    pushes: int
    pushes_per_s: float
    cpu_us_per_push: float
    p50_us: float
    p99_us: float
    rss_bytes: int
    errors: int
    first_error: str
    others_cpu_share: float  # of the whole machine: what no process of the benchmark used


def measure(
    at: Site, targets: Sequence[Target], settings: Settings, done: Callable[[Target, Work, int], None]
) -> list[Sample]:
    """Make all rounds; `done` hears of every window (target, work, round).

    The targets of a round are up together, so that the windows that are compared follow each other at once.
    """
    samples = []
    for number in range(1, settings.rounds + 1):
        with ExitStack() as stack:
            up = [(target, stack.enter_context(target.start(_own_folder(at, target)))) for target in targets]
            for work in sorted({work for target in targets for work in settings.works(target)}):
                for target, served in up:
                    if work in settings.works(target):
                        report = load(at, served, settings, work)
                        samples.append(_sample(target, served, work, number, report))
                        done(target, work, number)
    return samples


def _own_folder(at: Site, target: Target) -> Site:
    folder = at.folder / f"target-{target.key}"
    folder.mkdir(exist_ok=True)
    return replace(at, folder=folder)


def load(at: Site, served: Served, settings: Settings, work: Work) -> dict[str, object]:
    """Run the load generator once; its report is described in `bench/go/internal/closedloop`."""
    pids = [pid for pid in (served.pid, at.upstream_pid) if pid is not None]
    command = [
        *served.load,
        f"--in-flight={work.in_flight}",
        f"--seconds={settings.seconds}",
        f"--warm-up={settings.warm_up_s}",
        f"--pids={','.join(str(pid) for pid in pids)}",
    ]
    if work.tokens > 1:
        command.append(f"--tokens={work.tokens}")
    limit = settings.seconds + settings.warm_up_s + LOAD_OVERTIME_S
    report: dict[str, object] = json.loads(run(command, within_s=limit))
    return report


def _sample(target: Target, served: Served, work: Work, number: int, report: dict[str, object]) -> Sample:
    known = report["cpu_s"]
    if not isinstance(known, list):
        raise BenchError(f"a report without cpu_s: {report}")
    ours = sum(known) + (0.0 if served.pid is None else _number(report, "load_cpu_s"))
    capacity = _number(report, "seconds") * (os.cpu_count() or 1)
    return Sample(
        target=target.key,
        work=work,
        round=number,
        pushes=int(_number(report, "pushes")),
        pushes_per_s=_number(report, "pushes_per_s"),
        cpu_us_per_push=_number(report, "server_cpu_us_per_push"),
        p50_us=_number(report, "p50_us"),
        p99_us=_number(report, "p99_us"),
        rss_bytes=int(_number(report, "rss_bytes")),
        errors=int(_number(report, "errors")),
        first_error=str(report.get("first_error", "")),
        others_cpu_share=max(0.0, _number(report, "machine_busy_s") - ours) / capacity,
    )


def _number(report: dict[str, object], name: str) -> float:
    value = report[name]
    if not isinstance(value, int | float):
        raise BenchError(f"a report without {name}: {report}")
    return float(value)
