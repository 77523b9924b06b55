"""Which headers hold secrets, so that a record shows that they came, but not what they held.

Must not live here: a vendor's own names (it brings them), bodies.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

REDACTED: Final = "[redacted]"

# What credentials are usually called: Authorization, Proxy-Authorization, Cookie, X-Auth-Token, Api-Key, ...
_LIKE_A_SECRET: Final = re.compile(
    r"auth|cookie|credential|jwt|passphrase|passw|secret|session|signature|token|(?:access|api|private)[-_]?key",
    re.IGNORECASE,
)


def redact_headers(headers: Mapping[str, str], secret_headers: Collection[str]) -> dict[str, str]:
    """Return the headers with the values of secret ones replaced; `secret_headers` are further names, in any case."""
    named = {name.lower() for name in secret_headers}
    return {
        name: REDACTED if name.lower() in named or _LIKE_A_SECRET.search(name) else value
        for name, value in headers.items()
    }
