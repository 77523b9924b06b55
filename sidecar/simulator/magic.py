"""Magic targets: tokens and accounts whose own name asks for a fault, to play without admin calls.

`fault-<what>`, optionally followed by `:` and anything, to make several different ones.
Must not live here: scripted faults (faults.py), any vendor's codes.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

from sidecar.simulator.faults import BEFORE_BODY, Fault, Garbage, Kind

PREFIX: Final = "fault-"

_SIMPLE: Final = {
    f"{PREFIX}{kind.value.replace('_', '-')}": Fault(kind=kind)
    for kind in Kind
    if kind not in BEFORE_BODY | {Kind.SLOW, Kind.RET_CODE, Kind.HTTP}
}
_GARBAGE: Final = {f"{PREFIX}garbage-{kind.value}": Fault(kind=Kind.GARBAGE, garbage=kind) for kind in Garbage}
_NAMED: Final = _SIMPLE | _GARBAGE

_PATTERNS: Final[tuple[tuple[re.Pattern[str], Callable[[str], Fault]], ...]] = (
    (
        re.compile(r"fault-ret-(-?[1-9][0-9]{0,8})"),
        lambda code: Fault(kind=Kind.RET_CODE, ret_code=int(code)),
    ),
    (
        re.compile(r"fault-http-([1-9][0-9]{2})"),
        lambda status: Fault(kind=Kind.HTTP, status=int(status)),
    ),
    (
        re.compile(r"fault-latency-([0-9]{1,3}(?:\.[0-9]{1,3})?)"),
        lambda seconds: Fault(kind=Kind.SLOW, latency_s=float(seconds)),
    ),
)


def find_magic(targets: Iterable[str]) -> Fault | None:
    """Return the fault that the first magic target asks for."""
    for target in targets:
        if target.startswith(PREFIX) and (fault := _read(target.partition(":")[0])):
            return fault
    return None


def is_magic(target: str) -> bool:
    """Say whether the target asks for a fault; such targets count as registered."""
    return find_magic((target,)) is not None


def _read(name: str) -> Fault | None:
    if name in _NAMED:
        return _NAMED[name]
    for pattern, build in _PATTERNS:
        if found := pattern.fullmatch(name):
            return build(found[1])
    return None
