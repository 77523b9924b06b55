"""The cases cover the contract: every field, every rule, both sides of every limit, every audience by every message."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message

from pushsidecar.xg.v1 import PushRequest

from .case_table import Case, cases
from .proto_rules import SIDECAR_RULES, Field, Rule, fields, rules

# Bounds that protobuf JSON cannot cross: no timestamp is before the year 1.
INEXPRESSIBLE = {("send_time", "gte")}

# From a limit to the last accepted value, and to the first refused one.
STEPS = {
    "min_len": (0, -1),
    "max_len": (0, 1),
    "min_items": (0, -1),
    "max_items": (0, 1),
    "gte": (0, -1),
    "lte": (0, 1),
    "lt": (-1, 0),
}

proto_rules = list(rules())
known_rules = {(rule.path, rule.rule_id) for rule in proto_rules} | SIDECAR_RULES
limits = [
    pytest.param(rule, name, limit, id=f"{rule.path}-{name}-{limit}")
    for rule in proto_rules
    for name, limit in rule.limits.items()
]


def broken(case: Case) -> set[tuple[str, str]]:
    return {(re.sub(r"\[\d+\]", "[]", field), rule) for field, rule in case.violations}


def values(message: Message, path: str) -> Iterator[Any]:
    """Yield what stands at a path of the proto, as far as it is set."""
    name, _, rest = path.partition(".")
    field = message.DESCRIPTOR.fields_by_name[name.removesuffix("[]")]
    if field.has_presence and not message.HasField(field.name):
        return
    value = getattr(message, field.name)
    for item in value if name.endswith("[]") else [value]:
        if rest:
            yield from values(item, rest)
        else:
            yield item


@pytest.mark.parametrize("field", [pytest.param(field, id=field.path) for field in fields()])
def test_field_is_used_by_a_valid_case(field: Field) -> None:
    found = [value for case in cases() if case.is_valid for value in values(case.request, field.path)]
    default = None if field.descriptor.has_presence or field.descriptor.is_repeated else field.descriptor.default_value
    assert any(value != default and (not field.descriptor.is_repeated or len(value)) for value in found)


@pytest.mark.parametrize(("path", "rule"), sorted(known_rules))
def test_rule_is_broken_by_a_case(path: str, rule: str) -> None:
    assert [case.name for case in cases() if (path, rule) in broken(case)]


@pytest.mark.parametrize(("rule", "name", "limit"), limits)
def test_limit_has_cases_on_both_sides(rule: Rule, name: str, limit: int) -> None:
    def measures(case: Case) -> set[int]:
        found = set()
        for value in values(case.request, rule.path):
            found.add(len(value) if name.endswith(("_len", "_items")) else getattr(value, "seconds", value))
        return found

    inside, outside = STEPS[name]
    assert [c.name for c in cases() if c.is_valid and limit + inside in measures(c)]
    if (rule.path, name) in INEXPRESSIBLE:
        return
    assert [c.name for c in cases() if (rule.path, rule.rule_id) in broken(c) and limit + outside in measures(c)]


def test_no_case_names_a_rule_that_does_not_exist() -> None:
    assert {pair for case in cases() for pair in broken(case)} - known_rules == set()


def test_every_audience_is_combined_with_every_message() -> None:
    combined = {(c.request.WhichOneof("audience"), c.request.WhichOneof("message")) for c in cases() if c.is_valid}
    oneofs = PushRequest.DESCRIPTOR.oneofs_by_name
    assert {(a.name, m.name) for a in oneofs["audience"].fields for m in oneofs["message"].fields} <= combined
