"""Every case of `cases/` against the checks and the renderer. What the cases must cover is in test_completeness.py."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import protovalidate
import pytest
from google.protobuf.message import Message

from sidecar.errors import MessageTooLarge
from sidecar.providers.xg.render import render
from sidecar.providers.xg.rules import violations

from .case_table import FOLDER, Case, cases
from .proto_rules import SIDECAR_RULES

SIDECAR_RULE_IDS = {rule_id for _, rule_id in SIDECAR_RULES}

MAX_MESSAGE_BYTES = 4096
# Of the broken items of a list, as of the violations of an answer (README.md).
MAX_TOLD = 20

# Headings of the two documents that a source may name.
HEADINGS = {
    "S0": {"API限制", "Push API必要参数"},
    "S1": {
        "Push API 必要参数",
        "audience_type：推送目标",  # noqa: RUF001  # the document's own colon
        "platform：推送平台",  # noqa: RUF001
        "message_type：消息体类型",  # noqa: RUF001
        "message：消息体",  # noqa: RUF001
        "Android普通消息",
        "iOS普通消息",
        "Android透传消息",
        "iOS静默消息",
        "Push API 可选参数",
        "Android标签推送请求消息",
        "iOS单设备推送请求消息",
        "账号类型",
        "错误码",
    },
}

valid = [pytest.param(case, id=case.name) for case in cases() if case.is_valid]
invalid = [pytest.param(case, id=case.name) for case in cases() if "violations" in case.expect]
too_large = [pytest.param(case, id=case.name) for case in cases() if "too_large" in case.expect]


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
    found = Counter((v.field, v.rule) for v in violations(case.request))
    expected = Counter(case.violations)
    assert found <= expected
    assert found.total() >= min(expected.total(), MAX_TOLD)


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
    by_proto = [pair for pair in case.violations if pair[1] not in SIDECAR_RULE_IDS]
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
