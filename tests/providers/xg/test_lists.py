"""The lists are checked as the annotations of the proto say: the same rules, paths, order and texts, at random."""

import random
import re

import pytest

from pushsidecar.xg.v1 import (
    TAG_OP_OR,
    AcceptTime,
    AccountList,
    AndroidMessage,
    PushRequest,
    TagAudience,
    TimeOfDay,
    TokenList,
)
from sidecar.errors import Violation
from sidecar.providers.xg.lists import LISTS
from sidecar.providers.xg.rules import proto_violations, violations
from tests.contract.case_table import cases
from tests.contract.proto_rules import SIDECAR_RULES

SEEDS = range(40)
REQUESTS_OF_A_SEED = 100
MAX_BROKEN_ITEMS = 20

SIDECAR_RULE_IDS = {rule_id for _, rule_id in SIDECAR_RULES}
REQUESTS = [case.request for case in cases()]

# Around every limit of a list and of an item, in characters of one, two and four bytes.
LENGTHS = (0, 1, 2, 19, 20, 21, 22, 30, 100, 255, 256, 512, 513, 514, 999, 1000, 1001)
ITEM_LENGTHS = (1, 2, 63, 64, 65, 254, 255, 256, 511, 512, 513, 1024)
CHARACTERS = "xX~!é标😀"
BLANKS = (" ", "\n", "\t", "\r\n", "\0", "\x1f", "\x7f", "\x80", "\u00a0", "\u2028", "\ufeff")
TEXT_LENGTHS = (0, 1, 20, 21, 64, 65, 127, 128, 129, 254, 255, 256, 1024)


def odd_item(chance: random.Random) -> str:
    text = chance.choice(CHARACTERS) * chance.choice(ITEM_LENGTHS)
    if chance.random() < 0.4:
        at = chance.choice([0, len(text) // 2, len(text)])
        text = text[:at] + chance.choice(BLANKS) + text[at:]
    return text[:1024] if chance.random() < 0.8 else ""


def items(chance: random.Random, *, odd: int) -> list[str]:
    """Return a list of good items, some of them taken twice, with this many odd ones among them."""
    length = chance.choice(LENGTHS)
    found = [f"i{index}" for index in range(length)]
    for _ in range(min(odd, length)):
        found[chance.randrange(length)] = odd_item(chance)
    if length > 1 and chance.random() < 0.2:
        found[chance.randrange(length)] = found[chance.randrange(length)]
    return found


def spans(chance: random.Random) -> list[AcceptTime]:
    """Return spans that break at most 20 rules."""
    found = []
    for _ in range(chance.choice([0, 1, 5, 6, 20, 40])):
        span = AcceptTime(start=TimeOfDay(hours=chance.randrange(24)), end=TimeOfDay(minutes=chance.randrange(60)))
        found.append(span)
    for _ in range(chance.choice([0, 1, 3, 10]) if found else 0):
        span = chance.choice(found)
        if chance.random() < 0.5:
            span.ClearField("start")
        else:
            span.end.hours, span.end.minutes = chance.choice([-1, 23, 24]), chance.choice([-1, 59, 60])
    return found


def mutated(chance: random.Random, *, odd: int) -> PushRequest:
    """Return a request of the contract's cases, with another list, other texts and other spans."""
    request = PushRequest()
    request.CopyFrom(chance.choice(REQUESTS))
    if chance.random() < 0.8:
        rules = chance.choice(list(LISTS.values()))
        op = request.tag.op if request.WhichOneof("audience") == "tag" else chance.choice([0, 1, 2, 9])
        targets = getattr(request, rules.audience)
        targets.SetInParent()
        getattr(targets, rules.field)[:] = items(chance, odd=odd)
        if rules.audience == "tag":
            request.tag.op = op
    elif chance.random() < 0.5:
        request.token = odd_item(chance)
    else:
        request.account.account = odd_item(chance)
    for name in ("app", "stat_tag", "request_id", "push_id"):
        if chance.random() < 0.3:
            setattr(request, name, chance.choice(CHARACTERS + "7") * chance.choice(TEXT_LENGTHS))
    kind = request.WhichOneof("message") or ""
    if kind.startswith("android") and chance.random() < 0.5:
        del getattr(request, kind).accept_time[:]
        getattr(request, kind).accept_time.extend(spans(chance))
    for name in ("expire_time", "send_time"):
        if chance.random() < 0.1:
            getattr(request, name).seconds = chance.choice([-1, 60, 259_201, 10**17])
    if chance.random() < 0.2:
        request.MergeFromString(b"\xa0\x06\x01" * chance.choice([1, 10, 4000]))
    return request


def told(request: PushRequest) -> list[Violation]:
    """Return what the sidecar tells, without the rules that are not in the proto."""
    return [violation for violation in violations(request) if violation.rule not in SIDECAR_RULE_IDS]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_verdict_is_that_of_the_annotations(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # no secret
    for _ in range(REQUESTS_OF_A_SEED):
        request = mutated(chance, odd=chance.choice([0, 0, 1, 2, 19, 20]))
        assert told(request) == proto_violations(request)


def index_of(violation: Violation, path: str) -> int | None:
    found = re.fullmatch(re.escape(path) + r"\[(\d+)\]", violation.field)
    return int(found[1]) if found else None


@pytest.mark.parametrize("seed", SEEDS)
def test_of_more_broken_items_the_first_twenty_are_told_and_all_else(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # no secret
    for _ in range(3):
        request = mutated(chance, odd=chance.choice([21, 100, 1500]))
        audience = request.WhichOneof("audience") or ""
        path = LISTS[audience].path if audience in LISTS else "none"
        expected = proto_violations(request)
        broken = sorted({index for v in expected if (index := index_of(v, path)) is not None})
        last = broken[MAX_BROKEN_ITEMS - 1] if len(broken) > MAX_BROKEN_ITEMS else 10_000
        assert told(request) == [v for v in expected if (index_of(v, path) or 0) <= last]


@pytest.mark.parametrize(
    ("audience", "of_the_list", "of_an_item"),
    [
        (
            {"token_list": TokenList(tokens=[""] * 1001)},
            [("token_list.tokens", "repeated.max_items"), ("token_list.tokens", "repeated.unique")],
            [("token_list.tokens", "string.min_len"), ("token_list.tokens", "string.pattern")],
        ),
        (
            {"account_list": AccountList(accounts=[""] * 1001)},
            [("account_list.accounts", "repeated.max_items"), ("account_list.accounts", "repeated.unique")],
            [("account_list.accounts", "string.min_len")],
        ),
        (
            {"tag": TagAudience(tags=[""] * 1001, op=TAG_OP_OR)},
            [("tag.tags", "repeated.unique")],
            [("tag.tags", "string.min_len")],
        ),
    ],
)
def test_of_a_thousand_empty_targets_twenty_are_told(
    audience: dict[str, object], of_the_list: list[tuple[str, str]], of_an_item: list[tuple[str, str]]
) -> None:
    request = PushRequest(android_message=AndroidMessage(title="t", content="c"), **audience)  # type: ignore[arg-type]
    expected = of_the_list + [(f"{path}[{index}]", rule) for index in range(20) for path, rule in of_an_item]
    assert [(violation.field, violation.rule) for violation in violations(request)] == expected
