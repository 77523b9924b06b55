"""Rules beside the table of cases (tests/contract): what protobuf JSON cannot write, and texts for people."""

import pytest

from pushsidecar.xg.v1 import AllDevices, AndroidMessage, PushRequest
from sidecar.errors import Violation
from sidecar.providers.xg.rules import violations


def valid() -> PushRequest:
    return PushRequest(all=AllDevices(), android_message=AndroidMessage(title="t", content="c"))


@pytest.mark.parametrize(
    ("field", "seconds", "nanos"),
    [
        ("expire_time", 10**17, 0),
        ("expire_time", 1, -1),
        ("expire_time", 1, 2_000_000_000),
        ("send_time", 10**17, 0),
        ("send_time", 1, -1),
    ],
)
def test_a_time_that_is_none_is_told_together_with_all_else(field: str, seconds: int, nanos: int) -> None:
    request = valid()
    request.android_message.title = ""
    value = getattr(request, field)
    value.seconds, value.nanos = seconds, nanos
    assert violations(request) == [
        Violation(field, f"{field}.well_formed", "is outside of the type's range"),
        Violation("android_message.title", "string.min_len", "must not be empty"),
    ]
    assert getattr(request, field).seconds == seconds  # the request itself is left alone


def test_both_times_can_be_none() -> None:
    request = valid()
    request.expire_time.seconds = request.send_time.seconds = 10**17
    assert [violation.field for violation in violations(request)] == ["expire_time", "send_time"]


def test_the_text_of_a_missing_choice_names_the_choices() -> None:
    assert [(violation.field, violation.description) for violation in violations(PushRequest())] == [
        ("audience", "one of all, tag, token, token_list, account, account_list is required"),
        ("message", "one of android_notification, android_message, ios_notification, ios_silent is required"),
    ]
