"""`docs/operations.md` says what is: every metric, every alert, every log line, and the figures that were measured."""

import ast
import re
from collections.abc import Iterator

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.deploy.scenario import ROOT, Observed
from tests.deploy.test_rules import ALERTS

DOCUMENT = (ROOT / "docs" / "operations.md").read_text()
METRIC = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| ((?:`\w+` ?)*) ?\|", re.MULTILINE)
HISTOGRAM_SUFFIX = re.compile(r"_(bucket|count|sum)$")
WATCHED = ("secret", "vendor TLS", "certificate", "target hash key")
LOG_METHODS = {"debug": 0, "info": 0, "warning": 0, "error": 0, "exception": 0, "log": 1}


def section(title: str) -> str:
    """Return the text below a heading, up to the next one of its kind."""
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENT, flags=re.MULTILINE | re.DOTALL)
    assert isinstance(text, str)
    return text


def events() -> Iterator[str]:
    """Give the constant texts that the sources log, and what the log says of itself."""
    for path in sorted((ROOT / "sidecar").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            if not isinstance(owner, ast.Name) or owner.id not in {"_log", "_answered", "_failed"}:
                continue
            if (at := LOG_METHODS.get(node.func.attr)) is not None:
                yield from _texts(node.args[at])
    # What the log says of itself.
    yield from ("lines suppressed", "log lines dropped", "bug in a log line")


def _texts(text: ast.expr) -> Iterator[str]:
    """Give a constant, or what a text about a watched file becomes."""
    if isinstance(text, ast.Constant):
        yield str(text.value)
    else:
        for what in WATCHED:
            yield ast.unparse(text).replace("{self._what}", what).removeprefix("f").strip("'")


def test_every_metric_is_listed_as_it_is_exported(seen: Observed) -> None:
    exported = {}
    for family in text_string_to_metric_families(seen.exposition.decode()):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                name = HISTOGRAM_SUFFIX.sub("", sample.name) if family.type == "histogram" else sample.name
                kind = "gauge" if family.type == "info" else family.type
                exported[name] = (kind, frozenset(sample.labels) - {"le"})
    listed = {name: (kind, frozenset(re.findall(r"\w+", labels))) for name, kind, labels in METRIC.findall(DOCUMENT)}
    assert listed == exported


def test_every_alert_has_its_section_and_no_section_is_of_none() -> None:
    headings = re.findall(r"^### (\w+)$", section("Alerts"), flags=re.MULTILINE)
    assert headings == [alert["alert"] for alert in ALERTS]


def test_every_log_line_is_listed_and_none_else() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", section("Log"), flags=re.MULTILINE)
    listed = [event for row in rows for event in re.findall(r"`([^`]+)`", row)]
    assert sorted(listed) == sorted(set(events()))


def test_capacity_is_what_was_measured() -> None:
    measured = re.findall(
        r"^\| (\d+) \| \(a\) push-sidecar \| ([\d,]+) \| (\d+) ±.*?\| ([\d]+) \| 0 \|$",
        (ROOT / "bench" / "results" / "latest.md").read_text(),
        flags=re.MULTILINE,
    )
    said = re.findall(
        r"^\| (\d+) in flight \| (\d+) us \| \**([\d.]+) cores\** \| ([\d,]+)/s \| (\d+) MiB \|$",
        section("Capacity"),
        flags=re.MULTILINE,
    )
    assert len(measured) == len(said) == 3
    for (in_flight, most, cpu_us, rss), (at, us, cores, at_most, mib) in zip(measured, said, strict=True):
        assert (at, us, mib) == (in_flight, cpu_us, rss)
        assert abs(float(cores) - int(cpu_us) / 1000) < 0.01
        assert abs(int(at_most.replace(",", "")) - int(most.replace(",", ""))) < 20
