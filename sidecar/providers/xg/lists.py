"""Checks the lists of targets by plain code, as the annotations of the proto would. Pure; knows no other rule.

Every violation costs protovalidate 10 to 20 us, and it stops at the first or not at all: 2 KB of empty tokens would
take 30 ms. Here only the first broken items are told. `test_lists.py` holds ids, paths, order and texts equal to what
protovalidate says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sidecar.errors import Violation

# As many as an error can carry (`server/status.py`).
MAX_BROKEN_ITEMS = 20

# One more than a list may have, so that its rule still sees that it is too long. Tags have no such rule, but 513 tags
# that are not empty are over 512 characters together.
MAX_ITEMS_LOOKED_AT = 1001
# Of an item. Every maximum of the contract is below this, so a longer item is told in any case.
MAX_ITEM_CHARS_LOOKED_AT = 1024


@dataclass(frozen=True, slots=True)
class Characters:
    """What an item may consist of: ASCII characters, and how the proto writes them."""

    allowed: bytes
    pattern: str

    def make_up(self, text: str) -> bool:
        """Whether the text has no other character. A quarter of the time of a regular expression."""
        return text.isascii() and not text.encode().translate(None, self.allowed)


@dataclass(frozen=True, slots=True)
class ListRules:
    """The rules of one list. No list is empty, none has an item twice or an empty one."""

    audience: str
    field: str
    max_items: int | None = None
    max_item_chars: int | None = None
    max_total_chars: int | None = None
    characters: Characters | None = None

    @property
    def path(self) -> str:
        """Where the list stands in the request."""
        return f"{self.audience}.{self.field}"


# Printable ASCII without the space: ours, the vendor's documents show no other token.
_OF_A_TOKEN = Characters(bytes(range(ord("!"), ord("~") + 1)), "^[!-~]+$")

# Audience -> the rules of its list (S1, audience_type).
LISTS: Mapping[str, ListRules] = {
    rules.audience: rules
    for rules in (
        ListRules("tag", "tags", max_total_chars=512),
        ListRules("token_list", "tokens", max_items=1000, max_item_chars=64, characters=_OF_A_TOKEN),
        ListRules("account_list", "accounts", max_items=1000, max_item_chars=255),
    )
}


def list_violations(rules: ListRules, items: Sequence[str]) -> list[Violation]:
    """Return the broken rules of a list, with those of its first broken items; none when it is valid.

    `items` are what the list begins with: at most `MAX_ITEMS_LOOKED_AT`.
    """
    return [] if _is_valid(rules, items) else [*_of_the_list(rules, items), *_of_items(rules, items)]


def _is_valid(rules: ListRules, items: Sequence[str]) -> bool:
    """Whether every rule holds, without a step of the interpreter for each item."""
    different = set(items)
    return (
        bool(items)
        and len(items) <= (rules.max_items or len(items))
        and len(different) == len(items)
        and "" not in different
        and (rules.max_item_chars is None or max(map(len, items)) <= rules.max_item_chars)
        and (rules.max_total_chars is None or sum(map(len, items)) <= rules.max_total_chars)
        and (rules.characters is None or rules.characters.make_up("".join(items)))
    )


def _of_the_list(rules: ListRules, items: Sequence[str]) -> Iterator[Violation]:
    path = rules.path
    if rules.max_total_chars is not None and sum(map(len, items)) > rules.max_total_chars:
        text = f"the {rules.field} together must have at most {rules.max_total_chars} characters"
        yield Violation(path, f"{rules.field}.max_total_len", text)
    if not items:
        yield Violation(path, "repeated.min_items", "must not be empty")
    if rules.max_items is not None and len(items) > rules.max_items:
        yield Violation(path, "repeated.max_items", f"must contain no more than {rules.max_items} item(s)")
    if len(set(items)) < len(items):
        yield Violation(path, "repeated.unique", "repeated value must contain unique items")


def _of_items(rules: ListRules, items: Sequence[str]) -> Iterator[Violation]:
    broken_items = 0
    for index, item in enumerate(items):
        broken = list(_of_item(rules, item, f"{rules.path}[{index}]"))
        yield from broken
        broken_items += bool(broken)
        if broken_items == MAX_BROKEN_ITEMS:
            return


def _of_item(rules: ListRules, item: str, path: str) -> Iterator[Violation]:
    if not item:
        yield Violation(path, "string.min_len", "must not be empty")
    if rules.max_item_chars is not None and len(item) > rules.max_item_chars:
        yield Violation(path, "string.max_len", f"must be at most {rules.max_item_chars} characters")
    if rules.characters is not None and not (item and rules.characters.make_up(item[:MAX_ITEM_CHARS_LOOKED_AT])):
        yield Violation(path, "string.pattern", f"does not match regex pattern `{rules.characters.pattern}`")
