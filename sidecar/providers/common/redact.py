"""Takes the caller's own texts out of what a vendor says, so that an error message can go to a log.

A vendor quotes as it likes: as it is, as JSON writes it (any escape, in either case), as HTML does, or several of them
over each other. So the message is read as it is and with its escapes resolved, and searched in each reading.
"""

import html
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import msgspec
from google.protobuf.message import Message

MAX_VENDOR_MESSAGE_CHARS = 200
PLACEHOLDER = "[...]"

# A word of fewer letters and digits than this is taken out only where it stands alone: to take each "a" out of a
# message protects nobody, and leaves no message.
MIN_INNER_CHARS = 4
# How often escapes are resolved at most; each time is for another layer of quoting.
_MAX_LAYERS = 5
# Of so many layers each may be of JSON or of HTML alone, so that what looks like an escape of the other stays.
_LAYERS_OF_ONE_KIND = 2
# How far a message is looked at, beside the longest text: what a placeholder replaces may be long.
_MAX_SEARCHED_CHARS = 16_384
# What one character can take at the most: an HTML reference to an emoji, itself quoted.
_MAX_CHARS_OF_ONE = 14

_JSON_ESCAPE = (
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|\\u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})"
    r'|\\["\\/bfnrt]'
)
_HTML_ESCAPE = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});"
_ESCAPE = re.compile(f"{_JSON_ESCAPE}|{_HTML_ESCAPE}")
_OF_EACH_KIND = (_ESCAPE, re.compile(_JSON_ESCAPE), re.compile(_HTML_ESCAPE))
# The strings and numbers of a valid JSON text. No parser: equal keys all count, and depth does not matter.
_JSON_SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*')

_decode = msgspec.json.Decoder(str).decode


def redact(message: str, request: Message, *, kept_fields: Collection[str] = ()) -> str:
    """Replace every text and custom value of the request in `message`, and cut it at 200 characters.

    `kept_fields` are the full names of fields that hold no content, such as the app's name. A field called `json` is a
    JSON text, whose strings and numbers count one by one, too. Where several texts begin at one place, the longest is
    replaced.
    """
    if not message:
        return ""
    texts = {text for text in _strings(request, kept_fields) if text}
    lengths = sorted({len(text) for text in texts}, reverse=True)
    searched = _MAX_SEARCHED_CHARS + _MAX_CHARS_OF_ONE * lengths[0] if lengths else MAX_VENDOR_MESSAGE_CHARS
    end = len(message) if len(message) <= searched else _MAX_SEARCHED_CHARS
    readings = list(_readings(message[:searched]))
    kept: list[str] = []
    size = at = 0
    # One pass, and no further than what is kept: an endless message, or a text such as ".", costs no more than others.
    while at < end and size < MAX_VENDOR_MESSAGE_CHARS:
        found_end = max(reading.end_of_match(at, texts, lengths) for reading in readings)
        kept.append(PLACEHOLDER if found_end else message[at])
        size += len(kept[-1])
        at = found_end or at + 1
    return "".join(kept)[:MAX_VENDOR_MESSAGE_CHARS]


@dataclass(frozen=True, slots=True)
class _Reading:
    """A message with its escapes resolved some times. `starts[n]` is where the n-th character begins in the message.

    One more than there are characters, so that each has an end, too.
    """

    text: str
    starts: list[int]

    def end_of_match(self, at: int, texts: Collection[str], lengths: list[int]) -> int:
        """Return where the longest text ends that begins at this place of the message; 0 where none does."""
        index = bisect_left(self.starts, at)
        if index == len(self.text) or self.starts[index] != at:
            return 0
        for length in lengths:
            end = index + length
            if self.text[index:end] in texts and end <= len(self.text) and self._is_whole(index, end):
                return self.starts[end]
        return 0

    def _is_whole(self, index: int, end: int) -> bool:
        """Whether a text is long enough to be taken out of a word, or is no part of one; words are of ASCII only."""
        word = self.text[index:end]
        if len(word) >= MIN_INNER_CHARS or not _is_word(word):
            return True
        return not (_is_word(self.text[max(0, index - 1) : index]) or _is_word(self.text[end : end + 1]))


def _is_word(text: str) -> bool:
    return text.isascii() and text.isalnum()


def _readings(message: str) -> Iterator[_Reading]:
    layer = [_Reading(message, list(range(len(message) + 1)))]
    for depth in range(_MAX_LAYERS + 1):
        yield from layer
        kinds = _OF_EACH_KIND if depth < _LAYERS_OF_ONE_KIND else (_ESCAPE,)
        deeper: list[_Reading] = []
        for reading in layer:
            if "\\" in reading.text or "&" in reading.text:
                resolved = [_resolved(reading, escapes) for escapes in kinds]
                deeper += [each for each in resolved if each.text != reading.text and each not in deeper]
        layer = deeper


def _resolved(reading: _Reading, escapes: re.Pattern[str]) -> _Reading:
    """Resolve such escapes of a reading once."""
    pieces: list[str] = []
    starts: list[int] = []
    at = 0
    for escape in escapes.finditer(reading.text):
        meant = _meant_by(escape[0])
        # A few references of HTML mean two characters, and some mean none: they stay, so that each has its place.
        if len(meant) != 1:
            continue
        pieces += (reading.text[at : escape.start()], meant)
        starts += reading.starts[at : escape.start() + 1]
        at = escape.end()
    pieces.append(reading.text[at:])
    starts += reading.starts[at:]
    return _Reading("".join(pieces), starts)


def _meant_by(escape: str) -> str:
    return _decode(f'"{escape}"') if escape.startswith("\\") else html.unescape(escape)


def _strings(message: Message, kept_fields: Collection[str]) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.full_name in kept_fields:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key, entry in value.items():
                yield from (key, entry)
            continue
        for item in value if field.is_repeated else (value,):
            if isinstance(item, Message):
                yield from _strings(item, kept_fields)
            elif isinstance(item, str):
                yield item
                if field.name == "json":
                    yield from _json_scalars(item)


def _json_scalars(text: str) -> Iterator[str]:
    for scalar in _JSON_SCALAR.findall(text):
        if scalar.startswith('"'):
            yield scalar[1:-1]
            yield _decode(scalar)
        else:
            yield scalar
