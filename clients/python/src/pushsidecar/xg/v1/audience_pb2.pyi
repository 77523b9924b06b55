from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TagOp(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TAG_OP_UNSPECIFIED: _ClassVar[TagOp]
    TAG_OP_AND: _ClassVar[TagOp]
    TAG_OP_OR: _ClassVar[TagOp]

class AccountPushType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACCOUNT_PUSH_TYPE_UNSPECIFIED: _ClassVar[AccountPushType]
    ACCOUNT_PUSH_TYPE_NEWEST_DEVICE: _ClassVar[AccountPushType]
    ACCOUNT_PUSH_TYPE_ALL_DEVICES: _ClassVar[AccountPushType]
TAG_OP_UNSPECIFIED: TagOp
TAG_OP_AND: TagOp
TAG_OP_OR: TagOp
ACCOUNT_PUSH_TYPE_UNSPECIFIED: AccountPushType
ACCOUNT_PUSH_TYPE_NEWEST_DEVICE: AccountPushType
ACCOUNT_PUSH_TYPE_ALL_DEVICES: AccountPushType

class AllDevices(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TagAudience(_message.Message):
    __slots__ = ("tags", "op")
    TAGS_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.RepeatedScalarFieldContainer[str]
    op: TagOp
    def __init__(self, tags: _Optional[_Iterable[str]] = ..., op: _Optional[_Union[TagOp, str]] = ...) -> None: ...

class TokenList(_message.Message):
    __slots__ = ("tokens",)
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, tokens: _Optional[_Iterable[str]] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("account", "account_type", "account_push_type")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_PUSH_TYPE_FIELD_NUMBER: _ClassVar[int]
    account: str
    account_type: int
    account_push_type: AccountPushType
    def __init__(self, account: _Optional[str] = ..., account_type: _Optional[int] = ..., account_push_type: _Optional[_Union[AccountPushType, str]] = ...) -> None: ...

class AccountList(_message.Message):
    __slots__ = ("accounts",)
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, accounts: _Optional[_Iterable[str]] = ...) -> None: ...
