from pushsidecar.xg.v1 import content_pb2 as _content_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IosNotification(_message.Message):
    __slots__ = ("title", "content", "alert", "badge_type", "sound", "category", "thread_id", "mutable_content", "content_available", "custom", "extra")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    ALERT_FIELD_NUMBER: _ClassVar[int]
    BADGE_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOUND_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    MUTABLE_CONTENT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    title: str
    content: str
    alert: IosAlert
    badge_type: int
    sound: str
    category: str
    thread_id: str
    mutable_content: bool
    content_available: bool
    custom: _content_pb2.IosCustom
    extra: _content_pb2.CustomContent
    def __init__(self, title: _Optional[str] = ..., content: _Optional[str] = ..., alert: _Optional[_Union[IosAlert, _Mapping]] = ..., badge_type: _Optional[int] = ..., sound: _Optional[str] = ..., category: _Optional[str] = ..., thread_id: _Optional[str] = ..., mutable_content: bool = ..., content_available: bool = ..., custom: _Optional[_Union[_content_pb2.IosCustom, _Mapping]] = ..., extra: _Optional[_Union[_content_pb2.CustomContent, _Mapping]] = ...) -> None: ...

class IosSilent(_message.Message):
    __slots__ = ("custom", "extra")
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    custom: _content_pb2.IosCustom
    extra: _content_pb2.CustomContent
    def __init__(self, custom: _Optional[_Union[_content_pb2.IosCustom, _Mapping]] = ..., extra: _Optional[_Union[_content_pb2.CustomContent, _Mapping]] = ...) -> None: ...

class IosAlert(_message.Message):
    __slots__ = ("title", "subtitle", "body", "title_loc_key", "title_loc_args", "subtitle_loc_key", "subtitle_loc_args", "action_loc_key", "loc_key", "loc_args", "launch_image")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SUBTITLE_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    TITLE_LOC_KEY_FIELD_NUMBER: _ClassVar[int]
    TITLE_LOC_ARGS_FIELD_NUMBER: _ClassVar[int]
    SUBTITLE_LOC_KEY_FIELD_NUMBER: _ClassVar[int]
    SUBTITLE_LOC_ARGS_FIELD_NUMBER: _ClassVar[int]
    ACTION_LOC_KEY_FIELD_NUMBER: _ClassVar[int]
    LOC_KEY_FIELD_NUMBER: _ClassVar[int]
    LOC_ARGS_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_IMAGE_FIELD_NUMBER: _ClassVar[int]
    title: str
    subtitle: str
    body: str
    title_loc_key: str
    title_loc_args: _containers.RepeatedScalarFieldContainer[str]
    subtitle_loc_key: str
    subtitle_loc_args: _containers.RepeatedScalarFieldContainer[str]
    action_loc_key: str
    loc_key: str
    loc_args: _containers.RepeatedScalarFieldContainer[str]
    launch_image: str
    def __init__(self, title: _Optional[str] = ..., subtitle: _Optional[str] = ..., body: _Optional[str] = ..., title_loc_key: _Optional[str] = ..., title_loc_args: _Optional[_Iterable[str]] = ..., subtitle_loc_key: _Optional[str] = ..., subtitle_loc_args: _Optional[_Iterable[str]] = ..., action_loc_key: _Optional[str] = ..., loc_key: _Optional[str] = ..., loc_args: _Optional[_Iterable[str]] = ..., launch_image: _Optional[str] = ...) -> None: ...
