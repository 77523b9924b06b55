"""Reads the answer's `result` as one code per target, and writes the response's `results` of them. Pure."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated

import msgspec

from pushsidecar.type.v1 import target_state_pb2 as states
from pushsidecar.xg.v1 import push_service_pb2 as pb
from sidecar.providers.xg.codes import REFUSED_TARGET_CODES, TARGET_ACCEPTED
from sidecar.providers.xg.lists import LISTS

_decode_text = msgspec.json.Decoder(str).decode
_decode_codes = msgspec.json.Decoder(
    list[Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]],
).decode

# Accepted targets as a response has them, in bytes, and where each one's end. Repeated fields are merged by appending,
# and to merge a thousand takes 2 % of the time that it takes to make them.
_ACCEPTED = [
    pb.PushResponse(results=[pb.TargetResult(index=index, state=states.TARGET_STATE_ACCEPTED)]).SerializeToString()
    for index in range(max(rules.max_items or 0 for rules in LISTS.values()))
]
_ALL_ACCEPTED = b"".join(_ACCEPTED)
_ENDS = [0, *accumulate(map(len, _ACCEPTED))]
del _ACCEPTED


def target_codes(result: bytes, target_count: int) -> Sequence[int]:
    """Read one code per target; empty unless it is an array of integers as long as the list, or the text of one."""
    if target_count == 0:
        return ()
    try:
        codes = _decode_codes(_decode_text(result) if result.startswith(b'"') else result)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return ()
    return codes if len(codes) == target_count else ()


def add_results(response: pb.PushResponse, codes: Sequence[int]) -> None:
    """Add one result per code, from index 0 on."""
    response.MergeFromString(_ALL_ACCEPTED[: _ENDS[len(codes)]])
    if codes.count(TARGET_ACCEPTED) == len(codes):
        return
    results = response.results
    for index, code in enumerate(codes):
        if code != TARGET_ACCEPTED:
            result = results[index]
            result.state = _state(code)
            result.vendor_code = code


def _state(code: int) -> states.TargetState:
    return states.TARGET_STATE_REFUSED if code in REFUSED_TARGET_CODES else states.TARGET_STATE_UNKNOWN
