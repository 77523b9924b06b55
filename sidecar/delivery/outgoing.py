"""What is sent to a vendor, as a provider hands it to delivery."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent.

    `call_class` is what the vendor's quotas are for. `is_repeatable_when_busy`: the vendor's "could not create the
    task" may be tried again.
    """

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    call_class: str
    is_repeatable_when_busy: bool

    @property
    def costs(self) -> Mapping[str, int]:
        """What one attempt costs of the vendor's quotas, by class of call."""
        return _one_of(self.call_class)


@cache
def _one_of(call_class: str) -> Mapping[str, int]:
    return {call_class: 1}
