"""Ratios, medians and verdicts of hand-made samples."""

import pytest

from bench.measure import Sample, Work
from bench.results import Goal, Row, goals, rows


def _sample(
    target: str, *, cpu: float, p50: float = 1000, in_flight: int = 32, turn: int = 1, tokens: int = 1
) -> Sample:
    return Sample(
        target=target,
        work=Work(tokens, in_flight),
        round=turn,
        pushes=100,
        pushes_per_s=50,
        cpu_us_per_push=cpu,
        p50_us=p50,
        p99_us=2 * p50,
        rss_bytes=79 * 2**20,
        errors=1,
        first_error="refused",
        others_cpu_share=0,
    )


def _row(found: list[Row], target: str, in_flight: int = 32) -> Row:
    return next(row for row in found if (row.target, row.work) == (target, Work(1, in_flight)))


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


def test_lists_are_rows_of_their_own_and_come_last() -> None:
    samples = [
        _sample(target, cpu=cpu, in_flight=in_flight, tokens=tokens)
        for target, tokens, in_flight, cpu in (("a", 1000, 32, 500), ("c", 1000, 32, 1000), ("a", 1, 256, 40))
    ]
    found = rows(samples)

    assert [(str(row.work), row.target, row.cpu_to_c) for row in found] == [
        ("256", "a", None),
        ("32, lists", "a", 0.5),
        ("32, lists", "c", 1.0),
    ]


def test_each_goal_has_its_limit() -> None:
    """CPU and p50 of (c) are 10 and 200, p50 of (d) is 100."""
    ours = [(1, 32, 40), (1, 256, 43), (1, 1, 22), (1000, 32, 7)]
    samples = [_sample("a", cpu=cpu, p50=350, in_flight=level, tokens=tokens) for tokens, level, cpu in ours]
    samples += [_sample("c", cpu=10, p50=200, in_flight=level, tokens=tokens) for tokens, level, _ in ours]
    samples.append(_sample("d", cpu=1, p50=100, in_flight=1))

    assert [(goal.text, goal.value, goal.limit, goal.is_reached) for goal in goals(rows(samples))] == [
        ("CPU per push at 32 in flight, x (c)", 4.0, 4.0, True),
        ("CPU per push at 256 in flight, x (c)", 4.3, 4.2, False),
        ("CPU per push at 1 in flight, x (c)", 2.2, 2.2, True),
        ("p50 added at 1 in flight, x what (c) adds", 2.5, 2.4, False),
        ("CPU per list of 1,000 tokens, x (c)", 0.7, 0.6, False),
        ("RSS after the pushes at 1 in flight, MiB", 79, 80, True),
    ]


def test_goal_that_was_not_measured_is_neither_reached_nor_missed() -> None:
    verdicts = goals(rows([_sample("b", cpu=1000)]))

    assert [verdict.is_reached for verdict in verdicts] == [None] * 6
    assert "not measured" in str(verdicts[0])


def test_missed_goal_is_said_in_words() -> None:
    assert "MISSED" in str(Goal("CPU", limit=1, value=2))
    assert str(Goal("CPU", limit=1, value=1)).endswith(": reached")
