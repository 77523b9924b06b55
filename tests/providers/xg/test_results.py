"""One result per code. Which answers have codes is in `test_read.py`."""

import random

import pytest

from pushsidecar.type.v1.target_state_pb2 import TARGET_STATE_ACCEPTED, TARGET_STATE_REFUSED, TARGET_STATE_UNKNOWN
from pushsidecar.xg.v1 import push_service_pb2 as pb
from sidecar.providers.xg.results import add_results

STATES = {0: TARGET_STATE_ACCEPTED, 6: TARGET_STATE_REFUSED, 48: TARGET_STATE_REFUSED}
OTHER_CODES = [1, 7, -1, 10110, 2**31 - 1, -(2**31)]


def response_with(codes: list[int]) -> pb.PushResponse:
    response = pb.PushResponse(push_id="5", result_json="[]")
    add_results(response, codes)
    return response


@pytest.mark.parametrize("count", [*range(140), 255, 256, 999, 1000])
def test_every_target_has_its_place_and_its_state(count: int) -> None:
    rng = random.Random(count)  # noqa: S311  # no secret
    for weights in ([1, 0, 0], [9, 1, 0], [1, 1, 1], [0, 1, 1]):
        pools = rng.choices([[0], [6, 48], OTHER_CODES], weights, k=count)
        codes = [rng.choice(pool) for pool in pools]
        expected = pb.PushResponse(
            push_id="5",
            result_json="[]",
            results=[
                pb.TargetResult(index=index, state=STATES.get(code, TARGET_STATE_UNKNOWN), vendor_code=code)
                for index, code in enumerate(codes)
            ],
        )
        assert response_with(codes).SerializeToString() == expected.SerializeToString()


def test_response_of_one_push_is_not_that_of_another() -> None:
    response_with([6, 6]).results[0].vendor_code = 7
    assert [entry.vendor_code for entry in response_with([0, 0]).results] == [0, 0]
