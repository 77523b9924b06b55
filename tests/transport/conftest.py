"""The transport is tested on both event loops: uvloop serves, and asyncio's own differs in what it sees of a close."""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from tests.support.certificates import Authority
from tests.support.raw_server import turns


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


@pytest.fixture(autouse=True)
async def no_failure_goes_unnoticed() -> AsyncIterator[None]:
    unnoticed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unnoticed.append(context))
    yield
    await turns()
    gc.collect(1)  # what the test made is young; a whole collection takes longer than the test
    await turns(1)
    assert unnoticed == []
