"""What can be made to go wrong, when, and how often: faults as data, and the script that picks one.

Must not live here: the doing (wire.py), any vendor's codes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from sidecar.simulator.exchange import Labels
from sidecar.simulator.fields import Fields, InputError

MAX_SECONDS = 3600.0
_MAX_COUNT = 1_000_000_000
_INT32 = 2**31
# RFC 9110, 5.1 and 5.5; aiohttp refuses other headers when the answer is already due.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_Member = TypeVar("_Member", bound=StrEnum)


class Kind(StrEnum):
    """What goes wrong with one request."""

    SLOW = "slow"
    """The usual answer, after `latency_s`."""
    RET_CODE = "ret_code"
    HTTP = "http"
    CLOSE_BEFORE_BODY = "close_before_body"
    RESET_BEFORE_BODY = "reset_before_body"
    CLOSE_AFTER_BODY = "close_after_body"
    RESET_AFTER_BODY = "reset_after_body"
    HALF_BODY = "half_body"
    GARBAGE = "garbage"
    DRIP = "drip"
    HANG = "hang"
    CLOSE_AFTER_ANSWER = "close_after_answer"
    """The usual whole answer, then the keep-alive connection is closed without having been announced."""


class Garbage(StrEnum):
    """What stands in the place of the vendor's JSON, with status 200."""

    HTML = "html"
    EMPTY = "empty"
    TEXT = "text"
    CHARSET = "charset"
    NESTED = "nested"
    LIST = "list"


BEFORE_BODY: Final = frozenset({Kind.CLOSE_BEFORE_BODY, Kind.RESET_BEFORE_BODY})
ACTS_NOT: Final = BEFORE_BODY | {Kind.RET_CODE, Kind.HTTP}
"""Kinds by which the vendor did not act, unless the fault says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which requests a fault is for; an empty match is every request. `header` is (name, value)."""

    path: str | None = None
    header: tuple[str, str] | None = None
    app_id: str | None = None
    audience: str | None = None
    token: str | None = field(default=None, repr=False)
    account: str | None = field(default=None, repr=False)

    @property
    def needs_body(self) -> bool:
        """Whether the request's body must have been read to tell."""
        return not (self.app_id is self.audience is self.token is self.account is None)

    def is_met(self, path: str, headers: Mapping[str, str], labels: Labels) -> bool:
        """Say whether a request is meant; `headers` has lower-case names."""
        return (
            (self.path is None or self.path == path)
            and (self.header is None or headers.get(self.header[0].lower()) == self.header[1])
            and (self.app_id is None or self.app_id == labels.app_id)
            and (self.audience is None or self.audience == labels.audience)
            and (self.token is None or self.token in labels.tokens)
            and (self.account is None or self.account in labels.accounts)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault: what, for which requests, after how many (`skip`) and how often (`times`, None = for ever).

    `acts`: whether the vendor acts on the push all the same; None = as is usual for the kind.
    """

    kind: Kind
    match: Match = field(default_factory=Match)
    times: int | None = 1
    skip: int = 0
    latency_s: float = 0.0
    acts: bool | None = None
    ret_code: int = 0
    err_msg: str | None = None
    result: object = None
    status: int = 200
    body: str | bytes = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    garbage: Garbage = Garbage.HTML
    pause_s: float = 0.05

    def __post_init__(self) -> None:
        if self.kind in BEFORE_BODY and self.match.needs_body:
            raise InputError("match", f"{self.kind} comes before the body is read: match by path or header only")
        if self.kind in BEFORE_BODY and self.acts:
            raise InputError("acts", f"{self.kind} comes before the body is read: the vendor cannot act")
        if self.kind is Kind.RET_CODE and self.ret_code == 0:
            raise InputError("ret_code", "is required and not 0 for this kind")
        if not all(_HEADER_NAME.fullmatch(n) and _HEADER_VALUE.fullmatch(v) for n, v in self.headers.items()):
            raise InputError("headers", "must be names and values that HTTP allows")

    @property
    def is_acted_on(self) -> bool:
        """Whether the vendor acts on the push."""
        return self.kind not in ACTS_NOT if self.acts is None else self.acts

    def to_json(self) -> dict[str, object]:
        """Return the fault in the shape in which `read_fault` takes it."""
        match = {
            name: value
            for name in ("path", "header", "app_id", "audience", "token", "account")
            if (value := getattr(self.match, name)) is not None
        }
        body = self.body.decode("utf-8", "replace") if isinstance(self.body, bytes) else self.body
        return {
            "kind": self.kind.value,
            "match": match,
            "times": self.times,
            "skip": self.skip,
            "latency_s": self.latency_s,
            "acts": self.is_acted_on,
            "ret_code": self.ret_code,
            "err_msg": self.err_msg,
            "result": self.result,
            "status": self.status,
            "body": body,
            "headers": dict(self.headers),
            "garbage": self.garbage.value,
            "pause_s": self.pause_s,
        }


def read_fault(value: object) -> Fault:
    """Read a fault from an admin call's JSON; raises InputError."""
    fields = Fields(value)
    times = fields.optional_integer("times", low=1, high=_MAX_COUNT)
    fault = Fault(
        kind=_member(fields, "kind", Kind, None),
        match=_read_match(fields.get("match") or {}),
        times=times if times is not None or fields.given("times") else 1,
        skip=fields.integer("skip", low=0, high=_MAX_COUNT, default=0),
        latency_s=fields.seconds("latency_s", high=MAX_SECONDS),
        acts=fields.flag("acts"),
        ret_code=fields.integer("ret_code", low=-_INT32, high=_INT32 - 1, default=0),
        err_msg=fields.optional_text("err_msg"),
        result=fields.get("result"),
        status=fields.integer("status", low=100, high=999, default=200),
        body=fields.optional_text("body") or "",
        headers=fields.text_map("headers"),
        garbage=_member(fields, "garbage", Garbage, Garbage.HTML),
        pause_s=fields.seconds("pause_s", high=MAX_SECONDS, default=0.05),
    )
    fields.end()
    return fault


def _read_match(value: object) -> Match:
    fields = Fields(value, "match")
    header = fields.texts("header")
    if header and len(header) != 2:  # noqa: PLR2004 - a name and a value
        raise fields.bad("header", "must be a list of a name and a value")
    match = Match(
        path=fields.optional_text("path"),
        header=(header[0], header[1]) if header else None,
        app_id=fields.optional_text("app_id"),
        audience=fields.optional_text("audience"),
        token=fields.optional_text("token"),
        account=fields.optional_text("account"),
    )
    fields.end()
    return match


def _member(fields: Fields, name: str, of: type[_Member], default: _Member | None) -> _Member:
    value = fields.get(name)
    if value is None and default is not None:
        return default
    if value not in list(of):
        raise fields.bad(name, f"must be one of {', '.join(of)}")
    return of(str(value))


@dataclass(slots=True)
class _Armed:
    fault: Fault
    seen: int = 0

    def strikes(self) -> bool:
        """Count one matching request and say whether it is hit."""
        self.seen += 1
        return self.seen > self.fault.skip

    @property
    def is_spent(self) -> bool:
        return self.fault.times is not None and self.seen >= self.fault.skip + self.fault.times


class FaultScript:
    """The faults that are waiting, in the order in which they were added; the first that matches strikes."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        """Arm one more fault."""
        self._armed.append(_Armed(fault))

    def faults(self) -> list[Fault]:
        """Return those that can still strike."""
        return [armed.fault for armed in self._armed]

    def clear(self) -> None:
        """Disarm all."""
        self._armed.clear()

    def pick(self, path: str, headers: Mapping[str, str], labels: Labels, *, is_before_body: bool) -> Fault | None:
        """Return the fault that strikes this request at this stage, and count it."""
        for armed in self._armed:
            if (armed.fault.kind in BEFORE_BODY) is not is_before_body:
                continue
            if armed.fault.match.is_met(path, headers, labels) and armed.strikes():
                if armed.is_spent:
                    self._armed.remove(armed)
                return armed.fault
        return None
