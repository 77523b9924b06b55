"""Whatever bytes a caller sends: an answer or an error of ours, nothing refused reaches the vendor, nothing breaks."""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from pushsidecar.xg.v1 import AndroidNotification, CustomContent, PushRequest, PushResponse, StringMap, TokenList
from tests.soak.resources import MIB, rss_bytes
from tests.soak.scale import examples, scaled
from tests.support.failures import Failure

from .conftest import Stage

settings.load_profile("fuzz")

# Codes of the vendor by which it says that what the sidecar sent makes no sense: then a rule or the rendering is wrong.
NONSENSE = {"10102", "10103", "10106", "10107", "10115", "10117", "10202"}
RSS_BYTES = 100 * MIB

VALID = [
    PushRequest(token="sim-1", android_notification=AndroidNotification(title="t", content="c")),
    PushRequest(
        token_list=TokenList(tokens=[f"sim-{number}" for number in range(50)]),
        android_notification=AndroidNotification(
            title="t", content="c", custom_content=CustomContent(fields=StringMap(entries={"k": "v"}))
        ),
        seq=7, stat_tag="x", request_id="",
    ),
    PushRequest(all={}, android_notification=AndroidNotification(title="t", content="c"), multi_pkg=True),
]  # fmt: skip


def check(stage: Stage, request: bytes) -> None:
    received = stage.received
    said = stage.push_bytes(request)
    if isinstance(said, Failure):
        assert said.status is not None, f"an error that is not ours: {said.code} {said.message}"
        assert said.reason != "SIDECAR_BUG"
        assert said.sent in {"no", "maybe"}
        assert said.metadata.get("vendor_code") not in NONSENSE, f"{said.metadata} of {request!r}"
        if "attempts" not in said.metadata:
            assert stage.received == received, "a request that was refused here has reached the vendor"
    else:
        response = PushResponse.FromString(said)
        assert response.outcome != 0
        if not response.rendered_request:
            assert stage.received > received


@settings(max_examples=examples(3000))
@given(st.binary(max_size=300))
def test_random_bytes(stage: Stage, request_bytes: bytes) -> None:
    check(stage, request_bytes)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Take a valid request, and flip, cut out, put in or double bytes of it."""
    data = bytearray(draw(st.sampled_from(VALID)).SerializeToString())
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "double", "varint", "nest"]))
        if kind == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 10))]
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=10))
        elif kind == "double":
            data += data[at:]
        elif kind == "varint":
            data[at:at] = b"\xff" * draw(st.integers(1, 12))
        else:
            data = bytearray(b"\x7a" * draw(st.integers(1, 200))) + data
    return bytes(data)


@settings(max_examples=examples(10_000))
@given(mutated())
def test_mutated_requests(stage: Stage, request_bytes: bytes) -> None:
    check(stage, request_bytes)


TEXTS = st.one_of(
    st.sampled_from(["", "sim-1", "{}", '{"a": 1}', "0", "7", "https://x", "\x00", "\u202e", "\U0001f600" * 5]),
    st.text(max_size=20),
)
NUMBERS = st.one_of(st.sampled_from([0, 1, -1, 59, 60, 2**31 - 1, -(2**31)]), st.integers(-(2**31), 2**31 - 1))


@st.composite
def messages(draw: st.DrawFn, kind: type[Message], depth: int = 0) -> Any:
    """Build any message of a type, by its descriptor: some of its fields, some of its choices."""
    built = kind()
    chosen = {oneof.name: draw(st.sampled_from(list(oneof.fields))).name for oneof in kind.DESCRIPTOR.oneofs}
    for field in kind.DESCRIPTOR.fields:
        in_oneof = field.containing_oneof is not None and len(field.containing_oneof.fields) > 1
        if in_oneof and chosen[field.containing_oneof.name] != field.name:
            continue
        if not in_oneof and depth < 3 and not draw(st.booleans()):
            continue
        _set(draw, built, field, depth)
    return built


def _set(draw: st.DrawFn, built: Message, field: FieldDescriptor, depth: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(built, field.name).update(draw(st.dictionaries(TEXTS, TEXTS, max_size=3)))
    elif field.message_type is not None:
        if depth > 4:
            return
        child = draw(messages(GetMessageClass(field.message_type), depth + 1))
        if field.is_repeated:
            getattr(built, field.name).append(child)
        else:
            getattr(built, field.name).CopyFrom(child)
    elif field.is_repeated:
        getattr(built, field.name).extend(draw(st.lists(_value(field), min_size=1, max_size=3)))
    else:
        setattr(built, field.name, draw(_value(field)))


def _value(field: FieldDescriptor) -> st.SearchStrategy:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return TEXTS
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return st.sampled_from([0, 1, 2, 9])
    return NUMBERS


@settings(max_examples=examples(10_000))
@given(messages(PushRequest))
def test_any_request_by_the_contract(stage: Stage, request_message: PushRequest) -> None:
    check(stage, request_message.SerializeToString())


def test_memory_stays_bounded(stage: Stage) -> None:
    """The same bytes over and over: what was needed once is not needed again and again."""
    requests = [request.SerializeToString() for request in VALID] + [b"\xff" * 1000, b"\x7a" * 5000]
    for _ in range(20):
        for request in requests:
            check(stage, request)
    before = rss_bytes()
    for _ in range(scaled(1000)):
        for request in requests:
            check(stage, request)
    assert rss_bytes() - before < RSS_BYTES


def test_next_push_works(stage: Stage) -> None:
    """After all of the above, in this process."""
    for request in VALID:
        assert isinstance(stage.push_bytes(request.SerializeToString()), bytes)
