"""The benchmark's vendor can be trusted by any Python."""

import os
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from bench.programs import ROOT
from bench.targets import Site, site
from tests.support.certificates import strict_context
from tests.support.toolchains import find_tool, run_tool


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    # Not into the folder of the benchmark's own runs, which may be using it.
    folder = tmp_path_factory.mktemp("upstream")
    run_tool(find_tool("go"), "build", "-o", f"{folder}{os.sep}", "./cmd/upstream", cwd=ROOT / "bench" / "go")
    with site(folder, folder) as started:
        yield started


@pytest.mark.timeout(600)  # the first build fetches modules
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_certificates_pass_the_strict_check(upstream: Site, host: str) -> None:
    address = ("127.0.0.1", urlsplit(upstream.upstream_url).port)
    with (
        socket.create_connection(address, timeout=10) as connection,
        strict_context(upstream.ca_file).wrap_socket(connection, server_hostname=host),
    ):
        pass
