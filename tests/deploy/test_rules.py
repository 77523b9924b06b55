"""The rules of `deploy/prometheus`: right by promtool, true to what the program exports, and each explained."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import promql
from tests.deploy.exported import VALUES, series_of
from tests.deploy.scenario import FAILED_TRACE_ID, ROOT, RULES, TRACE_ID, Observed
from tests.support.toolchains import find_tool, run_tool

UNIT_TESTS = Path(__file__).parent / "alerts_test.yaml"
RUNBOOK = "https://github.com/push-sidecar/push-sidecar/blob/main/docs/operations.md#"
LABEL_IN_TEXT = re.compile(r"\$labels\.(\w+)")


def rules() -> list[dict[str, Any]]:
    return [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDED = {rule["record"]: rule for rule in rules() if "record" in rule}


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def labels_after(expression: str, exported: dict[str, frozenset[str]]) -> frozenset[str]:
    """Return the labels that a result may have: of the groupings, if there are any, else of the metrics."""
    named = promql.read(expression)
    if named.grouping:
        return named.grouping
    labels = [
        labels_after(RECORDED[metric]["expr"], exported) if metric in RECORDED else exported[metric]
        for metric in named.metrics
    ]
    return frozenset.union(*labels)


def check_names(expression: str, exported: dict[str, frozenset[str]]) -> None:
    """Fail where an expression names a metric, a label or a value that is not there."""
    named = promql.read(expression)
    known = {**exported, **{name: labels_after(rule["expr"], exported) for name, rule in RECORDED.items()}}
    assert named.metrics
    assert named.metrics <= known.keys()
    of_all = frozenset.union(*(known[metric] for metric in named.metrics))
    assert named.grouping <= of_all
    for metric, label, value in named.matchers:
        assert label in known[metric], f"{metric} has no label {label}"
        if "$" not in value:
            assert set(value.split("|")) <= VALUES[label], f"{label} is never {value}"


def test_promtool_finds_nothing_wrong() -> None:
    promtool = find_tool("promtool")
    run_tool(promtool, "check", "config", "deploy/prometheus/prometheus.yaml", cwd=ROOT)
    run_tool(promtool, "check", "rules", *map(str, RULES), cwd=ROOT)


def test_each_alert_fires_when_it_should_and_says_what_it_should() -> None:
    run_tool(find_tool("promtool"), "test", "rules", str(UNIT_TESTS), cwd=UNIT_TESTS.parent)


def test_each_alert_is_seen_to_fire_and_not_to_fire() -> None:
    fires, rests = set(), set()
    for test in yaml.safe_load(UNIT_TESTS.read_text())["tests"]:
        for case in test["alert_rule_test"]:
            (fires if case["exp_alerts"] else rests).add(case["alertname"])
    names = {alert["alert"] for alert in ALERTS}
    assert fires == rests == names


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_alert_says_what_it_is_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    annotations = alert["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert all(annotations.values())
    assert annotations["runbook_url"] == f"{RUNBOOK}{alert['alert'].lower()}"
    assert alert["alert"].lower() in anchors(ROOT / "docs" / "operations.md")


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule.get("alert") or rule.get("record")))
def test_rule_names_only_what_is_exported(rule: dict[str, Any], seen: Observed) -> None:
    exported = series_of(seen.exposition)
    check_names(rule["expr"], exported)
    used = set(LABEL_IN_TEXT.findall(rule.get("annotations", {}).get("description", "")))
    assert used <= labels_after(rule["expr"], exported)


@pytest.mark.parametrize(
    "expression",
    [
        "push_sidecar_unheard_of",
        'push_sidecar_pushes_total{token="x"}',
        'push_sidecar_pushes_total{reason="UNHEARD_OF"}',
        "sum by (token) (push_sidecar_pushes_total)",
        "app:push_sidecar_unheard_of:rate5m",
    ],
)
def test_what_is_not_exported_is_found(expression: str, seen: Observed) -> None:
    with pytest.raises(AssertionError):
        check_names(expression, series_of(seen.exposition))


def test_prometheus_evaluates_every_rule(seen: Observed) -> None:
    evaluated = [rule for group in seen.server.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in evaluated} == {*RECORDED, *(alert["alert"] for alert in ALERTS)}
    assert {rule["name"]: rule["lastError"] for rule in evaluated if rule.get("lastError")} == {}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_rule_has_values(name: str, seen: Observed) -> None:
    assert seen.server.query(name)


@pytest.mark.parametrize(
    ("series", "trace_id"),
    [
        ("rpc_server_call_duration_seconds_bucket", TRACE_ID),
        ("http_client_request_duration_seconds_bucket", TRACE_ID),
        ('push_sidecar_pushes_total{reason="OK"}', TRACE_ID),
        ('push_sidecar_pushes_total{reason="NOT_SENT"}', FAILED_TRACE_ID),
    ],
)
def test_exemplars_lead_to_traces(series: str, trace_id: str, seen: Observed) -> None:
    at = seen.server.at
    assert at is not None
    found = seen.server.get("query_exemplars", query=series, start=f"{at - 300:.3f}", end=f"{at:.3f}")
    labels = [exemplar["labels"] for result in found for exemplar in result["exemplars"]]
    assert {"trace_id": trace_id} in labels
    assert {name for each in labels for name in each} == {"trace_id"}


def test_unit_tests_notice_a_rule_that_is_spoilt(tmp_path: Path) -> None:
    """The alerts on rare events hang on this: `increase` alone misses the first."""
    recording, alerts = (file.read_text() for file in RULES)
    spoilt = recording.replace(
        "(push_sidecar_pushes_total unless last_over_time(push_sidecar_pushes_total[1h] offset 10m))\n            or ",
        "",
    )
    assert spoilt != recording
    (tmp_path / "recording.yaml").write_text(spoilt)
    (tmp_path / "alerts.yaml").write_text(alerts)
    unit_tests = UNIT_TESTS.read_text().replace("../../deploy/prometheus/", "")
    (tmp_path / "test.yaml").write_text(unit_tests)
    result = subprocess.run(
        [find_tool("promtool"), "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "PushSidecarBug" in result.stdout + result.stderr
