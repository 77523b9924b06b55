"""Turns the vendor's answer into a `PushResponse` or the error that it means. Pure; what codes mean is in `codes.py`.

Every answer has one verdict: a JSON object with an integer `ret_code` decides (0 only with a 2xx status, others with
2xx or 4xx); everything else goes by the HTTP status. What is neither is "sent, outcome unknown", never a guess.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

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
from sidecar.providers.xg.answer import Answer, decode
from sidecar.providers.xg.codes import CODES, REFUSED_TARGET_CODES, TARGET_ACCEPTED, UNDOCUMENTED, CodeClass
from sidecar.providers.xg.results import add_results, target_codes
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

# Ids pass 2^31 (S0 shows one); 64 bits have at most so many digits.
MAX_PUSH_ID_DIGITS = 20
# Not the caller's content: names of configuration and of the vendor.
_KEPT_FIELDS = frozenset({"pushsidecar.xg.v1.PushRequest.app", "pushsidecar.xg.v1.PushRequest.push_id"})
_INT32 = range(-(2**31), 2**31)


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
        audience = self.audience
        if audience == "token_list":
            return len(self.request.token_list.tokens)
        if audience == "account_list":
            return len(self.request.account_list.accounts)
        return 1 if audience in SINGLE_AUDIENCES else 0


def read(reply: Reply, question: Question) -> pb.PushResponse:
    """Return the response that the answer means.

    Raises `VendorRefused`, `VendorBusy`, `QuotaExceeded`, `OutcomeUnknown` or `VendorInternal` where it means that.
    """
    return read_answer(decode(reply.body), reply, question)


def read_answer(answer: Answer, reply: Reply, question: Question) -> pb.PushResponse:
    """Return, or raise, what `read` does; `answer` is the reply's decoded body."""
    stated = answer.ret_code
    code = stated if stated is not None and stated in _INT32 else None
    codes = target_codes(bytes(answer.result), question.target_count)
    response = _response(answer, code or 0, codes, question)
    decides = stated is not None and _decides(stated, reply.status)
    if decides and code is not None and (outcome := _success(code, codes, question)):
        response.outcome = outcome
        return response
    vendor = VendorAnswer(
        code=code,
        message=response.vendor_message,
        http_status=reply.status,
        push_id=_shown_push_id(response.push_id),
        seq=response.seq,
        environment=answer.environment if response.environment else "",
        # Without a code nothing was read: a response would show the zeros of an acceptance.
        response=response if question.audience in LIST_AUDIENCES and code is not None else None,
    )
    if not decides:
        raise _error_by_status(reply, question, vendor)
    if code is None:
        raise OutcomeUnknown(
            "the vendor answered a code that no document can name: the push may have gone out",
            cause="vendor_code",
            vendor=vendor,
        )
    raise _error_by_code(code, codes, vendor, question)


def _decides(code: int, status: int) -> bool:
    """Say whether a code counts under an HTTP status."""
    return _is_2xx(status) or (code != 0 and _is_4xx(status))


def _class_of(code: int, question: Question) -> CodeClass:
    return question.code_classes.get(code, CODES.get(code, UNDOCUMENTED).code_class)


def _success(code: int, codes: Sequence[int], question: Question) -> pb.Outcome:
    """Return the outcome of a push that succeeded, in part at least; else unspecified."""
    code_class = _class_of(code, question)
    if code_class is CodeClass.ACCEPTED and codes.count(TARGET_ACCEPTED) == len(codes):
        return pb.OUTCOME_ACCEPTED
    if code_class in {CodeClass.ACCEPTED, CodeClass.PARTIAL} and question.audience in LIST_AUDIENCES:
        return pb.OUTCOME_PARTIAL
    return pb.OUTCOME_UNSPECIFIED


def _error_by_code(code: int, codes: Sequence[int], vendor: VendorAnswer, question: Question) -> PushError:
    code_class = _class_of(code, question)
    said = f"the vendor answered {code} ({CODES.get(code, UNDOCUMENTED).meaning})"
    if code_class is CodeClass.ACCEPTED:
        refused = next(target_code for target_code in codes if target_code != TARGET_ACCEPTED)
        return _error_by_target(refused, vendor, question)
    if code_class is CodeClass.PARTIAL:
        return OutcomeUnknown(f"{said} to a push that is no list", cause="vendor_code", vendor=vendor)
    if code_class in _REFUSED_BY_CODE:
        return VendorRefused(_REFUSED_BY_CODE[code_class], said, vendor=vendor, resource_type=_resource_type(question))
    if code_class is CodeClass.VENDOR_BUSY:
        return VendorBusy(said, vendor=vendor)
    if code_class is CodeClass.QUOTA_EXCEEDED:
        return _quota_exceeded(said, question.quota_retry_after_s, vendor, question)
    if code_class is CodeClass.VENDOR_INTERNAL:
        return VendorInternal(f"{said}: the push may have gone out", vendor=vendor)
    return OutcomeUnknown(f"{said}: the push may have gone out", cause="vendor_code", vendor=vendor)


def _error_by_target(target_code: int, vendor: VendorAnswer, question: Question) -> PushError:
    said = f"the vendor accepted the call and answered {target_code} for its target"
    if target_code in REFUSED_TARGET_CODES:
        return VendorRefused(Reason.TARGET_UNKNOWN, said, vendor=vendor, resource_type=_resource_type(question))
    return OutcomeUnknown(said, cause="target_code", vendor=vendor)


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


def _response(answer: Answer, code: int, codes: Sequence[int], question: Question) -> pb.PushResponse:
    response = pb.PushResponse(
        push_id=str(answer.push_id),
        seq=answer.seq,
        environment=ENVIRONMENTS.get(answer.environment, pb.ENVIRONMENT_UNSPECIFIED),
        vendor_code=code,
        vendor_message=redact(answer.err_msg, question.request, kept_fields=_KEPT_FIELDS),
        result_json=bytes(answer.result).decode(),
    )
    add_results(response, codes)
    return response


def _resource_type(question: Question) -> str:
    return {"token": "device", "token_list": "device", "account": "account", "account_list": "account"}.get(
        question.audience, ""
    )


def _shown_push_id(push_id: str) -> str:
    """Return a `push_id` that an error may show: the vendor's ids are numbers, and anything else may be a target."""
    is_id = push_id.isascii() and push_id.isdigit() and len(push_id) <= MAX_PUSH_ID_DIGITS
    return push_id if is_id and push_id != NO_PUSH_ID else ""
