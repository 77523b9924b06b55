"""What is repeated, after what wait, and how much of it in all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.delivery.retry import RetryBudget, RetryPolicy
from sidecar.errors import (
    CallCancelled,
    CallerNotAllowed,
    DeadlineExceeded,
    EarlierFailure,
    InvalidRequest,
    MessageTooLarge,
    NotSent,
    OutcomeUnknown,
    Overloaded,
    PushError,
    QuotaExceeded,
    Reason,
    RequestIdReused,
    Sent,
    ShuttingDown,
    SidecarBug,
    StoreUnavailable,
    UnknownApp,
    VendorAnswer,
    VendorBusy,
    VendorInternal,
    VendorRefused,
    Violation,
)

POLICY = RetryPolicy(max_attempts=3, initial_backoff_s=0.1, max_backoff_s=2.0)
NOT_SENT = NotSent("x", cause="connect")
BUSY = VendorBusy("x")
NEVER_REPEATED: list[PushError] = [
    InvalidRequest([Violation("a", "b", "c")]),
    MessageTooLarge(5000, 4096),
    UnknownApp("x"),
    VendorRefused(Reason.VENDOR_REJECTED, "x", vendor=VendorAnswer()),
    ShuttingDown("x"),
    StoreUnavailable("x"),
    RequestIdReused("x"),
    CallerNotAllowed("x"),
    EarlierFailure(Reason.OUTCOME_UNKNOWN, "x", attempts=1, vendor=VendorAnswer()),
    Overloaded("x", retry_after_s=1),
    QuotaExceeded("x", subject="x", retry_after_s=1),
    OutcomeUnknown("x", cause="read_timeout"),
    VendorInternal("x"),
    DeadlineExceeded("x", sent=Sent.NO),
    DeadlineExceeded("x", sent=Sent.MAYBE),
    CallCancelled(sent=Sent.NO),
    SidecarBug("x", sent=Sent.NO),
    SidecarBug("x", sent=Sent.MAYBE),
]


def test_every_kind_of_error_is_in_the_table() -> None:
    kinds = {type(error) for error in [*NEVER_REPEATED, NOT_SENT, BUSY]}
    # Other tests have kinds of their own.
    assert kinds == {kind for kind in PushError.__subclasses__() if kind.__module__ == PushError.__module__}


def next_wait_s(
    error: PushError = NOT_SENT,
    *,
    policy: RetryPolicy = POLICY,
    attempt: int = 1,
    remaining_s: float = 100.0,
    is_repeatable_when_busy: bool = True,
    random: float = 0.5,
) -> float | None:
    return policy.next_wait_s(
        error,
        attempt=attempt,
        remaining_s=remaining_s,
        is_repeatable_when_busy=is_repeatable_when_busy,
        random=lambda: random,
    )


@pytest.mark.parametrize("error", NEVER_REPEATED, ids=lambda error: f"{type(error).__name__}-{error.sent}")
def test_anything_else_is_never_repeated(error: PushError) -> None:
    assert next_wait_s(error) is None


@pytest.mark.parametrize("is_repeatable_when_busy", [True, False])
def test_not_sent_is_repeated_for_every_audience(*, is_repeatable_when_busy: bool) -> None:
    assert next_wait_s(NOT_SENT, is_repeatable_when_busy=is_repeatable_when_busy) is not None


def test_busy_vendor_is_asked_again_only_where_that_is_allowed() -> None:
    assert next_wait_s(BUSY, is_repeatable_when_busy=True) is not None
    assert next_wait_s(BUSY, is_repeatable_when_busy=False) is None


@pytest.mark.parametrize(
    ("attempt", "random", "expected_s"),
    [
        (1, 0.0, 0.0),
        (1, 0.5, 0.05),
        (1, 0.99, 0.099),
        (2, 0.5, 0.1),
        (3, 0.5, 0.2),
        (5, 0.5, 0.8),
        (6, 0.5, 1.0),
        (60, 0.5, 1.0),
    ],
)
def test_wait_doubles_up_to_its_bound_with_full_jitter(attempt: int, random: float, expected_s: float) -> None:
    policy = RetryPolicy(max_attempts=100, initial_backoff_s=0.1, max_backoff_s=2.0)
    assert next_wait_s(policy=policy, attempt=attempt, random=random) == pytest.approx(expected_s)


@pytest.mark.parametrize(("attempt", "is_repeated"), [(1, True), (2, True), (3, False), (4, False)])
def test_attempts_are_bounded(attempt: int, *, is_repeated: bool) -> None:
    assert (next_wait_s(attempt=attempt) is not None) is is_repeated


@pytest.mark.parametrize(("remaining_s", "is_repeated"), [(0.051, True), (0.05, False), (0.0, False), (-1.0, False)])
def test_no_wait_reaches_the_deadline(remaining_s: float, *, is_repeated: bool) -> None:
    assert (next_wait_s(remaining_s=remaining_s) is not None) is is_repeated


@given(
    error=st.sampled_from([*NEVER_REPEATED, NOT_SENT, BUSY]),
    attempt=st.integers(1, 50),
    max_attempts=st.integers(1, 10),
    initial_backoff_s=st.floats(0.001, 3600),
    max_backoff_s=st.floats(0.001, 3600),
    remaining_s=st.floats(-10, 4000),
    is_repeatable_when_busy=st.booleans(),
    random=st.floats(0, 1, exclude_max=True),
)
def test_policy_keeps_its_promises(
    *,
    error: PushError,
    attempt: int,
    max_attempts: int,
    initial_backoff_s: float,
    max_backoff_s: float,
    remaining_s: float,
    is_repeatable_when_busy: bool,
    random: float,
) -> None:
    wait_s = next_wait_s(
        error,
        policy=RetryPolicy(max_attempts, initial_backoff_s, max_backoff_s),
        attempt=attempt,
        remaining_s=remaining_s,
        is_repeatable_when_busy=is_repeatable_when_busy,
        random=random,
    )
    if wait_s is None:
        return
    assert isinstance(error, NotSent | VendorBusy)
    assert isinstance(error, NotSent) or is_repeatable_when_busy
    assert error.sent is Sent.NO
    assert attempt < max_attempts
    assert 0 <= wait_s < remaining_s
    assert wait_s <= max_backoff_s


def test_outage_is_multiplied_by_a_fifth_at_most() -> None:
    budget = RetryBudget(0.2, cap=10)
    retries = 0
    for _ in range(1000):
        budget.deposit()
        retries += sum(budget.withdraw() for _ in range(2))
    assert 200 <= retries <= 200 + 10


def test_quiet_app_can_repeat_its_first_call() -> None:
    budget = RetryBudget(0.2)
    budget.deposit()
    assert budget.withdraw()
    assert budget.withdraw()


def test_budget_is_not_saved_up_beyond_its_cap() -> None:
    budget = RetryBudget(0.2, cap=10)
    for _ in range(10_000):
        budget.deposit()
    assert sum(budget.withdraw() for _ in range(100)) == 10


def test_no_retries_when_the_budget_is_switched_off() -> None:
    budget = RetryBudget(0.0)
    for _ in range(100):
        budget.deposit()
        assert not budget.withdraw()


@given(st.lists(st.booleans(), max_size=300), st.floats(0, 1), st.floats(1, 50))
def test_retries_never_exceed_the_share_of_calls_and_the_cap(steps: list[bool], ratio: float, cap: float) -> None:
    budget = RetryBudget(ratio, cap)
    calls = retries = 0
    for is_call in steps:
        if is_call:
            budget.deposit()
            calls += 1
        else:
            retries += budget.withdraw()
        assert retries <= calls * ratio + cap + 1e-6
