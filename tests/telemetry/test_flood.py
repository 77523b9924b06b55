"""So many equal lines a minute, and a count of the others."""

from sidecar.telemetry.flood import INTERVAL_S, Flood
from tests.support.clock import Clock


def test_so_many_lines_a_minute_are_let_through() -> None:
    flood: Flood[str] = Flood(3, Clock())
    assert [flood.admit("x") for _ in range(5)] == [0, 0, 0, None, None]
    assert flood.admit("y") == 0


def test_first_line_of_the_next_minute_tells_how_many_were_not() -> None:
    clock = Clock()
    flood: Flood[str] = Flood(1, clock)
    assert [flood.admit("x") for _ in range(4)] == [0, None, None, None]
    clock.now += INTERVAL_S - 0.001
    assert flood.admit("x") is None
    clock.now += 0.001
    assert [flood.admit("x") for _ in range(2)] == [4, None]
    clock.now += INTERVAL_S
    assert flood.admit("x") == 1
    clock.now += INTERVAL_S
    assert flood.admit("x") == 0


def test_what_was_not_written_is_given_out_once_when_its_minute_is_over() -> None:
    clock = Clock()
    flood: Flood[str] = Flood(1, clock)
    for key in ("x", "x", "y", "z", "z", "z"):
        flood.admit(key)
    assert list(flood.take()) == []
    clock.now += INTERVAL_S
    assert list(flood.take()) == [("x", 1), ("z", 2)]
    assert list(flood.take()) == []
    assert flood.admit("z") == 0


def test_at_the_end_everything_is_given_out_at_once() -> None:
    flood: Flood[str] = Flood(1, Clock())
    for _ in range(3):
        flood.admit("x")
    assert list(flood.take(at_once=True)) == [("x", 2)]
    assert list(flood.take(at_once=True)) == []


def test_keys_of_minutes_that_are_over_are_forgotten() -> None:
    clock = Clock()
    flood: Flood[int] = Flood(1, clock)
    for key in range(1000):
        flood.admit(key)
    clock.now += INTERVAL_S
    assert list(flood.take()) == []
    assert flood._minutes == {}  # noqa: SLF001  # a leak shows nowhere else
