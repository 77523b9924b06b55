"""Nothing that a caller wrote stays in what the vendor says."""

import html
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from pushsidecar.xg.v1 import PushRequest
from sidecar.providers.common.redact import redact as redact_by

SECRET = "s3cret välue"
KEPT_FIELDS = frozenset({"pushsidecar.xg.v1.PushRequest.app", "pushsidecar.xg.v1.PushRequest.push_id"})


def redact(message: str, request: PushRequest) -> str:
    return redact_by(message, request, kept_fields=KEPT_FIELDS)


def paths(descriptor: Any, before: tuple[FieldDescriptor, ...] = ()) -> Iterator[tuple[FieldDescriptor, ...]]:
    """Yield the way to every string that a request can hold."""
    for field in descriptor.fields:
        way = (*before, field)
        if field.message_type is not None and field.message_type.file.package.startswith("pushsidecar"):
            yield from paths(field.message_type, way)
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield way


def name_of(way: tuple[FieldDescriptor, ...]) -> str:
    return ".".join(field.name for field in way)


STRINGS = {name_of(way): way for way in paths(PushRequest.DESCRIPTOR)}
KEPT = {"app", "push_id"}
JSON_TEXTS = [name for name in STRINGS if name.endswith(".json")]


def with_text(way: tuple[FieldDescriptor, ...], text: str) -> PushRequest:
    """Build a request that holds `text` at one place and nothing else."""
    request = PushRequest()
    at: Any = request
    for field, following in zip(way, (*way[1:], None), strict=True):
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            # The two ways through a map are its key and its value.
            assert following is not None
            getattr(at, field.name).update({text: "v"} if following.name == "key" else {"k": text})
            return request
        if following is None:
            if field.is_repeated:
                getattr(at, field.name).append(text)
            else:
                setattr(at, field.name, text)
        else:
            inner = getattr(at, field.name)
            at = inner.add() if field.is_repeated else inner
    return request


def test_every_kind_of_content_is_among_the_strings() -> None:
    assert {
        "token", "token_list.tokens", "account.account", "account_list.accounts", "tag.tags", "stat_tag",
        "android_notification.title", "android_message.content", "ios_notification.alert.loc_args",
        "android_notification.custom_content.fields.entries.key", "ios_silent.extra.fields.entries.value",
        "ios_silent.custom.text", "android_notification.action.browser.url",
    } < set(STRINGS)  # fmt: skip
    assert len(JSON_TEXTS) == 6


@pytest.mark.parametrize("name", [name for name in STRINGS if name not in KEPT and name not in JSON_TEXTS])
def test_every_string_of_a_request_is_taken_out(name: str) -> None:
    request = with_text(STRINGS[name], SECRET)
    assert redact(f"bad: {SECRET}!", request) == "bad: [...]!"


@pytest.mark.parametrize("name", sorted(KEPT))
def test_names_of_configuration_and_vendor_stay(name: str) -> None:
    assert redact(f"bad: {SECRET}!", with_text(STRINGS[name], SECRET)) == f"bad: {SECRET}!"


@pytest.mark.parametrize("name", JSON_TEXTS)
@pytest.mark.parametrize(
    ("text", "message", "expected"),
    [
        ('{"k": "välue"}', "välue of k", "[...] of [...]"),
        ('{"a":{"b":[{"deep":"inside"}]}}', "inside deep", "[...] [...]"),
        ('{"n": 9007199254740993}', "n=9007199254740993", "[...]=[...]"),
        ('{"x": -12.50e+3}', "-12.50e+3", "[...]"),
        ('{"x": 12345678901234567890123}', "12345678901234567890123", "[...]"),
        ('{"x": "first", "x": "second"}', "first second", "[...] [...]"),
        ('{"x": "\\u0041\\u0042c"}', "ABc or \\u0041\\u0042c", "[...] or [...]"),
        ('{"x": "say \\"hi\\""}', 'say "hi" / say \\"hi\\"', "[...] / [...]"),
        ('{"x": "a\\\\"}', "a\\", "[...]"),
        ('{"x": "", "y": true, "z": null}', "true null", "true null"),
        ('{"whole": 1}', 'in {"whole": 1}', "in [...]"),
    ],
)
def test_values_and_keys_of_custom_json_are_taken_out(name: str, text: str, message: str, expected: str) -> None:
    assert redact(message, with_text(STRINGS[name], text)) == expected


@pytest.mark.parametrize("depth", [10, 990, 994, 2000])
def test_depth_of_custom_json_does_not_matter(depth: int) -> None:
    text = '{"a":' + "[" * depth + '"inside"' + "]" * depth + "}"
    assert redact("an inside!", with_text(STRINGS["ios_silent.custom.json"], text)) == "an [...]!"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('a "quoted" title', 'a \\"quoted\\" title'),
        ("two\nlines", "two\\nlines"),
        ("测试标题", "\\u6d4b\\u8bd5\\u6807\\u9898"),
        ("😀", "\\ud83d\\ude00"),
        ("测试", '"测试"'),
        ("Stra\u00dfe", "Stra\\u00DFe"),
        ("Stra\u00dfe", "Stra\\u00dfe"),
        ("<b>now</b>", "\\u003cb\\u003enow\\u003C/b\\u003E"),
        ("https://example.org/a", "https:\\/\\/example.org\\/a"),
        ('say "hi"', 'say \\\\\\"hi\\\\\\"'),
        ("välue", "v\\\\u00e4lue"),
        ("<b>&</b>", "&lt;b&gt;&amp;&lt;/b&gt;"),
        ("it's", "it&#39;s"),
        ("it's", "it&#x27;s"),
        ("<b>", "&amp;lt;b&amp;gt;"),
        ("välue", "v&auml;lue"),
        ("😀", "&#x1F600;"),
        ("a\\b", "a\\\\b"),
    ],
)
def test_value_is_found_however_it_is_quoted(value: str, said: str) -> None:
    redacted = redact(f"bad: {said}", with_text(STRINGS["android_message.title"], value))
    assert redacted.replace('"', "") == "bad: [...]"


@pytest.mark.parametrize(
    ("value", "said", "expected"),
    [
        ("a", "a bad token: a, 'a' and a1", "[...] bad token: [...], '[...]' and a1"),
        ("abc", "abc, abcd and xabc", "[...], abcd and xabc"),
        ("abcd", "xabcdx", "x[...]x"),
        ("优惠", "标题优惠不合法", "标题[...]不合法"),
        ("é", "déjà é", "d[...]jà [...]"),
        ("7", "code 7 of 77", "code [...] of 77"),
        ("n", "first\\nsecond", "first\\nsecond"),
        ("second", "first\\nsecond", "first\\n[...]"),
        ("a", "a", "[...]"),
    ],
)
def test_short_word_is_taken_out_where_it_stands_alone(value: str, said: str, expected: str) -> None:
    assert redact(said, PushRequest(token=value)) == expected


@pytest.mark.parametrize(
    "said", ["&nosuch; &#0; &#xD800; &#1114112; &NotEqualTilde; \\ud83d \\u12 &", "&" * 300, "\\" * 300]
)
def test_what_is_no_escape_stays_as_it_is(said: str) -> None:
    assert redact(said, PushRequest(token="token-1")) == said[:200]


def test_longest_of_several_values_goes_first() -> None:
    request = PushRequest()
    request.token_list.tokens.extend(["ab", "abcd", "a"])
    assert redact("abcde ab a", request) == "[...]e [...] [...]"


def test_placeholder_is_not_searched_again() -> None:
    request = PushRequest()
    request.tag.tags.extend(["secret", ".", "[", "]", "..."])
    assert redact("a secret.", request) == "a [...][...]"


def test_text_with_what_looks_like_an_escape_of_another_kind_is_found() -> None:
    """HTML has written the quote, and left both backslashes."""
    request = PushRequest()
    request.account.account = '\\\\"'
    assert redact("for \\\\&quot; no", request) == "for [...] no"


def test_empty_values_and_messages_change_nothing() -> None:
    request = PushRequest(token="", stat_tag="")
    request.tag.tags.append("")
    assert redact("as it was", request) == "as it was"
    assert redact("", with_text(STRINGS["token"], "x")) == ""


def test_message_is_cut_after_it_was_searched() -> None:
    request = PushRequest(token="t" * 64)
    assert redact(("t" * 64 + " ") * 1000, request) == "[...] " * 33 + "[."
    assert redact("x" * 199 + "t" * 64, request) == "x" * 199 + "["
    assert redact("x" * 500, request) == "x" * 200


def forms(value: str) -> set[str]:
    """Return how a value may be written by a vendor."""
    as_json, as_ascii = json.dumps(value, ensure_ascii=False)[1:-1], json.dumps(value)[1:-1]
    return {value, as_json, as_ascii, json.dumps(as_ascii)[1:-1], html.escape(value), html.escape(as_json)}


def is_shown(text: str, piece: str) -> bool:
    """Whether a piece between two placeholders shows a text; a short word only where it stands alone in it."""
    if len(text) >= 4 or not re.fullmatch("[A-Za-z0-9]+", text):
        return text in piece
    return re.search(f"(?<=[^A-Za-z0-9]){text}(?=[^A-Za-z0-9])", piece) is not None


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), min_size=1, max_size=12)
few = st.text('ab[.]\\"é', min_size=1, max_size=4)
json_values = st.recursive(
    texts | few | st.integers(-(2**70), 2**70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield str(value)


@settings(deadline=None)
@given(
    targets=st.lists(texts | few, min_size=1, max_size=4),
    title=texts | few,
    content=texts | few,
    custom=st.dictionaries(texts, json_values, max_size=3),
    is_ascii=st.booleans(),
    data=st.data(),
)
def test_no_value_of_the_request_survives(
    *, targets: list[str], title: str, content: str, custom: dict[str, Any], is_ascii: bool, data: st.DataObject
) -> None:
    request = PushRequest()
    request.account_list.accounts.extend(targets)
    request.android_message.title, request.android_message.content = title, content
    request.android_message.custom_content.json = json.dumps(custom, ensure_ascii=is_ascii)
    values = {text for text in [*targets, title, content, *leaves(custom)] if text}
    written = sorted(set().union(*map(forms, values)))
    said = "".join(data.draw(st.lists(st.sampled_from(written) | texts, max_size=40)))

    redacted = redact(said, request)

    assert len(redacted) <= 200
    whole = redacted.rstrip("[.") if len(redacted) == 200 else redacted
    for piece in whole.split("[...]"):
        assert not [text for text in written if is_shown(text, piece)]


@settings(deadline=None)
@given(said=st.text(max_size=300), token=texts)
def test_message_without_a_value_stays_as_it_is(said: str, token: str) -> None:
    if not any(form in said for form in forms(token)):
        assert redact(said, PushRequest(token=token)) == said[:200]


def test_request_is_not_changed() -> None:
    request = PushRequest(token="t")
    redact("t and more", request)
    assert request == PushRequest(token="t")


@pytest.mark.parametrize(
    "said", ["t" * 1_000_000, "." * 1_000_000, "000 " * 250_000], ids=["no-value", "placeholder", "prefixes"]
)
def test_cost_is_bounded_by_what_is_kept(said: str) -> None:
    request = PushRequest()
    request.token_list.tokens.extend(f"{number:064}" for number in range(980))
    request.token_list.tokens.extend("[.]" * (1 + number // 3) for number in range(20))
    began = time.process_time()
    assert len(redact(said, request)) == 200
    # A search through all that was said takes seconds.
    assert time.process_time() - began < 0.5
