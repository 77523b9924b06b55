"""What is kept is bounded, and the newest is always there."""

import re
from pathlib import Path

import pytest

from sidecar.simulator.admin import Admin
from sidecar.simulator.exchange import MAX_DEPTH, NOT_JSON, parse_json
from sidecar.simulator.record import Kept


def test_oldest_go_by_number():
    kept = Kept[str](len, max_items=2, max_cost=100)
    for item in ("a", "b", "c"):
        kept.add(item)
    assert (kept.items(), kept.total) == (["b", "c"], 3)


def test_oldest_go_by_cost():
    kept = Kept[str](len, max_items=100, max_cost=5)
    for item in ("aa", "bb", "cc"):
        kept.add(item)
    assert kept.items() == ["bb", "cc"]
    kept.add("dddddddd")
    assert kept.items() == ["dddddddd"]
    kept.clear()
    kept.add("e")
    assert (kept.items(), kept.total) == (["e"], 1)


@pytest.mark.parametrize(("depth", "is_json"), [(128, True), (129, False)])
def test_nesting_is_bounded(depth, is_json):
    for inner in (b"", b"1"):
        assert (parse_json(b"[" * depth + inner + b"]" * depth) is not NOT_JSON) is is_json


def test_many_shallow_arrays_are_no_nesting():
    assert parse_json(b"[" + b"[]," * 500 + b"{}]") is not NOT_JSON


async def test_two_admin_calls_of_one_name_are_a_mistake():
    async def nothing(*_: object) -> object:
        return None

    admin = Admin(body_timeout_s=1.0)
    admin.add("GET", "x", nothing)
    with pytest.raises(ValueError, match="there already"):
        admin.add("GET", "x", nothing)


def test_document_names_the_greatest_nesting():
    (named,) = re.findall(
        r"nested deeper than (\d+)", (Path(__file__).parents[2] / "docs/simulator.md").read_text(encoding="utf-8")
    )
    assert int(named) == MAX_DEPTH == 128
