"""What plain code takes for valid is valid by protovalidate too, and nothing that is valid by it is refused."""

import re
from collections import Counter
from dataclasses import dataclass, field

import pytest

from pushsidecar.xg.v1 import PushRequest
from sidecar.errors import Violation
from sidecar.providers.xg.expressions import EXPRESSIONS
from sidecar.providers.xg.rules import is_certain, proto_violations, violations
from tests.contract.case_table import Case, cases
from tests.contract.proto_rules import SIDECAR_RULES, rules

from .odd_requests import odd_requests

SEEDS = range(40)
REQUESTS_OF_A_SEED = 1000

SIDECAR_RULE_IDS = {rule_id for _, rule_id in SIDECAR_RULES}


@dataclass
class Seen:
    """What became of the requests."""

    accepted_but_broken: list[PushRequest] = field(default_factory=list)
    valid_but_refused: list[PushRequest] = field(default_factory=list)
    count: int = 0
    certain: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    valid: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    broken: set[tuple[str, str]] = field(default_factory=set)

    def look_at(self, request: PushRequest) -> None:
        kind = request.WhichOneof("audience"), request.WhichOneof("message")
        found = proto_violations(request)
        is_refused = any(violation.rule not in SIDECAR_RULE_IDS for violation in violations(request))
        self.count += 1
        self.certain[kind] += is_certain(request)
        self.valid[kind] += not found
        self.broken.update(map(rule_of, found))
        if found and (is_certain(request) or not is_refused):
            self.accepted_but_broken.append(request)
        if is_refused and not found:
            self.valid_but_refused.append(request)


def rule_of(violation: Violation) -> tuple[str, str]:
    """Return the path and the id of a broken rule, as `tests/contract` names them."""
    return re.sub(r"\[\d+\]", "[]", violation.field), violation.rule


@pytest.fixture(scope="module")
def seen() -> Seen:
    seen = Seen()
    for seed in SEEDS:
        for request in odd_requests(seed, REQUESTS_OF_A_SEED):
            seen.look_at(request)
    return seen


def test_nothing_is_accepted_that_protovalidate_refuses(seen: Seen) -> None:
    assert seen.accepted_but_broken[:5] == []


def test_nothing_is_refused_that_protovalidate_accepts(seen: Seen) -> None:
    assert seen.valid_but_refused[:5] == []


def test_the_requests_are_of_every_kind_and_break_every_rule(seen: Seen) -> None:
    kinds = {
        (audience.name, message.name)
        for audience in PushRequest.DESCRIPTOR.oneofs_by_name["audience"].fields
        for message in PushRequest.DESCRIPTOR.oneofs_by_name["message"].fields
    }
    assert seen.count == 40_000
    assert {kind for kind in kinds if seen.certain[kind] < 100 or seen.valid[kind] < 100} == set()
    assert {(rule.path, rule.rule_id) for rule in rules()} - seen.broken == set()
    assert 10_000 < seen.certain.total() < 30_000


def test_every_expression_stands_in_the_proto() -> None:
    file = PushRequest.DESCRIPTOR.file
    written = b"".join(part.serialized_pb for part in (file, *file.dependencies))
    assert [expression for expression in EXPRESSIONS if expression.encode() not in written] == []


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{case.file}:{case.name}") for case in cases() if case.is_valid]
)
def test_an_ordinary_push_of_any_kind_needs_no_protovalidate(case: Case) -> None:
    assert is_certain(case.request)
