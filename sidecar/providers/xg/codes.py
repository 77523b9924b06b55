"""The vendor's return codes (`ret_code`), one row each: its meaning, its source, and what we make of it.

Data only; `read.py` applies it. Sources: S1 and S0, section "错误码"; the meanings are theirs in English. The vendor's
documents say neither which codes come before anything was pushed, nor whether a push may be repeated. So each class is
marked: `ours` is empty where the vendor's own words settle it, else it is our reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class CodeClass(StrEnum):
    """What a code means for the caller. The values are what an app's `code_classes` may name."""

    ACCEPTED = "ACCEPTED"
    PARTIAL = "PARTIAL"
    VENDOR_REJECTED = "VENDOR_REJECTED"
    CREDENTIALS_REFUSED = "CREDENTIALS_REFUSED"
    CERTIFICATE_INVALID = "CERTIFICATE_INVALID"
    APP_NOT_REGISTERED = "APP_NOT_REGISTERED"
    PUSH_TASK_EXPIRED = "PUSH_TASK_EXPIRED"
    TARGET_UNKNOWN = "TARGET_UNKNOWN"
    VENDOR_BUSY = "VENDOR_BUSY"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"  # no documented code means it; an operator may learn which one does
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    VENDOR_INTERNAL = "VENDOR_INTERNAL"


@dataclass(frozen=True, slots=True)
class Code:
    """One row."""

    code: int
    meaning: str
    source: str
    code_class: CodeClass
    ours: str = ""


_BOTH = "S1 and S0, 错误码"
_SAME_TEXT = "two codes share one text; nothing proves that they come before the push"
_ACTING = "the text does not say whether the push went out before the failure"
_REPEATABLE = "'create the push task' is read as: before anything is pushed"


def _internal(*codes: int) -> list[Code]:
    return [Code(code, "internal error, retry later", _BOTH, CodeClass.VENDOR_INTERNAL, _ACTING) for code in codes]


_ROWS = [
    Code(0, "success", "S1 and S0, response example", CodeClass.ACCEPTED),
    Code(10100, "system busy, retry later", _BOTH, CodeClass.OUTCOME_UNKNOWN, _SAME_TEXT),
    Code(10101, "system busy, retry later", _BOTH, CodeClass.OUTCOME_UNKNOWN, _SAME_TEXT),
    Code(10102, "a parameter is missing", _BOTH, CodeClass.VENDOR_REJECTED),
    Code(10103, "a parameter's value is invalid", _BOTH, CodeClass.VENDOR_REJECTED),
    Code(10104, "authentication failed, check the secret key", _BOTH, CodeClass.CREDENTIALS_REFUSED),
    Code(10105, "certificate invalid", _BOTH, CodeClass.CERTIFICATE_INVALID),
    Code(10106, "this kind of push does not support several platforms", _BOTH, CodeClass.VENDOR_REJECTED),
    Code(10107, "the body is not valid JSON", _BOTH, CodeClass.VENDOR_REJECTED),
    *_internal(10108, 10109),
    Code(10110, "device not registered", _BOTH, CodeClass.TARGET_UNKNOWN),
    *_internal(10111, 10112, 10113, 10114),
    Code(10115, "the account must not be empty", _BOTH, CodeClass.VENDOR_REJECTED),
    Code(10116, "the account does not exist", _BOTH, CodeClass.TARGET_UNKNOWN),
    Code(10117, "the content is too large", _BOTH, CodeClass.VENDOR_REJECTED),
    Code(10201, "the push task could not be created, retry later", _BOTH, CodeClass.VENDOR_BUSY, _REPEATABLE),
    Code(10202, "the content could not be converted for APNs", _BOTH, CodeClass.VENDOR_REJECTED),
    Code(10203, "the push task could not be created, retry later", _BOTH, CodeClass.VENDOR_BUSY, _REPEATABLE),
    Code(10204, "the push failed, retry later", _BOTH, CodeClass.VENDOR_INTERNAL, _ACTING),
    Code(10205, "the push task is over", _BOTH, CodeClass.PUSH_TASK_EXPIRED),
    Code(10206, "the copy of the message could not be read, retry later", _BOTH, CodeClass.OUTCOME_UNKNOWN, _SAME_TEXT),
    Code(10207, "the copy of the message could not be read, retry later", _BOTH, CodeClass.OUTCOME_UNKNOWN, _SAME_TEXT),
    Code(10301, "the push to the account list failed, retry later", _BOTH, CodeClass.VENDOR_INTERNAL, _ACTING),
    Code(10302, "the push failed for some accounts", _BOTH, CodeClass.PARTIAL),
    Code(
        10303, "the push failed for all accounts, check that they have a device", "S1 (S0: retry later)",
        CodeClass.TARGET_UNKNOWN,
    ),
    Code(10304, "the push failed for some tokens", _BOTH, CodeClass.PARTIAL),
    Code(
        10305, "the push failed for all tokens, check that they are registered", "S1 (S0: retry later)",
        CodeClass.TARGET_UNKNOWN,
    ),
    *_internal(10401, 10402, 10403, 10404, 10405, 10406, 10407),
    *_internal(10501, 10502, 10503, 10504, 10505, 10506, 10507),
    *_internal(10601, 10602, 10603, 10604, 10605),
    Code(10606, "the app is not registered", _BOTH, CodeClass.APP_NOT_REGISTERED),
    *_internal(10701, 10702, 10707, 10708, 10709, 10710, 10711, 10712, 10713),
]  # fmt: skip

CODES: Mapping[int, Code] = {row.code: row for row in _ROWS}

# A code that no document names: the documents' own last row, "other: unknown error, retry later".
UNDOCUMENTED = Code(-1, "unknown error", _BOTH + ", last row", CodeClass.OUTCOME_UNKNOWN, _ACTING)

# Codes of single targets inside `result`: the older v2 documents' meaning, which no v3 document repeats (ours).
TARGET_ACCEPTED = 0
TARGET_TOKEN_NOT_REGISTERED = 6
TARGET_ACCOUNT_WITHOUT_DEVICE = 48
REFUSED_TARGET_CODES = frozenset({TARGET_TOKEN_NOT_REGISTERED, TARGET_ACCOUNT_WITHOUT_DEVICE})
