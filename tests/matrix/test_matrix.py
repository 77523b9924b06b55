"""The fault matrix: what a push's caller, vendor and trace see, whatever goes wrong; and that the next push works."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.matrix.faults import is_over
from tests.matrix.row import Row
from tests.matrix.stage import Stage, staged
from tests.matrix.verdict import Seen, Verdict
from tests.matrix.ways import CASES, ROWS_OF, WAYS
from tests.support.running import android

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stages(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Stage]]:
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(staged(tmp_path_factory.mktemp(name), way))
            for name, way in WAYS.items()
        }


@pytest.mark.parametrize(("way", "row"), CASES)
async def test_fault(stages: dict[str, Stage], way: str, row: Row) -> None:
    stage = stages[way]
    async with row.fault.strikes(stage) as count:
        told = await stage.push(row.fault.app, row.request, timeout_s=row.timeout_s)
        server_span, spans = await stage.spans_of(told, len(row.expected.spans))
        seen = Seen(
            Verdict(told.code, told.reason, told.sent, server_span), told.attempts, *count(), told.retry_after_s, spans
        )
        assert seen == row.expected
        assert row.results in {None, told.results}
    async with is_over(stage, row.fault.app_after) as count:
        after = await stage.push(row.fault.app_after, android())
        assert (after.code, after.reason, count()[0]) == ("OK", "ACCEPTED", 1)


@pytest.mark.parametrize("way", ["direct", "proxy"])
async def test_table_has_every_event_that_a_vendor_can_cause(way: str) -> None:
    assert {row.verdict.reason for row in ROWS_OF[way]} == {
        "ACCEPTED", "PARTIAL", "VENDOR_REJECTED", "CREDENTIALS_REFUSED", "CERTIFICATE_INVALID", "APP_NOT_REGISTERED",
        "ENDPOINT_REFUSED", "PUSH_TASK_EXPIRED", "TARGET_UNKNOWN", "VENDOR_BUSY", "NOT_SENT", "QUOTA_EXCEEDED",
        "OUTCOME_UNKNOWN", "VENDOR_INTERNAL", "DEADLINE",
    }  # fmt: skip
    names = [row.name for row in ROWS_OF[way]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("way", ["direct", "proxy"])
async def test_table_repeats_only_what_provably_did_nothing(way: str) -> None:
    for row in ROWS_OF[way]:
        is_safe = row.verdict.reason in {"NOT_SENT", "VENDOR_BUSY"} or row.verdict.code == "OK"
        assert row.attempts == 1 or is_safe, row.name
        assert row.calls <= 1 or row.spans or row.verdict.reason == "VENDOR_BUSY", row.name
        assert (row.retry_after_s is not None) is (row.verdict.reason == "QUOTA_EXCEEDED"), row.name
