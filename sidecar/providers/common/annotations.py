"""Reads `buf.validate` annotations from descriptors, without their types: the stubs of this repository have none.

Knows the form of an annotation; what its members mean is the reader's.
"""

from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

# The number of the options `buf.validate.message`, `.oneof` and `.field` (buf/validate/validate.proto).
_OPTION = 1159


class NotUnderstoodError(Exception):
    """An annotation has a member that its reader does not know."""


class Annotation:
    """The members of an annotation, by number. A reader takes out what it knows; `end` tells whether it knew all."""

    def __init__(self, raw: bytes = b"") -> None:
        self._members: dict[int, list[Any]] = {}
        members = UnknownFieldSet(Empty.FromString(raw))
        for index in range(len(members)):
            member = members[index]
            self._members.setdefault(member.field_number, []).append(member.data)

    @classmethod
    def of(cls, descriptor: Any) -> "Annotation":
        """Read the annotation of a message, a oneof or a field; one without members where there is none."""
        # From the bytes: in a process that knows the option's type, it is not among the unknown fields.
        return cls(descriptor.GetOptions().SerializeToString()).take_message(_OPTION)

    @property
    def has_members(self) -> bool:
        """Whether a member is there that was not taken."""
        return bool(self._members)

    def take_int(self, number: int) -> int | None:
        """Take a number, an enum's value or a flag; None where the member is not there."""
        values = self._members.pop(number, None)
        if values is None:
            return None
        value: int = values[-1]
        return value - (1 << 64) if value >= 1 << 63 else value  # a negative one stands as its 64 bits

    def take_all(self, number: int) -> list[bytes]:
        """Take every value of a repeated member, as its bytes."""
        return self._members.pop(number, [])

    def take_text(self, number: int) -> str:
        """Take a text; empty where the member is not there."""
        return b"".join(self.take_all(number)[-1:]).decode()

    def take_message(self, number: int) -> "Annotation":
        """Take a message; one without members where the member is not there."""
        return Annotation(b"".join(self.take_all(number)))

    def take_seconds(self, number: int) -> int | None:
        """Take a Duration or a Timestamp of whole seconds; None where the member is not there."""
        if number not in self._members:
            return None
        time = self.take_message(number)
        seconds = time.take_int(1) or 0
        time.end()
        return seconds

    def end(self) -> None:
        """Say that all is taken that is known.

        Raises `NotUnderstoodError` where a member is left.
        """
        if self._members:
            raise NotUnderstoodError
