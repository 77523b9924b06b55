"""Reading the JSON that a user gives to the admin endpoints, with a complaint that names field and rule.

Must not live here: the vendor's checks of a push (they have their own codes), HTTP.
"""

from collections.abc import Mapping
from typing import cast


class InputError(ValueError):
    """A field of an admin call breaks a rule."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class Fields:
    """The fields of one JSON object; each is asked for once, `end` refuses those never asked for."""

    def __init__(self, value: object, name: str = "body") -> None:
        if not isinstance(value, dict):
            raise InputError(name, "must be a JSON object")
        self._values = cast("dict[str, object]", value)
        self._asked: set[str] = set()
        self._prefix = "" if name == "body" else f"{name}."

    def get(self, name: str) -> object:
        """Return the raw value; null counts as absent."""
        self._asked.add(name)
        return self._values.get(name)

    def text(self, name: str, default: str | None = None) -> str:
        """Return a non-empty string."""
        value = self.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value:
            raise self.bad(name, "must be a non-empty string")
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a string, or None when it is absent."""
        value = self.get(name)
        if value is not None and not isinstance(value, str):
            raise self.bad(name, "must be a string")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of non-empty strings; absent is empty."""
        value = self.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.bad(name, "must be a list of non-empty strings")
        return tuple(cast("list[str]", value))

    def integer(self, name: str, *, low: int, high: int, default: int) -> int:
        """Return an integer within the bounds."""
        value = self.optional_integer(name, low=low, high=high)
        return default if value is None else value

    def optional_integer(self, name: str, *, low: int, high: int) -> int | None:
        """Return an integer within the bounds, or None when it is absent."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.bad(name, f"must be an integer from {low} to {high}")
        return value

    def seconds(self, name: str, *, high: float, default: float = 0.0) -> float:
        """Return a duration of 0..`high` seconds."""
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= high:
            raise self.bad(name, f"must be a number from 0 to {high:g}")
        return float(value)

    def flag(self, name: str) -> bool | None:
        """Return a boolean, or None when it is absent."""
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.bad(name, "must be true or false")
        return value

    def text_map(self, name: str) -> Mapping[str, str]:
        """Return an object whose values are strings; absent is empty."""
        value = self.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise self.bad(name, "must be an object whose values are strings")
        return cast("dict[str, str]", value)

    def given(self, name: str) -> bool:
        """Say whether the field is there, null included."""
        return name in self._values

    def end(self) -> None:
        """Refuse the fields that nobody asked for, which are mostly typing errors."""
        unknown = sorted(set(self._values) - self._asked)
        if unknown:
            raise self.bad(unknown[0], f"is unknown; known: {', '.join(sorted(self._asked))}")

    def bad(self, name: str, rule: str) -> InputError:
        """Return the complaint about one field."""
        return InputError(f"{self._prefix}{name}", rule)
