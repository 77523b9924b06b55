"""The names of attributes are OpenTelemetry's own, where it has one."""

import pytest
from opentelemetry.semconv._incubating.attributes import rpc_attributes, url_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes

from sidecar.telemetry import names

# Written by hand where the installed package is older than the names: it has 1.44.
SEMANTIC_CONVENTIONS = {
    "RPC_SYSTEM_NAME": rpc_attributes.RPC_SYSTEM_NAME,
    "RPC_METHOD": rpc_attributes.RPC_METHOD,
    "RPC_STATUS_CODE": "rpc.status_code",
    "ERROR_TYPE": error_attributes.ERROR_TYPE,
    "HTTP_REQUEST_METHOD": http_attributes.HTTP_REQUEST_METHOD,
    "HTTP_REQUEST_RESEND_COUNT": http_attributes.HTTP_REQUEST_RESEND_COUNT,
    "HTTP_RESPONSE_STATUS_CODE": http_attributes.HTTP_RESPONSE_STATUS_CODE,
    "SERVER_ADDRESS": server_attributes.SERVER_ADDRESS,
    "SERVER_PORT": server_attributes.SERVER_PORT,
    "URL_FULL": url_attributes.URL_FULL,
    "URL_TEMPLATE": url_attributes.URL_TEMPLATE,
    "SCHEMA_URL": "https://opentelemetry.io/schemas/1.45.0",
}
OURS = {name: value for name, value in vars(names).items() if name.isupper() and name not in SEMANTIC_CONVENTIONS}


@pytest.mark.parametrize("name", [name for name in SEMANTIC_CONVENTIONS if hasattr(names, name)])
def test_name_is_that_of_the_semantic_conventions(name: str) -> None:
    assert getattr(names, name) == SEMANTIC_CONVENTIONS[name]


def test_every_other_attribute_has_our_own_prefix() -> None:
    attributes = {name: value for name, value in OURS.items() if not name.startswith(("SPAN_", "EVENT_"))}
    assert attributes
    for name, value in attributes.items():
        assert value == f"push_sidecar.{name.lower()}"
