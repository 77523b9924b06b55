"""Makes a `PushRequest` of the flags, or of the file, that `push-sidecar send` was given.

It checks what the flags alone can contradict. The rules of the contract are the sidecar's business.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Final

from google.protobuf import json_format

from pushsidecar.xg.v1 import (
    ENVIRONMENT_DEV,
    ENVIRONMENT_PRODUCT,
    TAG_OP_AND,
    TAG_OP_OR,
    Account,
    AccountList,
    AllDevices,
    PushRequest,
    TagAudience,
    TokenList,
)

_NOT_WITH_FILE: Final = (
    "to_token", "to_account", "to_tag", "tag_op", "to_all", "platform", "silent", "message_type", "title",
    "content", "data", "expire", "environment", "push_id", "seq",
)  # fmt: skip
_UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_MESSAGES: Final = {
    ("android", False): "android_notification",
    ("android", True): "android_message",
    ("ios", False): "ios_notification",
    ("ios", True): "ios_silent",
}
_INT64: Final = 2**63


class UsageError(Exception):
    """The flags or the file do not make a request."""


def read_request(args: argparse.Namespace) -> PushRequest:
    """Return the request; raises UsageError."""
    _check_texts(args)
    request = _read_file(args) if args.file else _read_flags(args)
    if args.app:
        request.app = args.app
    if args.request_id:
        request.request_id = args.request_id
    if args.validate_only:
        request.validate_only = True
    return request


def _check_texts(args: argparse.Namespace) -> None:
    """Refuse what came as bytes that are no text, which Python keeps as lone surrogates."""
    for name, value in vars(args).items():
        texts = value if isinstance(value, list) else [value]
        if name != "file" and any(isinstance(text, str) and not _is_text(text) for text in texts):
            raise UsageError(f"--{name.replace('_', '-')} is not UTF-8")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_file(args: argparse.Namespace) -> PushRequest:
    for name in _NOT_WITH_FILE:
        if getattr(args, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} does not go together with a file")
    try:
        text = sys.stdin.read() if args.file == "-" else Path(args.file).read_text(encoding="utf-8")
        # Editors of Windows begin a file with a byte order mark.
        return json_format.Parse(text.removeprefix("\ufeff"), PushRequest())
    except OSError as error:
        raise UsageError(f"cannot read {args.file}: {error.strerror}") from error
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise UsageError(f"{args.file} is no PushRequest in JSON: {error}") from error


def _read_flags(args: argparse.Namespace) -> PushRequest:
    request = PushRequest()
    _set_audience(request, args)
    _set_message(request, args)
    if args.expire is not None:
        request.expire_time.FromSeconds(_read_seconds(args.expire))
    if args.environment is not None:
        request.environment = ENVIRONMENT_PRODUCT if args.environment == "product" else ENVIRONMENT_DEV
    if args.push_id is not None:
        request.push_id = args.push_id
    if args.seq is not None:
        if not -_INT64 <= args.seq < _INT64:
            raise UsageError("--seq is a number of 64 bits")
        request.seq = args.seq
    return request


def _set_audience(request: PushRequest, args: argparse.Namespace) -> None:
    audiences = [args.to_token, args.to_account, args.to_tag, args.to_all]
    if sum(audience is not None for audience in audiences) != 1:
        raise UsageError("say to whom, in one way: --to-token, --to-account, --to-tag or --to-all")
    if args.tag_op is not None and args.to_tag is None:
        raise UsageError("--tag-op goes together with --to-tag")
    if args.to_token:
        if len(args.to_token) == 1:
            request.token = args.to_token[0]
        else:
            request.token_list.CopyFrom(TokenList(tokens=args.to_token))
    elif args.to_account:
        if len(args.to_account) == 1:
            request.account.CopyFrom(Account(account=args.to_account[0]))
        else:
            request.account_list.CopyFrom(AccountList(accounts=args.to_account))
    elif args.to_tag:
        if args.tag_op is None and len(args.to_tag) > 1:
            raise UsageError("several tags need --tag-op and, or --tag-op or")
        op = TAG_OP_AND if args.tag_op == "and" else TAG_OP_OR
        request.tag.CopyFrom(TagAudience(tags=args.to_tag, op=op))
    else:
        request.all.CopyFrom(AllDevices())


def _set_message(request: PushRequest, args: argparse.Namespace) -> None:
    kind = _message_type(args)
    message = getattr(request, kind)
    message.SetInParent()
    if kind == "ios_silent":
        if args.title is not None or args.content is not None:
            raise UsageError("a silent iOS push has no --title and no --content: give it --data")
    else:
        message.title = args.title or ""
        message.content = args.content or ""
    for pair in args.data or ():
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise UsageError("--data is KEY=VALUE")
        custom = message.custom if kind.startswith("ios") else message.custom_content
        custom.fields.entries[key] = value


def _message_type(args: argparse.Namespace) -> str:
    if args.message_type is not None:
        if args.platform is not None or args.silent is not None:
            raise UsageError("--message-type stands in the place of --platform and --silent")
        return str(args.message_type)
    if args.platform is None:
        raise UsageError("say for which platform: --platform android or --platform ios")
    return _MESSAGES[args.platform, bool(args.silent)]


def _read_seconds(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    if found is None:
        raise UsageError("--expire is a time such as 90, 90s, 10m, 2h or 3d")
    return int(found[1]) * _UNITS_S[found[2]]
