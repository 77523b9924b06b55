"""Turns the vendor's answer into a `PushResponse` or the error that it means. Pure; what codes mean is in `codes.py`.

Every answer has one verdict: a JSON object with an integer `ret_code` decides (0 only with a 2xx status, others with
2xx or 4xx); everything else goes by the HTTP status. What is neither is "sent, outcome unknown", never a guess.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import msgspec

from pushsidecar.type.v1 import target_state_pb2 as states
from pushsidecar.xg.v1 import push_service_pb2 as pb
from sidecar.errors import (
    OutcomeUnknown,
    PushError,
    QuotaExceeded,
    Reason,
    VendorAnswer,
    VendorBusy,
    VendorInternal,
    VendorRefused,
)
from sidecar.providers.common.redact import redact
from sidecar.providers.xg.codes import CODES, REFUSED_TARGET_CODES, TARGET_ACCEPTED, UNDOCUMENTED, CodeClass
from sidecar.transport.reply import Reply

LIST_AUDIENCES = frozenset({"token_list", "account_list"})
SINGLE_AUDIENCES = frozenset({"token", "account"})

ENVIRONMENTS: Mapping[str, pb.Environment] = {
    "product": pb.ENVIRONMENT_PRODUCT,
    "dev": pb.ENVIRONMENT_DEV,
}

# HTTP statuses that prove that nothing was pushed. Any other is outcome unknown, 303 among them: "see other" is how a
# server commonly answers a POST that it has processed (RFC 9110, 15.4.4).
REFUSED_BY_STATUS: Mapping[int, Reason] = {
    **dict.fromkeys((400, 413, 414, 431), Reason.VENDOR_REJECTED),
    **dict.fromkeys((401, 403, 407), Reason.CREDENTIALS_REFUSED),
    **dict.fromkeys((404, 405, 415, *range(300, 303), *range(304, 400)), Reason.ENDPOINT_REFUSED),
}
HTTP_TOO_MANY_REQUESTS = 429

# In a request it asks for a new task (S1, token_list); in a refusal it names none.
NO_PUSH_ID = "0"
# A longer `Retry-After` is read as this, the most that `max_retry_after_s` may be: what it names may have no end.
MAX_RETRY_AFTER_S = 86_400.0

_REFUSED_BY_CODE: Mapping[CodeClass, Reason] = {
    code_class: Reason(code_class.value)
    for code_class in CodeClass
    if code_class.value in {reason.value for reason in VendorRefused.REFUSALS}
}

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# Ids pass 2^31 (S0 shows one); 64 bits have at most so many digits.
MAX_PUSH_ID_DIGITS = 20
# Not the caller's content: names of configuration and of the vendor.
_KEPT_FIELDS = frozenset({"pushsidecar.xg.v1.PushRequest.app", "pushsidecar.xg.v1.PushRequest.push_id"})
_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer is read against: the request, and what the app's configuration says."""

    request: pb.PushRequest = field(repr=False)
    app: str
    code_classes: Mapping[int, CodeClass]
    quota_retry_after_s: float

    @property
    def audience(self) -> str:
        """The kind of audience, as the vendor names it."""
        return self.request.WhichOneof("audience") or ""

    @property
    def target_count(self) -> int:
        """How many targets the answer's `result` can speak of; 0 where it has no targets."""
        if self.audience == "token_list":
            return len(self.request.token_list.tokens)
        if self.audience == "account_list":
            return len(self.request.account_list.accounts)
        return 1 if self.audience in SINGLE_AUDIENCES else 0


def read(reply: Reply, question: Question) -> pb.PushResponse:
    """Return the response that the answer means.

    Raises `VendorRefused`, `VendorBusy`, `QuotaExceeded`, `OutcomeUnknown` or `VendorInternal` where it means that.
    """
    members = _members(reply.body)
    stated = _value(members.get("ret_code"))
    code = stated if type(stated) is int and stated in _INT32 else None
    response = _response(members, code or 0, question)
    vendor = VendorAnswer(
        code=code,
        message=response.vendor_message,
        http_status=reply.status,
        push_id=_shown_push_id(response.push_id),
        seq=response.seq,
        environment=_text(members.get("environment")) if response.environment else "",
        # Without a code nothing was read: a response would show the zeros of an acceptance.
        response=response if question.audience in LIST_AUDIENCES and code is not None else None,
    )
    is_coded = _is_2xx(reply.status) or _is_4xx(reply.status)
    if code is None and is_coded and (type(stated) is int or _is_endless(members.get("ret_code"))):
        raise OutcomeUnknown(
            "the vendor answered a code that no document can name: the push may have gone out",
            cause="vendor_code",
            vendor=vendor,
        )
    if code is None or not is_coded or (code == 0 and not _is_2xx(reply.status)):
        raise _error_by_status(reply, question, vendor)
    return _by_code(code, response, vendor, question)


def _by_code(code: int, response: pb.PushResponse, vendor: VendorAnswer, question: Question) -> pb.PushResponse:
    row = CODES.get(code, UNDOCUMENTED)
    code_class = question.code_classes.get(code, row.code_class)
    is_list = question.audience in LIST_AUDIENCES
    said = f"the vendor answered {code} ({row.meaning})"
    if code_class is CodeClass.ACCEPTED:
        refused = [result.vendor_code for result in response.results if result.vendor_code != TARGET_ACCEPTED]
        if refused and not is_list:
            _raise_for_target(refused[0], vendor, question)
        response.outcome = pb.OUTCOME_PARTIAL if refused else pb.OUTCOME_ACCEPTED
        return response
    if code_class is CodeClass.PARTIAL:
        if is_list:
            response.outcome = pb.OUTCOME_PARTIAL
            return response
        raise OutcomeUnknown(f"{said} to a push that is no list", cause="vendor_code", vendor=vendor)
    if code_class in _REFUSED_BY_CODE:
        raise VendorRefused(_REFUSED_BY_CODE[code_class], said, vendor=vendor, resource_type=_resource_type(question))
    raise _failure_by_code(code_class, said, vendor, question)


def _failure_by_code(code_class: CodeClass, said: str, vendor: VendorAnswer, question: Question) -> PushError:
    if code_class is CodeClass.VENDOR_BUSY:
        return VendorBusy(said, vendor=vendor)
    if code_class is CodeClass.QUOTA_EXCEEDED:
        return _quota_exceeded(said, question.quota_retry_after_s, vendor, question)
    if code_class is CodeClass.VENDOR_INTERNAL:
        return VendorInternal(f"{said}: the push may have gone out", vendor=vendor)
    return OutcomeUnknown(f"{said}: the push may have gone out", cause="vendor_code", vendor=vendor)


def _raise_for_target(target_code: int, vendor: VendorAnswer, question: Question) -> NoReturn:
    said = f"the vendor accepted the call and answered {target_code} for its target"
    if target_code in REFUSED_TARGET_CODES:
        raise VendorRefused(Reason.TARGET_UNKNOWN, said, vendor=vendor, resource_type=_resource_type(question))
    raise OutcomeUnknown(said, cause="target_code", vendor=vendor)


def _quota_exceeded(said: str, after_s: float, vendor: VendorAnswer, question: Question) -> QuotaExceeded:
    return QuotaExceeded(said, subject=f"app:{question.app}", retry_after_s=after_s, vendor=vendor)


def _error_by_status(reply: Reply, question: Question, vendor: VendorAnswer) -> PushError:
    status = reply.status
    if status == HTTP_TOO_MANY_REQUESTS:
        after_s = _retry_after_s(reply.headers.get("retry-after", ""), question.quota_retry_after_s)
        return _quota_exceeded("the vendor answered HTTP 429: its quota is spent", after_s, vendor, question)
    if (reason := REFUSED_BY_STATUS.get(status)) is not None:
        return VendorRefused(reason, f"the vendor's address answered HTTP {status}", vendor=vendor)
    what = "without a usable body" if _is_2xx(status) else "and no verdict"
    return OutcomeUnknown(
        f"the vendor answered HTTP {status} {what}: the push may have gone out", cause="answer", vendor=vendor
    )


def _is_2xx(status: int) -> bool:
    return status // 100 == 2  # noqa: PLR2004  # the class of the status


def _is_4xx(status: int) -> bool:
    return status // 100 == 4  # noqa: PLR2004  # the class of the status


def _retry_after_s(header: str, default_s: float) -> float:
    """Read `Retry-After`, seconds or a date (RFC 9110, 10.2.3); unreadable is the default."""
    if header.isascii() and header.isdigit():
        return min(float(header), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return default_s
    after_s = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
    return min(max(0.0, after_s), MAX_RETRY_AFTER_S)


def _response(members: Mapping[str, msgspec.Raw], code: int, question: Question) -> pb.PushResponse:
    result = members.get("result")
    return pb.PushResponse(
        push_id=_push_id(members.get("push_id")),
        seq=_integer(members.get("seq"), _INT64) or 0,
        environment=ENVIRONMENTS.get(_text(members.get("environment")), pb.ENVIRONMENT_UNSPECIFIED),
        vendor_code=code,
        vendor_message=redact(_text(members.get("err_msg")), question.request, kept_fields=_KEPT_FIELDS),
        results=_results(result, question.target_count),
        result_json="" if result is None else bytes(result).decode(),
    )


def _results(result: msgspec.Raw | None, target_count: int) -> list[pb.TargetResult]:
    """Read `result` as one code per target; empty unless it is an array of integers as long as the list."""
    codes = _value(result)
    if isinstance(codes, str):
        codes = _value(msgspec.Raw(codes.encode()))
    if not isinstance(codes, list) or len(codes) != target_count or target_count == 0:
        return []
    if not all(type(code) is int and code in _INT32 for code in codes):
        return []
    return [pb.TargetResult(index=index, state=_state(code), vendor_code=code) for index, code in enumerate(codes)]


def _state(code: int) -> states.TargetState:
    if code == TARGET_ACCEPTED:
        return states.TARGET_STATE_ACCEPTED
    return states.TARGET_STATE_REFUSED if code in REFUSED_TARGET_CODES else states.TARGET_STATE_UNKNOWN


def _resource_type(question: Question) -> str:
    return {"token": "device", "token_list": "device", "account": "account", "account_list": "account"}.get(
        question.audience, ""
    )


def _members(body: bytes) -> Mapping[str, msgspec.Raw]:
    """Return the members of the JSON object that a body is; none when it is anything else, or has two codes."""
    try:
        members = _decode_object(body)
        body.decode()
        # A name can also be written with escapes.
        may_have_two = body.count(b'"ret_code"') > 1 or b"\\u" in body
        return {} if may_have_two and _has_two_codes(body) else members
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return {}


def _has_two_codes(body: bytes) -> bool:
    """Say whether `ret_code` stands twice in the outermost object: which of them counts would be a guess."""
    names: list[str] = json.loads(body, object_pairs_hook=lambda pairs: [name for name, _ in pairs], parse_int=str)
    return names.count("ret_code") > 1


def _value(raw: msgspec.Raw | None) -> Any:
    """Return a member's value; None when it is absent or unreadable."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def _is_endless(raw: msgspec.Raw | None) -> bool:
    """Say whether a member is an integer of more digits than are read."""
    return raw is not None and bytes(raw).removeprefix(b"-").isdigit()


def _integer(raw: msgspec.Raw | None, allowed: range) -> int | None:
    value = _value(raw)
    return value if type(value) is int and value in allowed else None


def _text(raw: msgspec.Raw | None) -> str:
    value = _value(raw)
    return value if isinstance(value, str) else ""


def _shown_push_id(push_id: str) -> str:
    """Return a `push_id` that an error may show: the vendor's ids are numbers, and anything else may be a target."""
    is_id = push_id.isascii() and push_id.isdigit() and len(push_id) <= MAX_PUSH_ID_DIGITS
    return push_id if is_id and push_id != NO_PUSH_ID else ""


def _push_id(raw: msgspec.Raw | None) -> str:
    """Read `push_id`: S1 shows a string, S0 a number."""
    value = _value(raw)
    return str(value) if isinstance(value, str) or type(value) is int else ""
