"""Measures targets in interleaved rounds, so that a slow minute of the machine hits all of them alike.

Medians and ratios belong to `results`.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.programs import BenchError, run
from bench.targets import Served, Site, Target

LOAD_OVERTIME_S = 60.0  # the last pushes may be as slow as their deadline


@dataclass(frozen=True)
class Settings:
    """How long, how often, and at which numbers in flight."""

    seconds: float
    warm_up_s: float
    rounds: int
    in_flight: tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """One window of one target."""

    target: str
    in_flight: int
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
    at: Site, targets: Sequence[Target], settings: Settings, done: Callable[[Target, int, int], None]
) -> list[Sample]:
    """Make all rounds; `done` hears of every window (target, in flight, round)."""
    samples = []
    for number in range(1, settings.rounds + 1):
        for target in targets:
            with target.start(at) as served:
                for in_flight in settings.in_flight:
                    report = load(at, served, settings, in_flight)
                    samples.append(_sample(target, in_flight, number, report, measures_itself=served.pid is None))
                    done(target, in_flight, number)
    return samples


def load(at: Site, served: Served, settings: Settings, in_flight: int) -> dict[str, object]:
    """Run the load generator once; its report is described in `bench/go/internal/closedloop`."""
    pids = [pid for pid in (served.pid, at.upstream_pid) if pid is not None]
    command = [
        *served.load,
        f"--in-flight={in_flight}",
        f"--seconds={settings.seconds}",
        f"--warm-up={settings.warm_up_s}",
        f"--pids={','.join(str(pid) for pid in pids)}",
    ]
    limit = settings.seconds + settings.warm_up_s + LOAD_OVERTIME_S
    report: dict[str, object] = json.loads(run(command, within_s=limit))
    return report


def _sample(target: Target, in_flight: int, number: int, report: dict[str, object], *, measures_itself: bool) -> Sample:
    known = report["cpu_s"]
    if not isinstance(known, list):
        raise BenchError(f"a report without cpu_s: {report}")
    ours = sum(known) + (0.0 if measures_itself else _number(report, "load_cpu_s"))
    capacity = _number(report, "seconds") * (os.cpu_count() or 1)
    return Sample(
        target=target.key,
        in_flight=in_flight,
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
