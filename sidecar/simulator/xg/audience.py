"""To whom: the six audiences and the fields that each of them needs (S1 "audience_type").

Fields of the other audiences are ignored, whatever they hold. Must not live here: who is registered.
"""

import re
from dataclasses import dataclass, field
from typing import Final, cast

from sidecar.simulator.xg.codes import ACCOUNT_EMPTY, INVALID, MISSING, Refused, invalid, missing
from sidecar.simulator.xg.rules import Json, Rule, check, integer, one_of, required_object, required_text

MAX_LIST: Final = 1000
"""S1: at most 1000 tokens or accounts of a list push; of a single one only the first counts."""
MAX_TOKEN: Final = 64
"""S1: characters of a token."""
MAX_TAGS: Final = 512
"""S1: characters of a tag list, taken as the sum of its tags."""

_OP: Final[Rule] = one_of("AND", "OR")
_ACCOUNT_OPTIONS: Final[dict[str, Rule]] = {
    "account_type": integer(low=0),
    "account_push_type": one_of(0, 1),
}
_PUSH_ID: Final = re.compile(r"[0-9]{1,20}")
NEW_TASK: Final = "0"


@dataclass(frozen=True, slots=True)
class Audience:
    """To whom a push goes: `targets` are tokens, accounts or tags; for a single one only the first counts."""

    kind: str
    targets: tuple[str, ...] = field(default=(), repr=False)
    op: str = "OR"
    account_type: int = 0
    is_every_device: bool = False
    push_id: str = NEW_TASK

    @property
    def is_broadcast(self) -> bool:
        """Whether it is one of the two that are limited by quota and may be timed or looped."""
        return self.kind in {"all", "tag"}

    @property
    def is_list(self) -> bool:
        """Whether it is one of the two that make or continue a task."""
        return self.kind in {"token_list", "account_list"}


KINDS: Final = ("all", "tag", "token", "token_list", "account", "account_list")


def read_audience(kind: str, body: Json) -> Audience:
    """Read and check the audience; raises Refused."""
    match kind:
        case "all":
            return Audience(kind)
        case "tag":
            return _tags(kind, body)
        case "token" | "token_list":
            return _tokens(kind, body)
        case _:
            return _accounts(kind, body)


def _tags(kind: str, body: Json) -> Audience:
    tag_list = required_object(body, "tag_list")
    tags = _texts(tag_list, "tags", "tag_list.", MISSING)
    if any(not tag for tag in tags):
        raise invalid("tag_list.tags", "must not hold an empty tag")
    if sum(map(len, tags)) > MAX_TAGS:
        raise invalid("tag_list.tags", f"must have at most {MAX_TAGS} characters")
    op = required_text(tag_list, "op", "tag_list.")
    check({"op": op}, {"op": _OP}, "tag_list.")
    return Audience(kind, tags, op=op)


def _tokens(kind: str, body: Json) -> Audience:
    tokens = _counting(_texts(body, "token_list", "", MISSING), "token_list", is_single=kind == "token")
    for at, token in enumerate(tokens):
        if not 1 <= len(token) <= MAX_TOKEN:  # S1 names the greatest length; that one is needed is ours
            raise invalid(f"token_list[{at}]", f"must have 1 to {MAX_TOKEN} characters")
    return Audience(kind, tokens, push_id=_push_id(body) if kind == "token_list" else NEW_TASK)


def _accounts(kind: str, body: Json) -> Audience:
    accounts = _counting(_texts(body, "account_list", "", ACCOUNT_EMPTY), "account_list", is_single=kind == "account")
    for at, account in enumerate(accounts):
        if not account:
            raise Refused(ACCOUNT_EMPTY, f"account_list[{at}] is empty")
    if kind == "account_list":
        return Audience(kind, accounts, push_id=_push_id(body))
    check(body, _ACCOUNT_OPTIONS, "")
    return Audience(
        kind,
        accounts,
        account_type=cast("int", body.get("account_type") or 0),
        is_every_device=body.get("account_push_type") == 1,
    )


def _texts(parent: Json, name: str, path: str, empty_code: int) -> tuple[str, ...]:
    values = parent.get(name)
    if values is None:
        raise missing(f"{path}{name}")
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise Refused(INVALID, f"{path}{name} must be an array of strings")
    if not values:
        raise Refused(empty_code, f"{path}{name} is empty")
    return tuple(cast("list[str]", values))


def _counting(values: tuple[str, ...], name: str, *, is_single: bool) -> tuple[str, ...]:
    """Return the entries that count: the first of a single push, else all, within the limit of lists."""
    if is_single:
        return values[:1]
    if len(values) > MAX_LIST:
        raise invalid(name, f"must have at most {MAX_LIST} entries")
    return values


def _push_id(body: Json) -> str:
    push_id = required_text(body, "push_id")
    if not _PUSH_ID.fullmatch(push_id):
        raise invalid("push_id", "must be a decimal number in a string")
    return push_id
