"""A record says that a credential came, and never what it was."""

import json

import aiohttp
import pytest
from aiohttp.test_utils import RawTestServer

from sidecar.simulator import record
from sidecar.simulator.endpoint import Endpoint
from sidecar.simulator.faults import FaultScript
from sidecar.simulator.redact import redact_headers
from sidecar.simulator.xg.vendor import XgVendor

SECRETS = [
    *("Authorization", "authorization", "AUTHORIZATION", "Proxy-Authorization", "X-Amz-Security-Token"),
    *("Cookie", "cookie2", "X-Auth-Key", "X-Api-Key", "apikey", "API_KEY", "x-access-key", "X-Private-Key"),
    *("token", "Access-Token", "X-CSRF-Token", "client-secret", "X-Password", "X-Signature", "X-Session-Id"),
    *("X-Credential", "X-JWT-Assertion"),
]
PLAIN = ["Content-Type", "Host", "User-Agent", "traceparent", "X-Request-Id", "Idempotency-Key", "Accept", "Sign-Up"]


@pytest.mark.parametrize("name", SECRETS)
def test_header_that_may_hold_a_secret_is_redacted(name):
    assert redact_headers({name: "s3cr3t"}, ()) == {name: "[redacted]"}


@pytest.mark.parametrize("name", PLAIN)
def test_other_header_is_kept(name):
    assert redact_headers({name: "value"}, ()) == {name: "value"}


def test_vendor_adds_names_of_its_own_in_any_case():
    headers = {"sign": "s3cr3t", "ACCESSID": "s3cr3t", "timestamp": "1"}
    redacted = {"sign": "[redacted]", "ACCESSID": "[redacted]", "timestamp": "1"}
    assert redact_headers(headers, ["Sign", "AccessId"]) == redacted


class SigningVendor(XgVendor):
    """A vendor that is signed to by a header of its own."""

    secret_headers = frozenset({"Sign"})


async def test_record_leaves_out_the_usual_secrets_and_the_vendors(body):
    journal = record.Journal()
    endpoint = Endpoint(SigningVendor(lambda: 0.0), journal, FaultScript(), lambda: 0.0, body_timeout_s=5.0)

    async def serve(http):
        return await endpoint.serve(http, 1)

    async with RawTestServer(serve) as server, aiohttp.ClientSession() as client:
        headers = {"SIGN": "s3cr3t-1", "cookie": "a=s3cr3t-2", "X-Api-Key": "s3cr3t-3", "X-Trace": "kept"}
        async with client.post(server.make_url("/v3/push/app"), json=body(), headers=headers):
            pass
    (kept,) = journal.requests.items()
    shown = json.dumps(kept.to_json()) + repr(kept)
    assert "s3cr3t" not in shown
    assert [kept.headers[name] for name in ("sign", "cookie", "x-api-key")] == ["[redacted]"] * 3
    assert kept.headers["x-trace"] == "kept"
