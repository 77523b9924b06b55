"""`deploy/grafana`: the dashboard can be provisioned, and each of its queries finds what a sidecar exports."""

import itertools
import json
import re
from typing import Any

import pytest
import yaml

from tests.deploy import promql
from tests.deploy.exported import series_of
from tests.deploy.scenario import ROOT, Observed
from tests.deploy.test_rules import check_names, labels_after

FOLDER = ROOT / "deploy" / "grafana"
DASHBOARD = json.loads((FOLDER / "dashboards" / "push-sidecar.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [
    pytest.param(target, id=f"{panel['title']}-{target['refId']}") for panel in PANELS for target in panel["targets"]
]
QUERIES = [
    *(target.values[0]["expr"] for target in TARGETS),
    *(annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]),
]
LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")
# What Grafana puts in: everything, and a time of several scrapes.
FILLED_IN = {"$job": ".*", "$instance": ".*", "$app": ".*", "$__rate_interval": "1m"}
# Marks of a start, which show on a change alone.
MAY_BE_EMPTY = re.compile(r"changes\(")


def filled_in(expression: str) -> str:
    for name, value in FILLED_IN.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


@pytest.mark.parametrize("target", TARGETS)
def test_query_names_only_what_is_exported(target: dict[str, Any], seen: Observed) -> None:
    exported = series_of(seen.exposition)
    check_names(target["expr"], exported)
    assert set(LEGEND.findall(target["legendFormat"])) <= labels_after(target["expr"], exported)


@pytest.mark.parametrize("expression", QUERIES)
def test_query_finds_something(expression: str, seen: Observed) -> None:
    found = seen.server.query(filled_in(expression))
    assert found or MAY_BE_EMPTY.search(expression)


def test_every_family_is_on_the_dashboard(seen: Observed) -> None:
    shown = {metric for query in QUERIES for metric in promql.read(query).metrics}
    shown |= {re.sub(r"_(bucket|count|sum)$", "", metric) for metric in shown}
    exported = {name for name in series_of(seen.exposition) if not name.endswith("_created")}
    exported = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported}
    assert exported - shown == {"up", "process_virtual_memory_bytes"}


def test_every_query_is_for_the_variables_that_are_chosen() -> None:
    for query in QUERIES:
        first, *_ = query.partition(" / ")
        assert 'job=~"$job"' in first, query


def test_variables_are_read_from_what_is_exported(seen: Observed) -> None:
    exported = series_of(seen.exposition)
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "job", "instance", "app"}
    for name in ("job", "instance", "app"):
        query = variables[name]["query"]["query"]
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        assert found, query
        check_names(found[1], exported)
        assert found[2] == name
        assert name in labels_after(found[1], exported)


def test_panels_have_what_a_reader_needs() -> None:
    assert [panel["title"] for panel in PANELS if not panel["description"]] == []
    assert [panel["title"] for panel in PANELS if not panel["fieldConfig"]["defaults"]["unit"]] == []
    titles = [panel["title"] for panel in PANELS]
    assert len(set(titles)) == len(titles)
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
    with_exemplars = {panel["title"] for panel in PANELS if any(target["exemplar"] for target in panel["targets"])}
    assert with_exemplars == {"Pushes that failed", "RPC duration", "Vendor call duration"}


def test_panels_lie_side_by_side() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_below, (one, other)


def test_provisioning_leads_exemplars_to_traces() -> None:
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/push-sidecar.yaml").read_text())["providers"]
    assert provider["type"] == "file"
    sources = yaml.safe_load((FOLDER / "provisioning/datasources/push-sidecar.yaml").read_text())["datasources"]
    by_type = {source["type"]: source for source in sources}
    (destination,) = by_type["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert destination == {"name": "trace_id", "datasourceUid": by_type["jaeger"]["uid"]}
    assert DASHBOARD["uid"] == "push-sidecar"
    assert "__inputs" not in DASHBOARD  # which a provisioned dashboard cannot ask for
