"""Whatever a vendor answers: one verdict, by the precedence of the design, and nothing of the push in an error."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pushsidecar.xg.v1 import (
    OUTCOME_ACCEPTED,
    OUTCOME_PARTIAL,
    AndroidNotification,
    PushRequest,
    PushResponse,
    TokenList,
)
from sidecar.errors import PushError, Sent
from sidecar.providers.xg.read import Question, read
from sidecar.simulator import Fault, Kind
from sidecar.transport.reply import Reply
from tests.soak.scale import examples
from tests.support.failures import Failure

from .conftest import Stage

settings.load_profile("fuzz")

PLANTED = "zqplanted"
SINGLE = PushRequest(token=PLANTED, android_notification=AndroidNotification(title=PLANTED, content=PLANTED))
LIST = PushRequest(token_list=TokenList(tokens=[PLANTED, "b"]), android_notification=SINGLE.android_notification)

# design, section 4: of a status without a usable code, those that prove that nothing was pushed.
NOT_SENT_STATUSES = {400, 401, 403, 404, 405, 407, 413, 414, 415, 429, 431} | (set(range(300, 400)) - {303})

VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=10),
        st.sampled_from([PLANTED, "[0]", "[0,6]", 0, 6, 48, 10201, 10302, 10110]),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
CODES = st.one_of(st.sampled_from([0, 10100, 10104, 10110, 10201, 10204, 10302, 10304, 10305, 10701]), VALUES)
DOCUMENTED = st.fixed_dictionaries(
    {}, optional={"ret_code": CODES, "push_id": VALUES, "seq": VALUES, "err_msg": VALUES, "result": VALUES,
                  "environment": VALUES},
)  # fmt: skip
STATUSES = st.one_of(st.sampled_from([200, 400, 404, 429, 500, 503]), st.integers(100, 599))


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Random bytes, any JSON, an answer with odd members, or one of those spoilt."""
    kind = draw(st.sampled_from(["bytes", "json", "answer", "spoilt"]))
    if kind == "bytes":
        return draw(st.binary(max_size=200))
    value: Any = draw(VALUES if kind == "json" else DOCUMENTED)
    body = bytearray(json.dumps(value).encode())
    if kind == "spoilt" and body:
        at = draw(st.integers(0, len(body) - 1))
        body[at : at + draw(st.integers(0, 5))] = draw(st.binary(max_size=5))
    return bytes(body)


@settings(max_examples=examples(10_000))
@given(st.sampled_from([SINGLE, LIST]), STATUSES, bodies(), st.text(max_size=20))
def test_any_answer_has_one_verdict(request_message: PushRequest, status: int, body: bytes, header: str) -> None:
    question = Question(request_message, "shop", {}, 60.0)
    reply = Reply(status, [(b"retry-after", header.encode("utf-8", "surrogatepass"))], body, 0.1)
    code = code_of(body)
    outcome = read_or_error(reply, question)
    if not isinstance(outcome, PushError):
        assert outcome.outcome in {OUTCOME_ACCEPTED, OUTCOME_PARTIAL}
        assert 200 <= status < 300 or code in {10302, 10304}
        assert code in {0, 10302, 10304}
        assert PLANTED not in outcome.vendor_message
        return
    assert PLANTED not in outcome.description
    assert outcome.vendor is None or PLANTED not in outcome.vendor.message
    if outcome.sent is Sent.NO:
        is_by_code = code not in {None, 0} and 200 <= status < 500 and not 300 <= status < 400
        is_target = code == 0 and 200 <= status < 300 and request_message is SINGLE
        assert is_by_code or is_target or status in NOT_SENT_STATUSES, "nothing proves that it was not sent"


def read_or_error(reply: Reply, question: Question) -> PushResponse | PushError:
    """Read it; nothing but an error of the tree may be raised."""
    try:
        return read(reply, question)
    except PushError as error:
        return error


def code_of(body: bytes) -> int | None:
    """Read `ret_code` as the design says: one integer member of a JSON object in UTF-8. Shares nothing with `read`."""
    found: list[Any] = []

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        found.append(members)
        return dict(members)

    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    codes = [item for name, item in found[-1] if name == "ret_code"]
    return codes[0] if len(codes) == 1 and type(codes[0]) is int else None


@settings(max_examples=examples(1500))
@given(
    st.integers(200, 599),
    bodies(),
    st.dictionaries(st.sampled_from(["Retry-After", "X-A"]), st.text("abc1", max_size=5)),
)
def test_any_answer_over_the_wire(stage: Stage, status: int, body: bytes, headers: dict[str, str]) -> None:
    if status == 429:
        status = 428  # it pauses the app: its own tests
    stage.vendor.clear_faults()
    stage.vendor.script(Fault(kind=Kind.HTTP, status=status, body=body, headers=headers, times=None))
    said = stage.push_bytes(
        PushRequest(token="sim-1", android_notification=SINGLE.android_notification).SerializeToString()
    )
    stage.vendor.clear_faults()
    if isinstance(said, Failure):
        assert said.status is not None
        assert said.reason != "SIDECAR_BUG"
        assert PLANTED not in said.message
        assert PLANTED not in str(said.metadata)


def test_next_push_works(stage: Stage) -> None:
    """After all of the above, in this process."""
    request = PushRequest(token="sim-1", android_notification=SINGLE.android_notification)
    assert isinstance(stage.push_bytes(request.SerializeToString()), bytes)
