"""Bounds the work that one request can cause, before anything looks at it in full.

A request of the largest size that gRPC lets in could hold millions of broken values, each of which takes time to
report. What is over these bounds would be refused in any case, but for 8 KB of fields that are unknown here, or of
blanks around a JSON text.
"""

from pushsidecar.xg.v1.push_service_pb2 import PushRequest
from sidecar.errors import MessageTooLarge
from sidecar.providers.xg.render import MAX_MESSAGE_BYTES

# One more than a list may have (S1, audience_type), so that its rule still sees that it is too long.
MAX_TARGETS_LOOKED_AT = 1001
# Non-empty tags beyond this are over 512 characters together (S1, tag).
MAX_TAGS_LOOKED_AT = 513

# JSON writes every text of a message at least as long as protobuf does, but for a few bytes of lengths.
MAX_MESSAGE_PROTO_BYTES = 2 * MAX_MESSAGE_BYTES
# `{"start":{"hour":"00","min":"00"},"end":{"hour":"00","min":"00"}}`
ACCEPT_TIME_BYTES = 65


def check_message_bound(request: PushRequest) -> None:
    """Refuse a message that cannot fit, however it is rendered.

    Raises `MessageTooLarge`.
    """
    kind = request.WhichOneof("message")
    if kind is None:
        return
    message = getattr(request, kind)
    spans = len(message.accept_time) if kind.startswith("android") else 0
    if message.ByteSize() > MAX_MESSAGE_PROTO_BYTES or spans * ACCEPT_TIME_BYTES > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(MAX_MESSAGE_BYTES + 1, MAX_MESSAGE_BYTES, at_least=True)


def shortened(request: PushRequest) -> PushRequest:
    """Return the request with its targets cut where it has too many; itself where it has not."""
    kind = request.WhichOneof("audience")
    if kind == "token_list" and len(request.token_list.tokens) > MAX_TARGETS_LOOKED_AT:
        copy = _without_audience(request)
        copy.token_list.tokens.extend(request.token_list.tokens[:MAX_TARGETS_LOOKED_AT])
        return copy
    if kind == "account_list" and len(request.account_list.accounts) > MAX_TARGETS_LOOKED_AT:
        copy = _without_audience(request)
        copy.account_list.accounts.extend(request.account_list.accounts[:MAX_TARGETS_LOOKED_AT])
        return copy
    if kind == "tag" and len(request.tag.tags) > MAX_TAGS_LOOKED_AT:
        copy = _without_audience(request)
        copy.tag.tags.extend(request.tag.tags[:MAX_TAGS_LOOKED_AT])
        copy.tag.op = request.tag.op
        return copy
    return request


def _without_audience(request: PushRequest) -> PushRequest:
    copy = PushRequest()
    for field, value in request.ListFields():
        if field.containing_oneof is not None and field.containing_oneof.name == "audience":
            continue
        if field.message_type is not None:
            getattr(copy, field.name).CopyFrom(value)
        else:
            setattr(copy, field.name, value)
    return copy
