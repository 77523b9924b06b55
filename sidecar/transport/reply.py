"""An HTTP answer, read whole. No meaning is given to it here."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """A vendor's answer.

    `headers` are asked for by lower-case names. `elapsed_s` is the time from the first byte of our body to the last
    byte of the answer.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_s: float = 0.0
