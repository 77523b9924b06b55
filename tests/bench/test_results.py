"""Ratios, medians and verdicts of hand-made samples."""

import pytest

from bench.measure import Sample
from bench.results import Goal, Row, goals, rows


def _sample(target: str, *, cpu: float, p50: float = 1000, in_flight: int = 32, turn: int = 1) -> Sample:
    return Sample(
        target=target,
        in_flight=in_flight,
        round=turn,
        pushes=100,
        pushes_per_s=50,
        cpu_us_per_push=cpu,
        p50_us=p50,
        p99_us=2 * p50,
        rss_bytes=2**20,
        errors=1,
        first_error="refused",
        others_cpu_share=0,
    )


def _row(found: list[Row], target: str, in_flight: int = 32) -> Row:
    return next(row for row in found if (row.target, row.in_flight) == (target, in_flight))


def test_ratio_is_taken_within_a_round_so_that_a_slow_round_cancels_out() -> None:
    quiet = [_sample("a", cpu=100), _sample("b", cpu=400)]
    slow = [_sample("a", cpu=1000, turn=2), _sample("b", cpu=4000, turn=2)]

    row = _row(rows([*quiet, *slow]), "a")

    assert row.cpu_to_b == 0.25
    assert row.cpu_us_per_push == 550
    assert row.cpu_spread == pytest.approx(450 / 550)
    assert row.cpu_to_c is None
    assert (row.pushes, row.errors) == (200, 2)


def test_added_latency_is_told_at_one_in_flight_alone() -> None:
    samples = [
        _sample(target, cpu=1, p50=p50, in_flight=in_flight)
        for in_flight in (1, 32)
        for target, p50 in (("a", 700), ("d", 100))
    ]

    found = rows(samples)

    assert _row(found, "a", 1).added_p50_us == 600
    assert _row(found, "a", 32).added_p50_us is None


@pytest.mark.parametrize(
    ("cpu", "is_reached"), [(333, True), (334, False)], ids=["a third of the naive one", "just above a third"]
)
def test_goal_is_a_third_of_the_naive_cpu(cpu: float, is_reached: bool) -> None:
    verdict = goals(rows([_sample("a", cpu=cpu), _sample("b", cpu=1000)]))[0]

    assert verdict.is_reached is is_reached


def test_goal_that_was_not_measured_is_neither_reached_nor_missed() -> None:
    verdicts = goals(rows([_sample("b", cpu=1000)]))

    assert [verdict.is_reached for verdict in verdicts] == [None] * 4
    assert "not measured" in str(verdicts[0])


def test_missed_goal_is_said_in_words() -> None:
    assert "MISSED" in str(Goal("CPU", limit=1, value=2))
    assert "not yet reached" in str(Goal("CPU", limit=1, value=2, is_for_later=True))
    assert str(Goal("CPU", limit=1, value=1)).endswith(": reached")
