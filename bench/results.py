"""Makes rows, ratios and verdicts of samples. Pure: it measures, prints and writes nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.measure import Sample, Work

# The machine counts CPU in steps of 10 ms and shares its caches: differences below this say nothing.
NOISE = 0.10
ONE = Work(tokens=1, in_flight=1)
LISTS = Work(tokens=1000, in_flight=32)
MIB = 2**20


@dataclass(frozen=True)
class Row:
    """One target at one kind of work: medians over the rounds, and medians of the rounds' own ratios."""

    target: str
    work: Work
    pushes_per_s: float
    cpu_us_per_push: float
    # Half of the way from the cheapest round to the dearest, as a share of the median.
    cpu_spread: float | None
    cpu_to_b: float | None
    cpu_to_c: float | None
    p50_us: float
    p99_us: float
    added_p50_us: float | None  # to (d), at 1 in flight: beyond that all wait for the CPU
    rss_bytes: int
    pushes: int
    errors: int


@dataclass(frozen=True)
class Goal:
    """A goal and what was measured; `value` is None when this run did not measure it."""

    text: str
    limit: float
    value: float | None

    @property
    def is_reached(self) -> bool | None:
        """None: not measured."""
        return None if self.value is None else self.value <= self.limit

    def __str__(self) -> str:
        """Say it in one line of words."""
        if self.value is None:
            return f"{self.text}: at most {self.limit:.2f} wanted, not measured in this run"
        verdict = "reached" if self.is_reached else "MISSED (a finding, not a failure of this run)"
        return f"{self.text}: {self.value:.2f}, at most {self.limit:.2f} wanted: {verdict}"


def rows(samples: Sequence[Sample]) -> list[Row]:
    """Summarize; ordered by work, lists last, then by target."""
    found = []
    for work in sorted({sample.work for sample in samples}):
        same = [sample for sample in samples if sample.work == work]
        found += [_row(same, target) for target in sorted({sample.target for sample in same})]
    return found


def _row(samples: Sequence[Sample], target: str) -> Row:
    own = [sample for sample in samples if sample.target == target]

    def middle(value: Callable[[Sample], float]) -> float:
        return median(value(sample) for sample in own)

    cpu = [sample.cpu_us_per_push for sample in own]
    return Row(
        target=target,
        work=own[0].work,
        pushes_per_s=middle(lambda sample: sample.pushes_per_s),
        cpu_us_per_push=median(cpu),
        cpu_spread=(max(cpu) - min(cpu)) / 2 / median(cpu) if len(cpu) > 1 and median(cpu) else None,
        cpu_to_b=_paired(samples, own, "b", lambda one, other: one.cpu_us_per_push / other.cpu_us_per_push),
        cpu_to_c=_paired(samples, own, "c", lambda one, other: one.cpu_us_per_push / other.cpu_us_per_push),
        p50_us=middle(lambda sample: sample.p50_us),
        p99_us=middle(lambda sample: sample.p99_us),
        added_p50_us=_paired(samples, own, "d", lambda one, other: one.p50_us - other.p50_us)
        if own[0].work == ONE
        else None,
        rss_bytes=int(middle(lambda sample: sample.rss_bytes)),
        pushes=sum(sample.pushes for sample in own),
        errors=sum(sample.errors for sample in own),
    )


def _paired(
    samples: Sequence[Sample], own: Sequence[Sample], other: str, compare: Callable[[Sample, Sample], float]
) -> float | None:
    """Compare within each round, and take the median: what slows a whole round down cancels out."""
    others = {sample.round: sample for sample in samples if sample.target == other and sample.cpu_us_per_push > 0}
    compared = [compare(sample, others[sample.round]) for sample in own if sample.round in others]
    return median(compared) if compared else None


def goals(found: Sequence[Row]) -> list[Goal]:
    """Say how the goals of docs/performance.md stand."""

    def of(target: str, work: Work) -> Row | None:
        return next((row for row in found if (row.target, row.work) == (target, work)), None)

    def cpu(work: Work) -> float | None:
        row = of("a", work)
        return row.cpu_to_c if row else None

    ours, go = of("a", ONE), of("c", ONE)
    added = None
    if ours and go and ours.added_p50_us is not None and go.added_p50_us:
        added = ours.added_p50_us / go.added_p50_us
    return [
        Goal("CPU per push at 32 in flight, x (c)", 4.0, cpu(Work(1, 32))),
        Goal("CPU per push at 256 in flight, x (c)", 4.2, cpu(Work(1, 256))),
        Goal("CPU per push at 1 in flight, x (c)", 2.2, cpu(ONE)),
        Goal("p50 added at 1 in flight, x what (c) adds", 2.4, added),
        Goal(f"CPU per list of {LISTS.tokens:,} tokens, x (c)", 0.6, cpu(LISTS)),
        Goal("RSS after the pushes at 1 in flight, MiB", 80, ours.rss_bytes / MIB if ours else None),
    ]
