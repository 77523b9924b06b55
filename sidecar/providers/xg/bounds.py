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

# Audience -> its list, and how much of it is looked at.
_LISTS = {
    "token_list": ("tokens", MAX_TARGETS_LOOKED_AT),
    "account_list": ("accounts", MAX_TARGETS_LOOKED_AT),
    "tag": ("tags", MAX_TAGS_LOOKED_AT),
}

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
    kind = request.WhichOneof("audience") or ""
    name, limit = _LISTS.get(kind, ("", 0))
    if not name or len(getattr(getattr(request, kind), name)) <= limit:
        return request
    copy = PushRequest()
    copy.CopyFrom(request)
    del getattr(getattr(copy, kind), name)[limit:]
    return copy
