"""What is checked before the body: path, method, credentials, content type, JSON."""

import base64
import json

import pytest

from sidecar.simulator.xg.apps import App


def credentials(text):
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize("path", ["/", "/v3/push", "/v3/push/app/", "/v2/push/app", "/V3/push/app"])
def test_other_path_is_404(post, android, path):
    assert post(android(), path=path).status == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_other_method_is_405(post, android, method):
    reply = post(android(), method=method)
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (credentials("simulated-android-app:wrong"), 10104),
        (credentials("simulated-android-app:not-a-secret-ios"), 10104),
        (credentials("simulated-android-app:"), 10104),
        (credentials("simulated-android-app"), 10104),
        (credentials("nobody:not-a-secret-android"), 10606),
        (credentials(":"), 10606),
        ({"authorization": ""}, 10104),
        ({"authorization": "Bearer abc"}, 10104),
        ({"authorization": "Basic ***"}, 10104),
        ({"authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()}, 10104),
        ({"authorization": "basic c2ltdWxhdGVkLWFuZHJvaWQtYXBwOm5vdC1hLXNlY3JldC1hbmRyb2lk"}, 0),
    ],
)
def test_credentials(ask, android, headers, code):
    answer = ask(android(seq=5), headers=headers)
    assert (answer["ret_code"], answer["seq"]) == (code, 5)


def test_secret_key_may_hold_colons(ask, android, vendor):
    vendor.apps["x"] = App("x", "a:b:c", "android", devices={"token1"})
    assert ask(android(), headers=credentials("x:a:b:c"))["ret_code"] == 0


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; Charset=UTF-8", 200),
        ('application/json; charset="utf-8"', 200),
        ("application/json;charset=gbk", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
def test_content_type(post, android, content_type, status):
    assert post(android(), headers={"content-type": content_type}).status == status


@pytest.mark.parametrize(
    ("coding", "status"),
    [
        ("", 200),
        ("identity", 200),
        ("Identity, identity", 200),
        ("gzip", 415),
        ("GZIP", 415),
        ("identity, gzip", 415),
        ("deflate", 415),
        ("br", 415),
        ("nonsense", 415),
    ],
)
def test_content_coding(post, android, coding, status):
    reply = post(android(), headers={"content-encoding": coding})
    assert (reply.status, reply.headers.get("Accept-Encoding")) == (status, "identity" if status == 415 else None)
    assert (reply.delivery is None) is (status == 415)


@pytest.mark.parametrize(("levels", "code"), [(128, 0), (129, 10107)])
def test_nesting_of_the_whole_body(ask, android, levels, code):
    inner = "[" * (levels - 3) + "]" * (levels - 3)  # inside of the body, `message` and `custom_content`
    raw = json.dumps(android({"custom_content": {"deep": "HERE"}})).replace('"HERE"', inner).encode()
    assert ask(raw)["ret_code"] == code


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"hello",
        b'{"seq": 5,}',
        b'{"seq": 5} {}',
        b'{"seq": NaN}',
        b'{"seq": Infinity}',
        b'\xef\xbb\xbf{"seq": 5}',
        '{"seq": 5}'.encode("utf-16"),
        b'{"seq": 5, "x": "\xff"}',
        b'{"seq": 5, "x": "\\ud800"}',
        b'{"seq": 5, "x": "\n"}',
        b"{'seq': 5}",
        b"[" * 100_000,
        b'{"seq": 5, "x": ' + b"9" * 5000 + b"}",
        b"[]",
        b'"text"',
        b"null",
        b"5",
    ],
)
def test_body_that_is_no_json_object_is_10107_with_seq_0(ask, raw):
    answer = ask(raw)
    assert (answer["ret_code"], answer["seq"]) == (10107, 0)


def test_escaped_pairs_of_surrogates_are_json(ask, android):
    raw = json.dumps(android({"title": "\N{GRINNING FACE}"})).encode()
    assert b"\\ud83d\\ude00" in raw
    assert ask(raw)["ret_code"] == 0


def test_refusal_has_the_required_parts_and_the_documents_words(ask, android):
    assert ask(android(seq=-7, push_id="9", platform="all")) == {
        "seq": -7,
        "push_id": "0",
        "ret_code": 10106,
        "environment": "product",
        "err_msg": "当前推送类型不支持多平台推送!",
    }


@pytest.mark.parametrize("kind", [[], {}, 1, None])
def test_labels_of_an_odd_audience_are_empty(ask, android, kind):
    assert ask(android(audience_type=kind))["ret_code"] in {10102, 10103}


@pytest.mark.parametrize("seq", [2**63 - 1, -(2**63)])
def test_extreme_seq_is_echoed(ask, android, seq):
    assert ask(android(seq=seq))["seq"] == seq


@pytest.mark.parametrize(("asked", "answered"), [("dev", "dev"), ("prod", "product"), (5, "product")])
def test_refusal_has_the_environment_that_was_asked_for(ask, ios, asked, answered):
    refused = ask(ios(environment=asked, expire_time=-1))
    assert (refused["ret_code"], refused["environment"]) == (10103, answered)


@pytest.mark.parametrize(("given", "reason"), [("loop_times", "loop_interval"), ("loop_interval", "loop_times")])
def test_half_a_loop_names_the_other_half(post, android, given, reason):
    assert post(android(audience_type="all", **{given: 1})).reason == f"{reason} is missing"


@pytest.mark.parametrize("seq", ["5", 1.0, True, None, [], 2**63])
def test_unusable_seq_is_echoed_as_0(ask, android, seq):
    assert ask(android(seq=seq))["seq"] == 0
