"""The run that Prometheus has seen: made once for all tests that look at it."""

from collections.abc import Iterator

import pytest

from tests.deploy.scenario import Observed, observed


@pytest.fixture(scope="package")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    with observed(tmp_path_factory.mktemp("seen")) as run:
        yield run
