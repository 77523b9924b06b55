"""The words that the simulator's shared machinery and a simulated vendor exchange.

Owns: the request as received, the reply to give, what a push reached, and what a vendor must offer.
Must not live here: HTTP, sockets, faults, any vendor's fields or codes.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol


class NotJson:
    """The type of `NOT_JSON`: the body could not be read as JSON."""

    def __repr__(self) -> str:
        return "NOT_JSON"


NOT_JSON: Final = NotJson()
MAX_DEPTH: Final = 128
"""Of nested arrays and objects: ours, so that nothing behind has to care.

Custom content of 100 levels, the most that a sidecar takes, is inside three more.
"""
REASON_HEADER: Final = "X-Simulator-Reason"


def parse_json(raw: bytes) -> object:
    """Return the JSON value in `raw`, or `NOT_JSON`: strict UTF-8, no NaN, no lone surrogate, not nested too deep."""
    try:
        value: object = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return NOT_JSON
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        return NOT_JSON
    return value


def _is_deeper(value: object, depth: int) -> bool:
    """Say whether arrays and objects are nested deeper than `depth`."""
    level = [value]
    for _ in range(depth):
        level = [inner for outer in level for inner in _inside(outer)]
    return any(isinstance(value, dict | list) for value in level)


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the vendor, wholly read. `headers` has lower-case names."""

    number: int
    time: float
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Labels:
    """What a scripted fault can be matched by; empty where the request names none."""

    app_id: str = ""
    audience: str = ""
    tokens: tuple[str, ...] = field(default=(), repr=False)
    accounts: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A push that the vendor acted on, whether or not its answer reached the caller.

    `targets` are the tokens, accounts or tags that were accepted; `devices` counts the devices reached.
    """

    number: int
    time: float
    vendor: str
    app_id: str
    audience: str
    push_id: str
    seq: int
    devices: int
    targets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A vendor's answer: `json` is its body; `reason` says in words why it refused."""

    status: int
    json: object
    headers: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    delivery: Delivery | None = None


def refuse_by_status(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a refusal for which no document names a code: without one, so that the status counts."""
    return Reply(status, {"error": reason}, {**(headers or {}), REASON_HEADER: reason}, reason)


AdminCall = Callable[[object], object]


class Vendor(Protocol):
    """What a simulated vendor offers to the server that carries it."""

    name: str
    secret_headers: frozenset[str]
    """Names of headers that carry this vendor's secrets, beside those that `redact.py` knows."""

    def labels(self, request: Request) -> Labels:
        """Return what faults may be matched by; never fails, whatever the request is."""
        ...

    def answer(self, request: Request) -> Reply:
        """Check the request, act on it and return the answer."""
        ...

    def refuse(self, request: Request, code: int, message: str | None, result: object) -> Reply:
        """Return a refusal with the given code, in this vendor's shape, without acting."""
        ...

    def admin_calls(self) -> Mapping[tuple[str, str], AdminCall]:
        """Return the vendor's own admin calls: (method, name under /_sim/) -> JSON in, JSON out."""
        ...

    def reset(self) -> None:
        """Go back to the state of the start."""
        ...
