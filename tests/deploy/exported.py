"""What a sidecar exports, from a scrape: the series by name, with their labels, as Prometheus keeps them."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from sidecar.errors import Reason

# What Prometheus adds to each series, and to each target.
TARGET_LABELS = frozenset({"job", "instance"})
OF_PROMETHEUS = {"up": TARGET_LABELS}

# Values that a label can have, where rules and dashboards compare with them.
VALUES: dict[str, frozenset[str]] = {
    "reason": frozenset({"OK", *(reason.value for reason in Reason)}),
    "sent": frozenset({"yes", "no", "maybe", "replayed"}),
    "result": frozenset({"new", "replayed", "waited", "reused", "lost", "full", "store_failed", "unprotected"}),
    "rpc_status_code": frozenset({"OK"}),
    "job": frozenset({"(.*/)?push-sidecar"}),
}


def series_of(exposition: bytes) -> dict[str, frozenset[str]]:
    """Return the labels of each series by its name, `job` and `instance` included."""
    found: dict[str, frozenset[str]] = dict(OF_PROMETHEUS)
    for family in text_string_to_metric_families(exposition.decode()):
        for sample in family.samples:
            found[sample.name] = frozenset(sample.labels) | TARGET_LABELS
    return found
