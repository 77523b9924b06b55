"""The certificates that are made here pass the strict check, which is Python's default from 3.13 on.

Those of the benchmark: `bench/test_upstream.py`.
"""

import asyncio
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sidecar.simulator import Simulator
from sidecar.transport.tls import build_tls_context
from tests.support.certificates import Authority, strict_context


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_certificates_of_the_simulator_pass_the_strict_check(host: str) -> None:
    async with Simulator() as vendor:
        connecting = asyncio.open_connection(
            "127.0.0.1", urlsplit(vendor.base_url).port, ssl=strict_context(vendor.ca_file), server_hostname=host
        )
        _, writer = await asyncio.wait_for(connecting, timeout=10)
        writer.close()


def test_certificates_of_the_tests_pass_the_strict_check_on_both_sides(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.server_context()
    server.load_verify_locations(authority.ca_file)
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_X509_STRICT
    caller = authority.leaf("spiffe://example/orders")
    client = strict_context(authority.ca_file)
    client.load_cert_chain(caller.cert_file, caller.key_file)
    handshake(server, client)


def test_vendors_are_checked_as_python_does_by_default() -> None:
    flags = build_tls_context(None).verify_flags
    assert flags == ssl.create_default_context().verify_flags
    # docs/operations.md, "Which certificates are taken".
    is_strict = sys.version_info >= (3, 13)
    assert bool(flags & ssl.VERIFY_X509_STRICT) is is_strict
    assert bool(flags & ssl.VERIFY_X509_PARTIAL_CHAIN) is is_strict


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Make a handshake in memory.

    Raises `ssl.SSLCertVerificationError` when either side refuses the other's certificate.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(5):  # a handshake takes fewer turns
        for side in list(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            sides.remove(side)
    assert sides == []
