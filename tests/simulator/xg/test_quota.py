"""All and tag pushes together: 30 an hour per app."""

TAG = {"audience_type": "tag", "tag_list": {"tags": ["tag1"], "op": "OR"}}
ALL = {"audience_type": "all"}


def spend(ask, body, count):
    for _ in range(count):
        assert ask(body)["ret_code"] == 0


def test_thirty_first_push_of_an_hour_is_429_with_retry_after(ask, post, android, clock):
    spend(ask, android(**ALL), 15)
    clock.now += 100.5
    spend(ask, android(**TAG), 15)
    for body in (android(**ALL), android(**TAG)):
        reply = post(body)
        assert (reply.status, reply.headers["Retry-After"]) == (429, "3500")
        assert "ret_code" not in reply.json
        assert reply.delivery is None


def test_hour_slides(ask, post, android, clock):
    spend(ask, android(**ALL), 30)
    clock.now += 3599.9
    assert post(android(**ALL)).headers["Retry-After"] == "1"
    clock.now += 0.1
    spend(ask, android(**ALL), 30)
    assert post(android(**ALL)).status == 429


def test_refused_pushes_and_other_audiences_do_not_count(ask, post, android):
    spend(ask, android(**ALL), 29)
    assert ask(android(**ALL, expire_time=-1))["ret_code"] == 10103
    spend(ask, android(), 40)
    spend(ask, android(**ALL), 1)
    assert post(android(**ALL)).status == 429
    spend(ask, android(), 1)


def test_each_app_has_its_own(ask, post, android, ios):
    spend(ask, android(**ALL), 30)
    assert post(android(**ALL)).status == 429
    spend(ask, ios(**ALL), 30)


def test_limit_can_be_turned_off_raised_and_set_to_nothing(ask, post, android, vendor):
    vendor.quota.limit = None
    spend(ask, android(**ALL), 100)
    vendor.quota.limit = 2
    spend(ask, android(**ALL), 2)
    assert post(android(**ALL)).status == 429
    vendor.quota.limit = 0
    assert post(android(**ALL)).headers["Retry-After"] == "3600"


def test_lowered_limit_waits_until_enough_have_left(ask, post, android, vendor, clock):
    for _ in range(3):
        spend(ask, android(**ALL), 1)
        clock.now += 10
    vendor.quota.limit = 1
    assert post(android(**ALL)).headers["Retry-After"] == "3590"


def test_overflow_can_be_a_return_code(ask, android, vendor):
    vendor.quota.limit = 0
    vendor.quota.overflow_ret_code = 10204
    answer = ask(android(**ALL))
    assert answer["ret_code"] == 10204


def test_reset_restores_the_settings(ask, android, vendor):
    spend(ask, android(**ALL), 30)
    vendor.quota.limit = 1
    vendor.quota.overflow_ret_code = 10204
    vendor.reset()
    assert (vendor.quota.limit, vendor.quota.overflow_ret_code) == (30, 0)
    spend(ask, android(**ALL), 30)
