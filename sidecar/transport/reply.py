"""An HTTP answer, read whole. No meaning is given to it here."""

from collections.abc import Mapping

# Names and values as they came.
Headers = list[tuple[bytes, bytes]]


class Reply:
    """A vendor's answer.

    `given` are its headers as they came. `elapsed_s` is the time from the first byte of our request to the last byte
    of the answer.
    """

    __slots__ = ("_headers", "body", "elapsed_s", "given", "status")

    def __init__(self, status: int, headers: Headers, body: bytes, elapsed_s: float = 0.0) -> None:
        self.status = status
        self.body = body
        self.elapsed_s = elapsed_s
        self.given = headers
        self._headers: dict[str, str] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by their names in lower case; one that comes twice has both values, joined by a comma."""
        # Most answers are read without a look at them.
        if self._headers is None:
            self._headers = merged(self.given)
        return self._headers


def merged(pairs: Headers) -> dict[str, str]:
    """Return headers as texts by their names in lower case."""
    headers: dict[str, str] = {}
    for name_bytes, value_bytes in pairs:
        name, value = name_bytes.decode("latin-1").lower(), value_bytes.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
