"""Says whether a text is an address that can be used: the rules of RFC 3986 for hosts, and of IDNA for labels.

It knows nothing of keys, and resolves and connects nothing.
"""

import ipaddress
import re
import unicodedata

_MAX_LENGTH = 2048
_MAX_HOST = 253
_MAX_PORT = 65535
_UNIX = "unix://"
_MAX_DATABASE_DIGITS = 5
# What the kernel takes as the path of a unix socket, without the NUL at its end.
MAX_SOCKET_PATH_BYTES = 107
_ADDRESS = re.compile(
    r"(?P<scheme>[a-z]+)://(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<host>[^/:\[\]]+))(?::(?P<port>\d{1,5}))?(?P<path>/.*)?"
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_PUNYCODE = "xn--"
_IDNA_CATEGORIES = frozenset({"Ll", "Lo", "Lm", "Mn", "Mc", "Nd"})
# RFC 5892: characters that those categories take or leave wrongly (2.6), what is ignored by default, what joins symbols
# (2.8, 2.9 and the blocks of marks for them), and old Hangul (2.9).
_IDNA_EXCEPTIONS = frozenset("\u00df\u03c2")
_IDNA_REFUSED = re.compile(
    "[\u034f\u0640\u07fa\u1100-\u11ff\u17b4\u17b5\u180b-\u180f\u20d0-\u20ff\u302e\u302f\u3031-\u3035\u303b"
    "\ua960-\ua97f\ud7b0-\ud7ff\ufe00-\ufe0f\U0001d100-\U0001d24f\U000e0100-\U000e01ef]"
)


def is_address(text: str, scheme: str, *, allow_path: bool) -> bool:
    """Whether a text is `scheme://host[:port]`, and a path where that is allowed, and nothing else."""
    if (
        not text.isascii()
        or not text.isprintable()
        or any(mark in text for mark in " ?#@\\")
        or len(text) > _MAX_LENGTH
    ):
        return False
    parts = _ADDRESS.fullmatch(text)
    if parts is None or parts["scheme"] != scheme or not (allow_path or parts["path"] in {None, "/"}):
        return False
    if parts["port"] is not None and not 0 < int(parts["port"]) <= _MAX_PORT:
        return False
    return _is_ip(parts["ipv6"], ipaddress.IPv6Address) if parts["ipv6"] else _is_host(parts["host"])


def is_redis_address(text: str) -> bool:
    """Whether a text is `redis://host[:port][/db]`, the same of `rediss`, or `unix:///path`, and nothing else."""
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        return (
            path.isprintable()
            and len(path) > 1
            and path.startswith("/")
            and len(path.encode()) <= MAX_SOCKET_PATH_BYTES
            and not any(mark in path for mark in "?#@%")
        )
    if not any(is_address(text, scheme, allow_path=True) for scheme in ("redis", "rediss")):
        return False
    _, _, database = text.partition("://")[2].partition("/")
    return database == "" or (database.isdigit() and len(database) <= _MAX_DATABASE_DIGITS)


def _is_ip(text: str, kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return "%" not in text  # a zone of this machine, which no URL can have


def _is_host(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    if labels[-1].isdigit():
        return _is_ip(host, ipaddress.IPv4Address)
    return len(host) <= _MAX_HOST and all(_LABEL.fullmatch(label) and _is_idna(label.lower()) for label in labels)


def _is_idna(label: str) -> bool:
    """Whether a label is no encoded one, or the encoded form of one that IDNA 2008 has.

    It is stricter in what is rare: labels that are written from the right, and characters that need their context.
    """
    if not label.startswith(_PUNYCODE):
        return True
    encoded = label.removeprefix(_PUNYCODE)
    try:
        decoded = encoded.encode().decode("punycode")
        if decoded.isascii() or decoded.encode("punycode").decode() != encoded:
            return False
    except UnicodeError:
        return False
    return (
        unicodedata.is_normalized("NFC", decoded)
        and not unicodedata.category(decoded[0]).startswith("M")
        and "-" not in {decoded[0], decoded[-1]}
        and decoded[2:4] != "--"
        and all(_is_idna_character(character) for character in decoded)
    )


def _is_idna_character(character: str) -> bool:
    if character == "-" or character in _IDNA_EXCEPTIONS:
        return True
    stable = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", character).casefold())
    return (
        unicodedata.category(character) in _IDNA_CATEGORIES
        and unicodedata.bidirectional(character) not in {"R", "AL", "AN"}
        and stable == character
        and not _IDNA_REFUSED.match(character)
    )
