"""A plain request to each audience, for tests of what its answer means."""

from pushsidecar.xg.v1 import push_service_pb2 as pb

AUDIENCES = ["all", "tag", "token", "token_list", "account", "account_list"]
LISTS = ["token_list", "account_list"]


def request_to(audience: str, targets: int = 3, *, account: str = "account") -> pb.PushRequest:
    """Return a request to one audience: `token-0` and on, or `account-0` and on by another word."""
    request = pb.PushRequest()
    request.android_message.title, request.android_message.content = "a title", "a content"
    if audience == "all":
        request.all.SetInParent()
    elif audience == "tag":
        request.tag.tags.append("a tag")
    elif audience == "token":
        request.token = "token-0"
    elif audience == "account":
        request.account.account = f"{account}-0"
    elif audience == "token_list":
        request.token_list.tokens.extend(f"token-{n}" for n in range(targets))
    else:
        request.account_list.accounts.extend(f"{account}-{n}" for n in range(targets))
    return request
