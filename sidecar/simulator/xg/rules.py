"""The kinds of value that the documents know, as small rules, and the reading of fields by them.

A rule takes a value and returns what it must be when it is not, else None. null counts as absent everywhere.
Must not live here: which field has which rule.
"""

from collections.abc import Callable, Mapping
from typing import Final, cast

from sidecar.simulator.xg.codes import INVALID, Refused, invalid, missing

Rule = Callable[[object], str | None]
Json = Mapping[str, object]


def is_integer(value: object) -> bool:
    """Say whether the value is a JSON integer (true and false are not)."""
    return isinstance(value, int) and not isinstance(value, bool)


def integer(low: int | None = None, high: int | None = None) -> Rule:
    """Build the rule for an integer within bounds."""

    def rule(value: object) -> str | None:
        if not is_integer(value):
            return "must be an integer"
        number = cast("int", value)
        if low is not None and number < low:
            return f"must be at least {low}"
        if high is not None and number > high:
            return f"must be at most {high}"
        return None

    return rule


def one_of(*allowed: object) -> Rule:
    """Build the rule for one of some values of one type."""
    kind = type(allowed[0])

    def rule(value: object) -> str | None:
        if type(value) is kind and value in allowed:
            return None
        return f"must be one of {', '.join(str(each) for each in allowed)}"

    return rule


def text(value: object) -> str | None:
    """Rule: any string."""
    return None if isinstance(value, str) else "must be a string"


def boolean(value: object) -> str | None:
    """Rule: true or false."""
    return None if isinstance(value, bool) else "must be true or false"


def json_object(value: object) -> str | None:
    """Rule: a JSON object."""
    return None if isinstance(value, dict) else "must be an object"


def text_or_json(value: object) -> str | None:
    """Rule for S1's "string/JSON", taken as a string, an object or an array."""
    return None if isinstance(value, str | dict | list) else "must be a string, an object or an array"


FLAG: Final = one_of(0, 1)


def check(parent: Json, table: Mapping[str, Rule], path: str, code: int = INVALID) -> None:
    """Check the fields of `table` that are there."""
    for name, rule in table.items():
        value = parent.get(name)
        if value is not None and (broken := rule(value)) is not None:
            raise Refused(code, f"{path}{name} {broken}")


def required_text(parent: Json, name: str, path: str = "") -> str:
    """Return a string that must be there; an empty one counts as missing."""
    value = parent.get(name)
    if value is None or value == "":
        raise missing(f"{path}{name}")
    if not isinstance(value, str):
        raise invalid(f"{path}{name}", "must be a string")
    return value


def optional_object(parent: Json, name: str, path: str = "") -> Json:
    """Return an object; an absent one is empty."""
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"{path}{name}", "must be an object")
    return cast("Json", value)


def required_object(parent: Json, name: str, path: str = "") -> Json:
    """Return an object that must be there; it may be empty."""
    if parent.get(name) is None:
        raise missing(f"{path}{name}")
    return optional_object(parent, name, path)
