"""What a PromQL expression names: enough of a reader for the expressions of `deploy/`."""

import re
from dataclasses import dataclass

_SELECTOR = re.compile(r"([A-Za-z_:][\w:]*)\s*\{([^}]*)\}")
_MATCHER = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*,?')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_NAME = re.compile(r"(?<![\w:.$])[A-Za-z_:][\w:]*(?!\s*\()(?![\w:])")
_WORDS = frozenset({"and", "or", "unless", "offset", "bool"})


@dataclass(frozen=True)
class Named:
    """Metrics; labels of groupings; and per metric the values that labels are compared with."""

    metrics: frozenset[str]
    grouping: frozenset[str]
    matchers: tuple[tuple[str, str, str], ...]


def read(expression: str) -> Named:
    """Return what an expression names. Variables of Grafana are values like others."""
    matchers: list[tuple[str, str, str]] = []
    for metric, inside in _SELECTOR.findall(expression):
        found = _MATCHER.findall(inside)
        assert _MATCHER.sub("", inside).strip() == "", f"not understood: {inside}"
        matchers += [(metric, label, value) for label, _, value in found]
    rest = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", expression)
    grouping = {label.strip() for labels in _GROUPING.findall(rest) for label in labels.split(",") if label.strip()}
    rest = _GROUPING.sub(" ", rest)
    return Named(frozenset(set(_NAME.findall(rest)) - _WORDS), frozenset(grouping), tuple(matchers))
