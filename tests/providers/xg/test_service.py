"""From request to response: which app, which checks in which order, what is sent, what is answered."""

import json
from typing import Any

import pytest

from pushsidecar.xg.v1 import AndroidMessage, IosSilent, PushRequest, PushResponse
from pushsidecar.xg.v1.push_service_pb2 import ENVIRONMENT_DEV, OUTCOME_ACCEPTED, OUTCOME_VALIDATED
from sidecar.delivery.call import Call
from sidecar.errors import (
    InvalidRequest,
    MessageTooLarge,
    OutcomeUnknown,
    PushError,
    QuotaExceeded,
    ShuttingDown,
    UnknownApp,
    VendorBusy,
)
from sidecar.providers.xg.codes import CodeClass
from sidecar.providers.xg.credentials import authorization

from .world import Build, World, new_call

BUSY = (200, b'{"ret_code": 10201}')


def android(**fields: Any) -> PushRequest:
    if not {"all", "tag", "token_list", "account", "account_list"} & fields.keys():
        fields.setdefault("token", "a-token")
    return PushRequest(**{"android_message": AndroidMessage(title="a title", content="a content"), **fields})


def ios(**fields: Any) -> PushRequest:
    return PushRequest(token="a-token", ios_silent=IosSilent(), **fields)


AUDIENCES: dict[str, dict[str, Any]] = {
    "all": {"all": {}},
    "tag": {"tag": {"tags": ["a tag"], "op": "TAG_OP_OR"}},
    "token": {"token": "a-token"},
    "token_list": {"token_list": {"tokens": ["a-token", "another"]}},
    "account": {"account": {"account": "an account"}},
    "account_list": {"account_list": {"accounts": ["an account", "another"]}},
}


# What an empty token breaks.
EMPTY_TOKEN = [("token", "string.min_len"), ("token", "string.pattern")]


async def push(world: World, request: PushRequest, call: Call | None = None) -> PushResponse:
    return await world.provider.push(request, call or new_call())


async def refusal(world: World, request: PushRequest) -> list[tuple[str, str]]:
    """Return the violations of a push that is refused before anything is sent."""
    with pytest.raises((InvalidRequest, UnknownApp, MessageTooLarge)) as raised:
        await push(world, request)
    assert world.calls == {}
    error: Any = raised.value
    return [(violation.field, violation.rule) for violation in error.violations]


# --- Which app.


@pytest.mark.parametrize(
    ("platforms", "request_", "chosen"),
    [
        ({"shop": "android"}, android(app="shop"), "shop"),
        ({"shop": "android"}, android(), "shop"),
        ({"shop": "android", "phone": "ios"}, android(), "shop"),
        ({"shop": "android", "phone": "ios"}, ios(), "phone"),
        ({"shop": "android", "phone": "ios"}, ios(app="phone"), "phone"),
        ({"shop": "android", "other": "android"}, android(app="other"), "other"),
        ({"shop": "android", "other": "android", "phone": "ios"}, ios(), "phone"),
    ],
)
async def test_app_is_the_named_one_or_the_only_one_of_the_platform(
    build: Build, platforms: dict[str, str], request_: PushRequest, chosen: str
) -> None:
    world, call = build(**platforms), new_call()
    await push(world, request_, call)
    assert world.calls == {chosen: 1}
    assert (call.provider, call.app, call.audience) == ("xg", chosen, "token")
    assert world.vendors[chosen].requests[0].headers["authorization"] == authorization(chosen, "key")


@pytest.mark.parametrize(
    ("platforms", "request_", "words"),
    [
        ({"shop": "android"}, android(app="store"), "names no configured app"),
        ({"shop": "android"}, android(app="SHOP"), "names no configured app"),
        ({"shop": "android"}, android(app=" shop"), "names no configured app"),
        ({"shop": "android"}, ios(app="phone"), "names no configured app"),
        ({"shop": "android", "other": "android"}, android(), "several apps are configured for the platform android"),
        ({"shop": "android"}, ios(), "no app is configured for the platform ios"),
        ({"phone": "ios"}, android(), "no app is configured for the platform android"),
    ],
)
async def test_app_that_cannot_be_told_is_unknown(
    build: Build, platforms: dict[str, str], request_: PushRequest, words: str
) -> None:
    world, call = build(**platforms), new_call()
    with pytest.raises(UnknownApp) as raised:
        await push(world, request_, call)
    assert words in raised.value.description
    assert [(violation.field, violation.rule) for violation in raised.value.violations] == [("app", "app.known")]
    assert world.calls == {}
    # The caller's own word must not become a label of metrics.
    assert call.app == ""


async def test_unknown_app_is_told_together_with_broken_rules(build: Build) -> None:
    request = android(app="secret-name", token="", stat_tag="x")
    world = build(shop="android")
    with pytest.raises(InvalidRequest) as raised:
        await push(world, request)
    found = [(violation.field, violation.rule) for violation in raised.value.violations]
    assert found == [("app", "app.known"), *EMPTY_TOKEN]
    assert "secret-name" not in str(raised.value)
    assert world.calls == {}


@pytest.mark.parametrize(
    ("platform", "request_", "description"),
    [
        ("android", ios(app="shop"), "is registered for android; the message is for ios"),
        ("ios", android(app="shop"), "is registered for ios; the message is for android"),
    ],
)
async def test_message_of_the_other_platform_is_invalid(
    build: Build, platform: str, request_: PushRequest, description: str
) -> None:
    world = build(shop=platform)
    with pytest.raises(InvalidRequest) as raised:
        await push(world, request_)
    (violation,) = raised.value.violations
    assert (violation.field, violation.rule, violation.description) == ("app", "app.platform", description)
    assert world.calls == {}


async def test_wrong_platform_is_told_together_with_broken_rules(build: Build) -> None:
    request = android(app="phone", token="t" * 65, environment="ENVIRONMENT_DEV")
    found = await refusal(build(phone="ios"), request)
    assert found[0] == ("app", "app.platform")
    assert sorted(found[1:]) == [("environment", "environment.ios_only"), ("token", "string.max_len")]


async def test_no_message_says_nothing_of_the_platform(build: Build) -> None:
    assert await refusal(build(shop="android"), PushRequest(app="shop", token="t")) == [("message", "required")]


async def test_empty_request_lacks_audience_and_message(build: Build) -> None:
    found = await refusal(build(shop="android"), PushRequest())
    assert sorted(found) == [("audience", "required"), ("message", "required")]


# --- Order of checks.


async def test_rules_come_before_the_size(build: Build) -> None:
    large = AndroidMessage(title="t", content="c" * 5000)
    world = build(shop="android")
    assert await refusal(world, android(android_message=large)) == [("message", "message.max_size")]
    assert await refusal(world, android(android_message=large, token="")) == EMPTY_TOKEN
    assert await refusal(world, android(android_message=large, app="store")) == [("app", "app.known")]


async def test_refused_requests_take_no_place_in_flight(build: Build) -> None:
    world = build(shop="android")
    for _ in range(5):
        await refusal(world, android(token=""))
    assert (await push(world, android())).outcome == OUTCOME_ACCEPTED


# --- validate_only.


@pytest.mark.parametrize("audience", AUDIENCES)
async def test_validate_only_answers_the_body_that_would_go_out(build: Build, audience: str) -> None:
    world = build(shop="android")
    fields = AUDIENCES[audience]
    validated = await push(world, android(validate_only=True, seq=7, **fields))
    assert world.calls == {}
    await push(world, android(seq=7, **fields))
    assert world.calls == {"shop": 1}
    assert validated == PushResponse(
        outcome=OUTCOME_VALIDATED, rendered_request=world.vendors["shop"].bodies[0].decode()
    )
    assert json.loads(validated.rendered_request)["audience_type"] == audience


async def test_validate_only_makes_every_check(build: Build) -> None:
    world = build(shop="android")
    large = AndroidMessage(title="t", content="c" * 5000)
    assert await refusal(world, android(validate_only=True, token="")) == EMPTY_TOKEN
    assert await refusal(world, android(validate_only=True, app="store")) == [("app", "app.known")]
    found = await refusal(world, android(validate_only=True, android_message=large))
    assert found == [("message", "message.max_size")]


# --- What is sent.


@pytest.mark.parametrize(("default", "named", "sent"), [
    ("product", None, "product"), ("dev", None, "dev"), ("dev", "ENVIRONMENT_PRODUCT", "product"),
    ("product", "ENVIRONMENT_DEV", "dev"),
])  # fmt: skip
async def test_environment_is_the_named_one_or_the_apps(
    build: Build, default: str, named: str | None, sent: str
) -> None:
    world = build(phone="ios", default_environment=default)
    await push(world, ios(environment=named))
    assert json.loads(world.vendors["phone"].bodies[0])["environment"] == sent


async def test_request_is_one_post_with_its_length(build: Build) -> None:
    world = build(shop="android")
    await push(world, android())
    (request,), (body,) = world.vendors["shop"].requests, world.vendors["shop"].bodies
    assert (request.method, str(request.url)) == ("POST", "https://shop.test/v3/push/app")
    assert request.headers["content-length"] == str(len(body))
    assert json.loads(body) == {
        "audience_type": "token",
        "token_list": ["a-token"],
        "platform": "android",
        "message_type": "message",
        "message": {"title": "a title", "content": "a content"},
    }


# --- What is answered.


async def test_answer_of_the_vendor_becomes_the_response(build: Build) -> None:
    world = build(phone="ios")
    body = b'{"seq": 7, "push_id": 3895624686, "ret_code": 0, "environment": "dev", "err_msg": "ok", "result": "[0]"}'
    world.vendors["phone"].replies.append((200, body))
    response = await push(world, ios(seq=7))
    assert (response.push_id, response.seq, response.environment) == ("3895624686", 7, ENVIRONMENT_DEV)
    assert (response.outcome, response.vendor_code, response.vendor_message) == (OUTCOME_ACCEPTED, 0, "ok")
    assert (response.result_json, response.attempts, response.replayed) == ('"[0]"', 1, False)
    assert 0 < response.vendor_latency.ToNanoseconds() < 5_000_000_000
    assert response.rendered_request == ""


@pytest.mark.parametrize("audience", ["token", "token_list", "account", "account_list"])
async def test_busy_vendor_is_asked_again(build: Build, audience: str) -> None:
    world = build(shop="android")
    world.vendors["shop"].replies += [BUSY, BUSY]
    response = await push(world, android(**AUDIENCES[audience]))
    assert (response.outcome, response.attempts) == (OUTCOME_ACCEPTED, 3)
    assert len(set(world.vendors["shop"].bodies)) == 1
    # Half of 0.1 s, then of 0.2 s.
    assert world.waits == [0.05, 0.1]


@pytest.mark.parametrize(("audience", "calls"), [("all", 1), ("tag", 1), *((name, 3) for name in list(AUDIENCES)[2:])])
async def test_vendor_that_stays_busy_is_asked_thrice_but_for_broadcasts_once(
    build: Build, audience: str, calls: int
) -> None:
    world = build(shop="android")
    world.vendors["shop"].replies += [BUSY] * 5
    with pytest.raises(VendorBusy) as raised:
        await push(world, android(**AUDIENCES[audience]))
    assert (world.calls, raised.value.attempts, raised.value.sent) == ({"shop": calls}, calls, "no")


async def test_code_that_is_classed_as_busy_is_repeated_as_busy(build: Build) -> None:
    world = build(shop="android", code_classes={10100: CodeClass.VENDOR_BUSY})
    world.vendors["shop"].replies.append((200, b'{"ret_code": 10100}'))
    assert (await push(world, android())).attempts == 2


@pytest.mark.parametrize(
    ("reply", "error"),
    [((200, b'{"ret_code": 10100}'), OutcomeUnknown), ((200, b"<html>"), OutcomeUnknown), ((503, b""), OutcomeUnknown),
     ((429, b""), QuotaExceeded)],
)  # fmt: skip
async def test_other_failures_are_not_repeated(build: Build, reply: tuple[int, bytes], error: type[PushError]) -> None:
    world = build(shop="android")
    world.vendors["shop"].replies.append(reply)
    with pytest.raises(error) as raised:
        await push(world, android())
    assert (world.calls, raised.value.attempts) == ({"shop": 1}, 1)


async def test_quota_names_the_app_and_its_configured_time(build: Build) -> None:
    world = build(shop="android", other="ios")
    world.vendors["shop"].replies.append((429, b""))
    with pytest.raises(QuotaExceeded) as raised:
        await push(world, android())
    assert (raised.value.subject, raised.value.retry_after_s) == ("app:shop", 60.0)


# --- Service and stop.


def test_service_is_that_of_the_contract(build: Build) -> None:
    services = build(shop="android").provider.services
    assert {name: list(methods) for name, methods in services.items()} == {"pushsidecar.xg.v1.PushService": ["Push"]}
    assert services["pushsidecar.xg.v1.PushService"]["Push"].request_type is PushRequest


async def test_stopped_provider_sends_nothing_but_still_validates(build: Build) -> None:
    world = build(shop="android", phone="ios")
    world.provider.stop()
    for request in (android(), ios()):
        with pytest.raises(ShuttingDown):
            await push(world, request)
    assert world.calls == {}
    assert (await push(world, android(validate_only=True))).outcome == OUTCOME_VALIDATED


async def test_nothing_of_request_or_credentials_is_in_a_repr(build: Build) -> None:
    world = build(shop="android")
    world.vendors["shop"].replies.append((200, b'{"ret_code": 10110, "err_msg": "a-token, a title, a content"}'))
    with pytest.raises(PushError) as raised:
        await push(world, android())
    error = raised.value
    shown = f"{error!r} {error} {error.vendor!r} {world.provider!r} {error.__cause__!r}"
    assert "10110" in shown
    assert not [
        secret for secret in ("a-token", "a title", "a content", authorization("shop", "key")) if secret in shown
    ]


async def test_request_without_a_message_is_not_told_of_an_app_that_follows_from_it(build: Build) -> None:
    world = build(shop="android", phone="ios")
    with pytest.raises(InvalidRequest) as raised:
        await push(world, PushRequest(), new_call())
    assert [violation.field for violation in raised.value.violations] == ["audience", "message"]
