from pushsidecar.xg.v1 import content_pb2 as _content_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IconType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ICON_TYPE_UNSPECIFIED: _ClassVar[IconType]
    ICON_TYPE_IN_APP: _ClassVar[IconType]
    ICON_TYPE_UPLOADED: _ClassVar[IconType]
ICON_TYPE_UNSPECIFIED: IconType
ICON_TYPE_IN_APP: IconType
ICON_TYPE_UPLOADED: IconType

class AndroidNotification(_message.Message):
    __slots__ = ("title", "content", "accept_time", "xg_media_resources", "n_id", "builder_id", "ring", "ring_raw", "vibrate", "lights", "clearable", "icon_type", "icon_res", "style_id", "small_icon", "action", "custom_content")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_TIME_FIELD_NUMBER: _ClassVar[int]
    XG_MEDIA_RESOURCES_FIELD_NUMBER: _ClassVar[int]
    N_ID_FIELD_NUMBER: _ClassVar[int]
    BUILDER_ID_FIELD_NUMBER: _ClassVar[int]
    RING_FIELD_NUMBER: _ClassVar[int]
    RING_RAW_FIELD_NUMBER: _ClassVar[int]
    VIBRATE_FIELD_NUMBER: _ClassVar[int]
    LIGHTS_FIELD_NUMBER: _ClassVar[int]
    CLEARABLE_FIELD_NUMBER: _ClassVar[int]
    ICON_TYPE_FIELD_NUMBER: _ClassVar[int]
    ICON_RES_FIELD_NUMBER: _ClassVar[int]
    STYLE_ID_FIELD_NUMBER: _ClassVar[int]
    SMALL_ICON_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_CONTENT_FIELD_NUMBER: _ClassVar[int]
    title: str
    content: str
    accept_time: _containers.RepeatedCompositeFieldContainer[_content_pb2.AcceptTime]
    xg_media_resources: str
    n_id: int
    builder_id: int
    ring: bool
    ring_raw: str
    vibrate: bool
    lights: bool
    clearable: bool
    icon_type: IconType
    icon_res: str
    style_id: int
    small_icon: str
    action: Action
    custom_content: _content_pb2.CustomContent
    def __init__(self, title: _Optional[str] = ..., content: _Optional[str] = ..., accept_time: _Optional[_Iterable[_Union[_content_pb2.AcceptTime, _Mapping]]] = ..., xg_media_resources: _Optional[str] = ..., n_id: _Optional[int] = ..., builder_id: _Optional[int] = ..., ring: bool = ..., ring_raw: _Optional[str] = ..., vibrate: bool = ..., lights: bool = ..., clearable: bool = ..., icon_type: _Optional[_Union[IconType, str]] = ..., icon_res: _Optional[str] = ..., style_id: _Optional[int] = ..., small_icon: _Optional[str] = ..., action: _Optional[_Union[Action, _Mapping]] = ..., custom_content: _Optional[_Union[_content_pb2.CustomContent, _Mapping]] = ...) -> None: ...

class AndroidMessage(_message.Message):
    __slots__ = ("title", "content", "accept_time", "custom_content")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_TIME_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_CONTENT_FIELD_NUMBER: _ClassVar[int]
    title: str
    content: str
    accept_time: _containers.RepeatedCompositeFieldContainer[_content_pb2.AcceptTime]
    custom_content: _content_pb2.CustomContent
    def __init__(self, title: _Optional[str] = ..., content: _Optional[str] = ..., accept_time: _Optional[_Iterable[_Union[_content_pb2.AcceptTime, _Mapping]]] = ..., custom_content: _Optional[_Union[_content_pb2.CustomContent, _Mapping]] = ...) -> None: ...

class Action(_message.Message):
    __slots__ = ("activity", "browser", "intent")
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    BROWSER_FIELD_NUMBER: _ClassVar[int]
    INTENT_FIELD_NUMBER: _ClassVar[int]
    activity: ActivityAction
    browser: BrowserAction
    intent: str
    def __init__(self, activity: _Optional[_Union[ActivityAction, _Mapping]] = ..., browser: _Optional[_Union[BrowserAction, _Mapping]] = ..., intent: _Optional[str] = ...) -> None: ...

class ActivityAction(_message.Message):
    __slots__ = ("activity", "intent_flag", "pending_intent_flag")
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    INTENT_FLAG_FIELD_NUMBER: _ClassVar[int]
    PENDING_INTENT_FLAG_FIELD_NUMBER: _ClassVar[int]
    activity: str
    intent_flag: int
    pending_intent_flag: int
    def __init__(self, activity: _Optional[str] = ..., intent_flag: _Optional[int] = ..., pending_intent_flag: _Optional[int] = ...) -> None: ...

class BrowserAction(_message.Message):
    __slots__ = ("url", "confirm")
    URL_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    url: str
    confirm: bool
    def __init__(self, url: _Optional[str] = ..., confirm: bool = ...) -> None: ...
