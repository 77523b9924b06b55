"""List tasks: created with push_id "0", continued by the id that came back, gone after expire_time."""

import pytest


def tokens(push_id, *listed, **rest):
    return {
        "audience_type": "token_list",
        "token_list": list(listed or ("token1",)),
        "push_id": push_id,
        **rest,
    }


def test_list_task_is_continued_under_its_id(ask, android, vendor):
    first = ask(android(**tokens("0", "token1", "x")))
    second = ask(android(**tokens(first["push_id"], "token2")))
    assert second["push_id"] == first["push_id"]
    (task,) = vendor.tasks.all()
    assert (task.calls, task.targets, task.differing) == (2, 2, 0)


def test_each_new_task_has_another_id(ask, android):
    ids = {ask(android(**tokens("0")))["push_id"] for _ in range(3)}
    assert len(ids) == 3


def test_continuation_with_another_text_is_counted_and_uses_the_stored_one(ask, android, vendor):
    push_id = ask(android(**tokens("0")))["push_id"]
    assert ask(android({"title": "other"}, **tokens(push_id)))["ret_code"] == 0
    (task,) = vendor.tasks.all()
    assert (task.differing, task.message) == (1, {"title": "t", "content": "c"})


# S1 "expire_time": default and longest 72 hours, 1..799 become 800; 0 lives like the shortest (ours)
@pytest.mark.parametrize(
    ("expire_time", "life"),
    [
        (None, 259200),
        (0, 800),
        (1, 800),
        (799, 800),
        (800, 800),
        (801, 801),
        (259200, 259200),
        (2**31 - 1, 259200),
    ],
)
def test_task_lives_for_expire_time(ask, android, clock, expire_time, life):
    push_id = ask(android(**tokens("0", expire_time=expire_time)))["push_id"]
    clock.now += life - 1
    assert ask(android(**tokens(push_id)))["ret_code"] == 0
    clock.now += 1
    expired = ask(android(**tokens(push_id, seq=4)))
    assert (expired["ret_code"], expired["seq"]) == (10205, 4)


def test_task_of_another_app_or_of_no_list_is_unknown(ask, android, ios):
    push_id = ask(android(**tokens("0")))["push_id"]
    assert ask(ios(**tokens(push_id)))["ret_code"] == 10205
    single = ask(android())["push_id"]
    assert ask(android(**tokens(single)))["ret_code"] == 10205


def test_accounts_may_continue_a_task_of_tokens(ask, android):
    push_id = ask(android(**tokens("0")))["push_id"]
    listed = {"audience_type": "account_list", "account_list": ["account1"], "push_id": push_id}
    assert ask(android(**listed))["push_id"] == push_id


def test_list_that_failed_as_a_whole_has_a_task(ask, android):
    failed = ask(android(**tokens("0", "x")))
    assert failed["ret_code"] == 10305
    assert ask(android(**tokens(failed["push_id"])))["ret_code"] == 0
