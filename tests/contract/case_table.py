"""Reads the case files and expands their short forms; see README.md. Knows nothing of the code under test."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from pushsidecar.xg.v1 import PushRequest

FOLDER = Path(__file__).parent / "cases"

_REPEATED_TEXT = re.compile(r"\$\{(.+)\*(\d+)\}", re.DOTALL)
_REPEATED_ITEM = "${repeat}"


@dataclass(frozen=True, slots=True)
class Case:
    """One request and what it must become."""

    file: str
    name: str
    source: str
    app_environment: str
    request: PushRequest
    expect: dict[str, Any]
    keys: frozenset[str]

    @property
    def is_valid(self) -> bool:
        """Whether a body is expected."""
        return "body" in self.expect or "body_text" in self.expect

    @property
    def body(self) -> Any:
        """The expected body of a valid case as an object."""
        return self.expect["body"] if "body" in self.expect else json.loads(self.expect["body_text"])

    @property
    def violations(self) -> list[tuple[str, str]]:
        """The expected violations as pairs of field and rule, sorted."""
        return sorted((v["field"], v["rule"]) for v in self.expect.get("violations", []))


def expand(value: Any) -> Any:
    """Return the value with its short forms written out."""
    if isinstance(value, str):
        repeated = _REPEATED_TEXT.fullmatch(value)
        return repeated[1] * int(repeated[2]) if repeated else value
    if isinstance(value, dict):
        return {key: expand(item) for key, item in value.items()}
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], dict) and _REPEATED_ITEM in value[0]:
            repeat = value[0][_REPEATED_ITEM]
            return [repeat["item"].replace("${i}", str(i)) for i in range(repeat["count"])]
        return [expand(item) for item in value]
    return value


@cache
def cases() -> tuple[Case, ...]:
    """Return every case of every file."""
    return tuple(
        Case(
            file=path.name,
            name=raw["name"],
            source=raw["source"],
            app_environment=raw.get("app_environment", "product"),
            request=json_format.ParseDict(expand(raw["request"]), PushRequest()),
            expect={key: expand(value) if key == "body" else value for key, value in raw["expect"].items()},
            keys=frozenset(raw),
        )
        for path in sorted(FOLDER.glob("*.json"))
        for raw in json.loads(path.read_text(encoding="utf-8"))["cases"]
    )
