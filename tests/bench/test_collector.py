"""What the benchmark of a collector that is away makes of its samples."""

from bench.collector import LABELS, ratios, table
from bench.measure import Sample, Work


def sample(target: str, number: int, cpu_us: float) -> Sample:
    return Sample(
        target=target,
        work=Work(1, 32),
        round=number,
        pushes=100,
        pushes_per_s=1000,
        cpu_us_per_push=cpu_us,
        p50_us=1000,
        p99_us=2000,
        rss_bytes=100 * 2**20,
        errors=0,
        first_error="",
        others_cpu_share=0.0,
    )


def test_ratio_is_that_of_each_round_by_itself() -> None:
    """A slow round doubles both of its windows."""
    samples = [sample("none", 1, 100), sample("dead", 1, 101), sample("none", 2, 200), sample("dead", 2, 198)]
    assert ratios(samples, "dead") == [0.99, 1.01]


def test_table_has_every_collector_and_says_which_goal_is_missed() -> None:
    cpu = {"none": 100, "live": 130, "dead": 101, "silent": 103}
    lines = table([sample(target, number, cpu[target]) for number in (1, 2, 3) for target in LABELS])
    assert [line.split("|")[1:4] for line in lines[2:6]] == [
        [" no traces ", " 100 ", " 1.000 "],
        [" a collector that takes them ", " 130 ", " 1.300 "],
        [" one that is not there ", " 101 ", " 1.010 "],
        [" one that never answers ", " 103 ", " 1.030 "],
    ]
    assert [line.partition("wanted: ")[2] for line in lines[-2:]] == [
        "reached",
        "MISSED (a finding, not a failure of this run)",
    ]
