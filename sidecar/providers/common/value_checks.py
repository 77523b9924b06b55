"""Builds the checks of single values and of lists from their annotations, for `plain.py`. Pure.

Each is true only for a value that is certainly valid. Numbers of members are those of buf/validate/validate.proto.
"""

import re
from collections.abc import Callable
from typing import Any

from sidecar.providers.common.annotations import Annotation, NotUnderstoodError

# Whether a value, or a message, is certainly valid.
Check = Callable[[Any], bool]

# Longer than any text that a request can have.
_ANY_LENGTH = 1 << 31
_LEAST_INT32, _MOST_INT32 = -(1 << 31), (1 << 31) - 1

# What protobuf allows.
_MAX_DURATION_S = 315_576_000_000
_FIRST_TIMESTAMP_S, _END_OF_TIMESTAMPS_S = -62_135_596_800, 253_402_300_800
_SECOND_NS = 10**9

# One or more characters of one range of printable ASCII: the only patterns that are understood.
_RANGE_PATTERN = re.compile(r"\^\[([!-~])-([!-~])\]\+\$")


def both(first: Check, second: Check) -> Check:
    """Build the check that two others make together."""
    return lambda value: first(value) and second(value)


def of_text(annotation: Annotation) -> Check | None:
    """Build the check of `StringRules`; None where there is no rule."""
    least, most, allowed = _text_rules(annotation)
    if allowed is None:
        if most == _ANY_LENGTH:
            return None if least == 0 else bool if least == 1 else lambda text: len(text) >= least
        return lambda text: least <= len(text) <= most
    return lambda text: least <= len(text) <= most and not text.encode().translate(None, allowed)


def of_texts(counts: range, of_each: Annotation, *, is_unique: bool) -> Check:
    """Build the check of a list of texts, without a step of the interpreter for each.

    A list that is longer than `counts` allows is not looked at.
    """
    least, most, allowed = _text_rules(of_each)

    def is_certain(values: Any) -> bool:
        if len(values) not in counts:
            return False
        texts = values[:]
        lengths = set(map(len, texts))
        return (
            max(lengths, default=0) <= most
            and min(lengths, default=least) >= least
            and not (is_unique and len(set(texts)) < len(texts))
            and not (allowed is not None and "".join(texts).encode().translate(None, allowed))
        )

    return is_certain


def of_items(counts: range, of_each: Check) -> Check:
    """Build the check of a list of anything else. A list that is longer than `counts` allows is not looked at."""
    return lambda values: len(values) in counts and all(map(of_each, values))


def of_int(annotation: Annotation) -> Check | None:
    """Build the check of `Int32Rules`; None where there is no rule."""
    if not annotation.has_members:
        return None
    most, least = annotation.take_int(3), annotation.take_int(5)
    annotation.end()
    return _between(_LEAST_INT32 if least is None else least, _MOST_INT32 if most is None else most)


def of_enum(annotation: Annotation, numbers: frozenset[int]) -> Check | None:
    """Build the check of `EnumRules`; None where there is no rule."""
    is_defined_only = annotation.take_int(2)
    annotation.end()
    return numbers.__contains__ if is_defined_only else None


def of_duration(annotation: Annotation) -> Check:
    """Build the check of `DurationRules`. Only whole seconds are certain."""
    most, least = annotation.take_seconds(4), annotation.take_seconds(6)
    annotation.end()
    is_within = _between(-_MAX_DURATION_S if least is None else least, _MAX_DURATION_S if most is None else most)
    return lambda value: not value.nanos and is_within(value.seconds)


def of_timestamp(annotation: Annotation) -> Check:
    """Build the check of `TimestampRules`."""
    end, first = annotation.take_seconds(3), annotation.take_seconds(6)
    annotation.end()
    last = (_END_OF_TIMESTAMPS_S if end is None else end) - 1
    is_within = _between(_FIRST_TIMESTAMP_S if first is None else first, last)
    return lambda value: 0 <= value.nanos < _SECOND_NS and is_within(value.seconds)


def _between(least: int, most: int) -> Check:
    if least > most:
        raise NotUnderstoodError  # protovalidate takes such bounds for "outside of"
    return lambda number: least <= number <= most


def _text_rules(annotation: Annotation) -> tuple[int, int, bytes | None]:
    """Return the least and the greatest length, and the characters of which a text may consist: None where any may.

    A text of other characters than ASCII has bytes that are not among them.
    """
    least, most, pattern = annotation.take_int(2), annotation.take_int(3), annotation.take_text(6)
    annotation.end()
    characters = None
    if pattern:
        found = _RANGE_PATTERN.fullmatch(pattern)
        if found is None:
            raise NotUnderstoodError
        characters = bytes(range(ord(found[1]), ord(found[2]) + 1))
        least = max(least or 0, 1)
    return least or 0, _ANY_LENGTH if most is None else most, characters
