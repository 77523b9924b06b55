"""Every case of `cases/` against the checks and the renderer, and the cases themselves against the contract."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import protovalidate
import pytest
from google.protobuf.message import Message

from pushsidecar.xg.v1 import PushRequest
from sidecar.errors import MessageTooLarge
from sidecar.providers.xg.render import render
from sidecar.providers.xg.rules import violations

from .case_table import FOLDER, Case, cases
from .proto_rules import Rule, fields, rules

# What the proto cannot say; everything else is a `buf.validate` rule.
SIDECAR_RULES = {"json.object", "extra.reserved_key"}
SIDECAR_RULES_BY_PATH = {
    ("android_notification.custom_content.json", "json.object"),
    ("android_message.custom_content.json", "json.object"),
    *((f"{message}.{field}.json", "json.object") for message in ("ios_notification", "ios_silent") for field in ("custom", "extra")),
    *((f"{message}.extra.{kind}", "extra.reserved_key") for message in ("ios_notification", "ios_silent") for kind in ("json", "fields")),
}

MAX_MESSAGE_BYTES = 4096

# Headings of the two documents that a source may name.
HEADINGS = {
    "S0": {"API限制", "Push API必要参数"},
    "S1": {
        "Push API 必要参数", "audience_type：推送目标", "platform：推送平台", "message_type：消息体类型", "message：消息体",
        "Android普通消息", "iOS普通消息", "Android透传消息", "iOS静默消息", "Push API 可选参数", "Push API应答参数",
        "Android标签推送请求消息", "iOS单设备推送请求消息", "账号类型", "错误码",
    },
}  # fmt: skip

# Bounds that protobuf JSON cannot cross: no timestamp is before the year 1.
INEXPRESSIBLE = {("send_time", "gte")}

# How far outside of a limit the first refused value lies, and how far inside the last accepted one.
STEPS = {"min_len": (0, -1), "max_len": (0, 1), "min_items": (0, -1), "max_items": (0, 1), "gte": (0, -1), "lte": (0, 1), "lt": (-1, 0)}

valid = [pytest.param(case, id=case.name) for case in cases() if case.is_valid]
invalid = [pytest.param(case, id=case.name) for case in cases() if "violations" in case.expect]
too_large = [pytest.param(case, id=case.name) for case in cases() if "too_large" in case.expect]


def no_index(path: str) -> str:
    return re.sub(r"\[\d+\]", "[]", path)


def no_member_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), f"a member stands twice: {[name for name, _ in pairs]}"
    return dict(pairs)


def canonical(value: Any) -> str:
    """Return JSON in which 1, true, 1.0 and "1" differ and the order of members does not matter."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1)


@pytest.mark.parametrize("case", valid)
def test_valid_request_becomes_this_body(case: Case) -> None:
    assert violations(case.request) == []
    body = render(case.request, default_environment=case.app_environment).body
    if "body_text" in case.expect:
        assert body.decode() == case.expect["body_text"]
    else:
        assert canonical(json.loads(body, object_pairs_hook=no_member_twice)) == canonical(case.expect["body"])


@pytest.mark.parametrize("case", invalid)
def test_invalid_request_breaks_these_rules(case: Case) -> None:
    assert sorted((v.field, v.rule) for v in violations(case.request)) == case.violations


@pytest.mark.parametrize("case", invalid)
def test_descriptions_are_there_and_do_not_quote_the_value(case: Case) -> None:
    quoted = {text for text in texts(case.request) if len(text) > 8}
    for violation in violations(case.request):
        assert violation.description
        assert not [text for text in quoted if text in violation.description]


@pytest.mark.parametrize("case", too_large)
def test_message_is_too_large_by_this_size(case: Case) -> None:
    assert violations(case.request) == []
    with pytest.raises(MessageTooLarge) as raised:
        render(case.request, default_environment=case.app_environment)
    assert (raised.value.size, raised.value.limit) == (case.expect["too_large"]["size"], MAX_MESSAGE_BYTES)


@pytest.mark.parametrize("case", invalid)
def test_proto_rules_alone_find_what_checked_by_says(case: Case) -> None:
    by_proto = [pair for pair in case.violations if pair[1] not in SIDECAR_RULES]
    found = sorted(reported(v) for v in protovalidate.collect_violations(case.request))
    assert found == by_proto
    assert case.expect["checked_by"] == ("proto" if by_proto == case.violations else "sidecar")


@pytest.mark.parametrize("case", [*valid, *too_large])
def test_proto_rules_alone_accept_valid_requests(case: Case) -> None:
    assert protovalidate.collect_violations(case.request) == []


def reported(violation: protovalidate.Violation) -> tuple[str, str]:
    """Return field and rule as a client has to read them; see README.md."""
    path, rule = "", violation.proto.rule_id
    for element in violation.proto.field.elements if violation.proto.field is not None else []:
        path += f".{element.field_name}" if path else element.field_name
        path += f"[{element.subscript.value}]" if element.subscript is not None else ""
    if violation.proto.rule is None and "." in rule:
        # No field's rule, but one across the fields of the message at this path.
        leaf = rule.partition(".")[0]
        path = f"{path}.{leaf}" if path else leaf
    return path, rule


def texts(message: Message) -> Iterator[str]:
    for descriptor, value in message.ListFields():
        for item in value if descriptor.is_repeated else [value]:
            if isinstance(item, str):
                yield item
            elif isinstance(item, Message):
                yield from texts(item)


def test_case_files_are_well_formed() -> None:
    assert len(list(FOLDER.glob("*.json"))) > 5
    for path in FOLDER.glob("*.json"):
        file = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=no_member_twice)
        assert set(file) == {"about", "cases"}
        assert file["about"]
        assert file["cases"]


def test_names_are_unique_and_say_something() -> None:
    assert {name: count for name, count in Counter(case.name for case in cases()).items() if count > 1} == {}
    assert [case.name for case in cases() if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", case.name)] == []


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
def test_case_is_well_formed(case: Case) -> None:
    assert case.keys <= {"name", "source", "app_environment", "request", "expect"}
    assert case.app_environment in {"product", "dev"}
    assert set(case.expect) in ({"body"}, {"body_text"}, {"violations", "checked_by"}, {"too_large"})
    for violation in case.expect.get("violations", [{"field": "", "rule": ""}]):
        assert set(violation) == {"field", "rule"}
    for part in case.source.split("; "):
        named = re.match(r"(S[01]), '([^']+)'", part)
        if named:
            assert named[2] in HEADINGS[named[1]]
        else:
            assert part.startswith("ours: ") or part == "xg is reserved and not offered"


def values(message: Message, path: str) -> Iterator[Any]:
    """Yield what stands at a path of the proto, as far as it is set."""
    name, _, rest = path.partition(".")
    field = message.DESCRIPTOR.fields_by_name[name.removesuffix("[]")]
    if field.has_presence and not message.HasField(field.name):
        return
    value = getattr(message, field.name)
    for item in value if name.endswith("[]") else [value]:
        if rest:
            yield from values(item, rest)
        else:
            yield item


@pytest.mark.parametrize("field", [pytest.param(field, id=field.path) for field in fields()])
def test_field_is_used_by_a_valid_case(field: Any) -> None:
    found = [value for case in cases() if case.is_valid for value in values(case.request, field.path)]
    default = None if field.descriptor.has_presence or field.descriptor.is_repeated else field.descriptor.default_value
    assert any(value != default and (not field.descriptor.is_repeated or len(value)) for value in found)


@pytest.mark.parametrize(
    ("path", "rule"), sorted({(rule.path, rule.rule_id) for rule in rules()} | SIDECAR_RULES_BY_PATH)
)
def test_rule_is_broken_by_a_case(path: str, rule: str) -> None:
    assert [c.name for c in cases() if (path, rule) in {(no_index(f), r) for f, r in c.violations}]


limits = [
    pytest.param(rule, name, limit, id=f"{rule.path}-{name}-{limit}")
    for rule in rules()
    for name, limit in rule.limits.items()
]


@pytest.mark.parametrize(("rule", "name", "limit"), limits)
def test_limit_has_cases_on_both_sides(rule: Rule, name: str, limit: int) -> None:
    def measures(case: Case) -> set[int]:
        found = set()
        for value in values(case.request, rule.path):
            found.add(len(value) if name.endswith(("_len", "_items")) else getattr(value, "seconds", value))
        return found

    inside, outside = STEPS[name]
    assert [c.name for c in cases() if c.is_valid and limit + inside in measures(c)]
    if (rule.path, name) in INEXPRESSIBLE:
        return
    breaking = [c for c in cases() if (rule.path, rule.rule_id) in {(no_index(f), r) for f, r in c.violations}]
    assert [c.name for c in breaking if limit + outside in measures(c)]


def test_no_case_names_a_rule_that_does_not_exist() -> None:
    known = {(rule.path, rule.rule_id) for rule in rules()} | SIDECAR_RULES_BY_PATH
    named = {(no_index(field), rule) for case in cases() for field, rule in case.violations}
    assert named - known == set()


def test_every_audience_is_combined_with_every_message() -> None:
    combined = {(c.request.WhichOneof("audience"), c.request.WhichOneof("message")) for c in cases() if c.is_valid}
    oneofs = PushRequest.DESCRIPTOR.oneofs_by_name
    assert {(a.name, m.name) for a in oneofs["audience"].fields for m in oneofs["message"].fields} <= combined
