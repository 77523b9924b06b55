"""The transport is tested on both event loops: uvloop serves, and asyncio's own differs in what it sees of a close."""

import asyncio
import ssl
from collections.abc import Callable, Mapping

import pytest
import uvloop

from tests.support.certificates import Authority


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def tls(authority: Authority) -> ssl.SSLContext:
    """Return the TLS context of a server that is all right."""
    return authority.server_context()
