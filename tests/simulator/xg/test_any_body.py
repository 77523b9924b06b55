"""Whatever is sent, the vendor answers, in its documented shape."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.simulator.exchange import Request
from sidecar.simulator.xg.codes import MESSAGES
from sidecar.simulator.xg.vendor import XgVendor

FIELDS = [
    *("audience_type", "platform", "message_type", "message", "expire_time", "send_time", "multi_pkg"),
    *("loop_times", "loop_interval", "environment", "stat_tag", "seq", "push_id", "tag_list", "token_list"),
    *("account_list", "account_type", "account_push_type", "title", "content", "accept_time", "android"),
    *("ios", "aps", "alert", "custom", "custom_content", "action", "action_type", "browser", "url"),
    *("intent", "n_id", "ring", "tags", "op", "start", "end", "hour", "min"),
]
AUDIENCES = ["all", "tag", "token", "token_list", "account", "account_list"]
WORDS = [*AUDIENCES, "android", "notify", "token1", "account1", "AND", "0", "13", "dev", "https://a.example"]

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(WORDS) | st.text()
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner),
    max_leaves=12,
)
likely = st.fixed_dictionaries(
    {
        "audience_type": st.sampled_from(AUDIENCES),
        "platform": st.just("android"),
        "message_type": st.sampled_from(["notify", "message"]),
        "message": st.fixed_dictionaries({"title": st.text(), "content": st.text()}, optional={"android": values}),
    },
    optional={name: values for name in FIELDS if name not in {"audience_type", "platform", "message_type", "message"}},
)
numbers = itertools.count(1)
AUTHORIZATION = "Basic c2ltdWxhdGVkLWFuZHJvaWQtYXBwOm5vdC1hLXNlY3JldC1hbmRyb2lk"


@settings(deadline=None)  # of a busy machine
@given(body=values | likely)
def test_every_body_gets_an_answer(body):
    vendor = XgVendor(lambda: 0.0)
    headers = {"authorization": AUTHORIZATION, "content-type": "application/json"}
    request = Request(next(numbers), 0.0, "POST", "/v3/push/app", headers, body)
    assert vendor.labels(request).app_id == "simulated-android-app"
    reply = vendor.answer(request)
    assert reply.status == 200
    assert set(reply.json) >= {"seq", "push_id", "ret_code", "environment"}
    assert reply.json["ret_code"] in {0, *MESSAGES}
    assert (reply.delivery is not None) <= (reply.json["ret_code"] in {0, 10302, 10304})
