"""The quotas of an app as they are configured: how many calls of which classes in what time.

The counting is stores/quota.py's, the waiting pacing.py's.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sidecar.stores.quota import Limit

CLASS_SEPARATOR = "+"
LIMIT_SEPARATOR = ";"
MAX_AMOUNT = 1_000_000_000
# What a quota may be for at most. Redis' scripts count microseconds as whole numbers up to 2^53.
MAX_WINDOW_S = 10 * 360 * 86_400

_UNITS_S: Mapping[str, int] = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86_400,
    "month": 30 * 86_400,
    "year": 360 * 86_400,
}
_LIMIT = re.compile(r"\s*([0-9]{1,20})\s*(?:/|per)\s*([0-9]{1,20})?\s*([a-z]+?)s?\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of the calls of these classes together. `name` is the classes in alphabetical order, such as `all+tag`."""

    name: str
    classes: frozenset[str]
    limits: tuple[Limit, ...]


def read_quotas(given: Mapping[str, str], known_classes: Collection[str]) -> list[Quota]:
    """Read quotas such as `{"all+tag": "30/hour", "single": "5/minute; 20/day"}`.

    Raises `ValueError` whose text begins with the key.
    """
    quotas: dict[frozenset[str], Quota] = {}
    for name, text in given.items():
        quota = _read_quota(name, text, known_classes)
        if quota.classes in quotas:
            raise ValueError(f"{name}: is given twice, in another order")
        quotas[quota.classes] = quota
    return list(quotas.values())


def read_limit(text: str) -> Limit:
    """Read one limit: `30/hour`, `30 per hour`, `5/2 seconds` or `5 per 2 seconds`.

    A unit is second, minute, hour, day, month (30 days) or year (360 days), with or without an s. Raises `ValueError`.
    """
    limit = None
    if (read := _LIMIT.fullmatch(text)) is not None:
        amount, count, unit = read.groups()
        limit = Limit(int(amount), int(count or 1) * _UNITS_S.get(unit.lower(), 0))
    if limit is None or not 1 <= limit.amount <= MAX_AMOUNT or not 1 <= limit.window_s <= MAX_WINDOW_S:
        raise ValueError("must be one limit, such as 30/hour or 5 per 2 seconds")
    return limit


def _read_quota(name: str, text: str, known_classes: Collection[str]) -> Quota:
    classes = [part.strip() for part in name.split(CLASS_SEPARATOR)]
    if unknown := [part for part in classes if part not in known_classes]:
        known = ", ".join(sorted(set(known_classes)))
        raise ValueError(f"{name}: {unknown[0]!r} is no class of call: they are {known}, joined by +")
    if len(set(classes)) < len(classes):
        raise ValueError(f"{name}: names a class twice")
    try:
        limits = [read_limit(part) for part in text.split(LIMIT_SEPARATOR)]
    except ValueError:
        raise ValueError(
            f"{name}: must be a limit, such as 30/hour or 5 per 2 seconds, or several, such as 5/minute; 20/day"
        ) from None
    if len({limit.window_s for limit in limits}) < len(limits):
        raise ValueError(f"{name}: has two limits for the same time")
    return Quota(CLASS_SEPARATOR.join(sorted(classes)), frozenset(classes), tuple(limits))
