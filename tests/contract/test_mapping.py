"""docs/xg-mapping.md, the proto and the renderer agree: on the fields, their rules, and their places in the body."""

import json
from collections import Counter
from typing import Any

import pytest

from pushsidecar.xg.v1 import PushRequest, PushResponse, TargetResult
from sidecar.providers.xg.render import render
from sidecar.providers.xg.rules import violations

from .mapping_table import ANSWER_HEADER, DECISION_HEADER, REQUEST_HEADER, Row, rows
from .probes import CHOICES, base, probe
from .proto_rules import SIDECAR_RULES, fields, rules

# The parameters and keys of S1's tables and samples, by its headings.
DOCUMENTED: dict[str, str] = {
    "Push API 必要参数": "audience_type platform message message_type",
    "audience_type：推送目标": "all tag token token_list account account_list tag_list tags op push_id",  # noqa: RUF001
    "message_type：消息体类型": "notify message",  # noqa: RUF001  # the document's own colon
    "Android普通消息": (
        "title content accept_time start end hour min xg_media_resources n_id builder_id ring ring_raw vibrate lights "
        "clearable icon_type icon_res style_id small_icon action action_type activity aty_attr if pf browser url "
        "confirm intent custom_content"
    ),
    "iOS普通消息": "title content aps alert subtitle badge_type sound category custom custom1 custom2 xg",
    "Android透传消息": "title content custom_content accept_time start end hour min",
    "iOS静默消息": "aps content-available custom xg",
    "Push API 可选参数": (
        "expire_time send_time multi_pkg loop_times loop_interval environment badge_type stat_tag seq tag_list "
        "account_list account_push_type account_type token_list push_id"
    ),
    "Push API应答参数": "seq push_id ret_code environment err_msg result",
}

# A rule of the server's own that no field of the proto carries.
SIZE_RULE = ("message", "message.max_size")

# Fields that decide about the call and have no place in the body.
NOT_SENT = {"app", "validate_only", "request_id"}

MISSING = object()

request_rows = rows(REQUEST_HEADER)
answer_rows = rows(ANSWER_HEADER)
all_fields = {field.path: field for field in fields()}
all_rules = list(rules())
# Names of a required oneof stand where a field's could.
oneofs = {rule.path for rule in all_rules if not rule.path.endswith("[]")} - set(all_fields)
row_of = {path: row for row in request_rows for path in row.code("proto field") if path in all_fields or path in oneofs}
leaves = sorted(path for path, field in all_fields.items() if not field.is_container)
containers = sorted(path for path, field in all_fields.items() if field.is_container)


def lookup(body: Any, place: str) -> Any:
    """Return what stands at a place of the body, or MISSING."""
    value = body
    for step in place.replace("[", ".[").split("."):
        key = {"[]": 0, "[0]": 0, "<key>": "probe"}.get(step, step)
        try:
            value = value[key]
        except (KeyError, IndexError):
            return MISSING
    return value


def body_of(request: PushRequest) -> Any:
    assert violations(request) == []
    return json.loads(render(request, default_environment="product").body)


@pytest.mark.parametrize(("section", "name"), [(s, name) for s, names in DOCUMENTED.items() for name in names.split()])
def test_documented_name_is_in_the_table_of_its_section(section: str, name: str) -> None:
    table = [row for row in [*request_rows, *answer_rows] if row.section == section]
    assert name in {code for row in table for code in row.code("documented")}


def test_the_stated_exceptions_are_the_only_ones() -> None:
    assert {row.code("documented")[0] for row in request_rows if row.cells["proto field"] == "not offered"} == {"xg"}


def test_every_field_of_the_request_has_exactly_one_row() -> None:
    named = Counter(path for row in request_rows for path in row.code("proto field") if path in all_fields)
    assert dict(named) == dict.fromkeys(all_fields, 1)


def test_no_row_names_a_field_that_does_not_exist() -> None:
    unknown = [
        (path, row.section)
        for row in request_rows
        for path in row.code("proto field")
        if path not in all_fields and path not in oneofs
    ]
    assert unknown == []


@pytest.mark.parametrize("row", [pytest.param(row, id="-".join(row.cells.values())[:60]) for row in request_rows])
def test_rules_of_a_row_are_those_of_its_fields(row: Row) -> None:
    paths = {path for path in row.code("proto field") if row_of.get(path) is row}
    known = {(rule.path.removesuffix("[]"), rule.rule_id) for rule in all_rules} | SIDECAR_RULES | {SIZE_RULE}
    assert set(row.code("rule")) == {rule_id for path, rule_id in known if path in paths}


@pytest.mark.parametrize("path", leaves)
def test_field_is_written_to_its_place(path: str) -> None:
    request, expected = probe(path)
    place = row_of[path].place
    if path in NOT_SENT:
        assert place == ""
        assert body_of(request) == body_of(base(path))
        return
    found = lookup(body_of(request), place)
    assert (found, type(found)) == (expected, type(expected))
    assert lookup(body_of(base(path)), place) != expected


@pytest.mark.parametrize("path", containers)
def test_place_of_a_container_is_above_what_it_holds_or_its_choice(path: str) -> None:
    place = row_of[path].place
    held = {row_of[leaf].place for leaf in leaves if leaf.startswith((f"{path}.", f"{path}[]."))}
    above = any(inner == place or inner.startswith((f"{place}.", f"{place}[]")) for inner in held)
    assert above or place == CHOICES[path][0]


@pytest.mark.parametrize("path", sorted(CHOICES))
def test_choice_decides_this_value(path: str) -> None:
    place, expected = CHOICES[path]
    request, _ = probe(path)
    assert lookup(body_of(request), place) == expected
    said = row_of[path].cells["body"]
    assert "=" not in said or f"`{place}` = `{expected}`" in said


def test_aps_of_a_silent_push_is_this_and_nothing_else() -> None:
    row = next(row for row in request_rows if row.section == "iOS静默消息" and row.code("documented")[0] == "aps")
    place, expected = row.code("body")
    assert lookup(body_of(base("ios_silent")), place) == json.loads(expected)


@pytest.mark.parametrize("message", ["android_notification", "android_message", "ios_notification", "ios_silent"])
def test_message_decides_the_platform(message: str) -> None:
    platform = lookup(body_of(base(message)), "platform")
    assert platform == message.partition("_")[0]
    assert f"`platform` = `{platform}`" in row_of[message].cells["body"]


def test_every_field_of_the_answer_has_exactly_one_row() -> None:
    named = Counter(path for row in answer_rows for path in row.code("answer field"))
    held = {f"results[].{field.name}" for field in TargetResult.DESCRIPTOR.fields}
    assert dict(named) == dict.fromkeys({field.name for field in PushResponse.DESCRIPTOR.fields} | held, 1)


def test_every_decision_that_a_row_names_is_explained() -> None:
    explained = [row.cells[""] for row in rows(DECISION_HEADER)]
    named = {name.strip() for row in [*request_rows, *answer_rows] for name in row.cells["ours"].split(",")} - {""}
    assert len(explained) == len(set(explained))
    # The first two hold for every row.
    assert named | {"D1", "D2"} == set(explained)
