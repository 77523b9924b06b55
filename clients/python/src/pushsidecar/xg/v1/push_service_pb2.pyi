import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pushsidecar.type.v1 import target_state_pb2 as _target_state_pb2
from pushsidecar.xg.v1 import android_pb2 as _android_pb2
from pushsidecar.xg.v1 import audience_pb2 as _audience_pb2
from pushsidecar.xg.v1 import ios_pb2 as _ios_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Environment(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENVIRONMENT_UNSPECIFIED: _ClassVar[Environment]
    ENVIRONMENT_PRODUCT: _ClassVar[Environment]
    ENVIRONMENT_DEV: _ClassVar[Environment]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_ACCEPTED: _ClassVar[Outcome]
    OUTCOME_PARTIAL: _ClassVar[Outcome]
    OUTCOME_VALIDATED: _ClassVar[Outcome]
ENVIRONMENT_UNSPECIFIED: Environment
ENVIRONMENT_PRODUCT: Environment
ENVIRONMENT_DEV: Environment
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_ACCEPTED: Outcome
OUTCOME_PARTIAL: Outcome
OUTCOME_VALIDATED: Outcome

class PushRequest(_message.Message):
    __slots__ = ("app", "all", "tag", "token", "token_list", "account", "account_list", "android_notification", "android_message", "ios_notification", "ios_silent", "expire_time", "send_time", "multi_pkg", "loop", "environment", "stat_tag", "seq", "push_id", "validate_only", "request_id")
    APP_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_LIST_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_LIST_FIELD_NUMBER: _ClassVar[int]
    ANDROID_NOTIFICATION_FIELD_NUMBER: _ClassVar[int]
    ANDROID_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    IOS_NOTIFICATION_FIELD_NUMBER: _ClassVar[int]
    IOS_SILENT_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    SEND_TIME_FIELD_NUMBER: _ClassVar[int]
    MULTI_PKG_FIELD_NUMBER: _ClassVar[int]
    LOOP_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    STAT_TAG_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    PUSH_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    app: str
    all: _audience_pb2.AllDevices
    tag: _audience_pb2.TagAudience
    token: str
    token_list: _audience_pb2.TokenList
    account: _audience_pb2.Account
    account_list: _audience_pb2.AccountList
    android_notification: _android_pb2.AndroidNotification
    android_message: _android_pb2.AndroidMessage
    ios_notification: _ios_pb2.IosNotification
    ios_silent: _ios_pb2.IosSilent
    expire_time: _duration_pb2.Duration
    send_time: _timestamp_pb2.Timestamp
    multi_pkg: bool
    loop: Loop
    environment: Environment
    stat_tag: str
    seq: int
    push_id: str
    validate_only: bool
    request_id: str
    def __init__(self, app: _Optional[str] = ..., all: _Optional[_Union[_audience_pb2.AllDevices, _Mapping]] = ..., tag: _Optional[_Union[_audience_pb2.TagAudience, _Mapping]] = ..., token: _Optional[str] = ..., token_list: _Optional[_Union[_audience_pb2.TokenList, _Mapping]] = ..., account: _Optional[_Union[_audience_pb2.Account, _Mapping]] = ..., account_list: _Optional[_Union[_audience_pb2.AccountList, _Mapping]] = ..., android_notification: _Optional[_Union[_android_pb2.AndroidNotification, _Mapping]] = ..., android_message: _Optional[_Union[_android_pb2.AndroidMessage, _Mapping]] = ..., ios_notification: _Optional[_Union[_ios_pb2.IosNotification, _Mapping]] = ..., ios_silent: _Optional[_Union[_ios_pb2.IosSilent, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., send_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., multi_pkg: bool = ..., loop: _Optional[_Union[Loop, _Mapping]] = ..., environment: _Optional[_Union[Environment, str]] = ..., stat_tag: _Optional[str] = ..., seq: _Optional[int] = ..., push_id: _Optional[str] = ..., validate_only: bool = ..., request_id: _Optional[str] = ...) -> None: ...

class Loop(_message.Message):
    __slots__ = ("times", "interval_days")
    TIMES_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_DAYS_FIELD_NUMBER: _ClassVar[int]
    times: int
    interval_days: int
    def __init__(self, times: _Optional[int] = ..., interval_days: _Optional[int] = ...) -> None: ...

class PushResponse(_message.Message):
    __slots__ = ("push_id", "seq", "environment", "outcome", "vendor_code", "vendor_message", "results", "result_json", "attempts", "replayed", "vendor_latency", "rendered_request")
    PUSH_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    VENDOR_CODE_FIELD_NUMBER: _ClassVar[int]
    VENDOR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    VENDOR_LATENCY_FIELD_NUMBER: _ClassVar[int]
    RENDERED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    push_id: str
    seq: int
    environment: Environment
    outcome: Outcome
    vendor_code: int
    vendor_message: str
    results: _containers.RepeatedCompositeFieldContainer[TargetResult]
    result_json: str
    attempts: int
    replayed: bool
    vendor_latency: _duration_pb2.Duration
    rendered_request: str
    def __init__(self, push_id: _Optional[str] = ..., seq: _Optional[int] = ..., environment: _Optional[_Union[Environment, str]] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., vendor_code: _Optional[int] = ..., vendor_message: _Optional[str] = ..., results: _Optional[_Iterable[_Union[TargetResult, _Mapping]]] = ..., result_json: _Optional[str] = ..., attempts: _Optional[int] = ..., replayed: bool = ..., vendor_latency: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., rendered_request: _Optional[str] = ...) -> None: ...

class TargetResult(_message.Message):
    __slots__ = ("index", "state", "vendor_code")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    VENDOR_CODE_FIELD_NUMBER: _ClassVar[int]
    index: int
    state: _target_state_pb2.TargetState
    vendor_code: int
    def __init__(self, index: _Optional[int] = ..., state: _Optional[_Union[_target_state_pb2.TargetState, str]] = ..., vendor_code: _Optional[int] = ...) -> None: ...
