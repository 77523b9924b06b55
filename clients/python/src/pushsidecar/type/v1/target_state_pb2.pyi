from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class TargetState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TARGET_STATE_UNSPECIFIED: _ClassVar[TargetState]
    TARGET_STATE_ACCEPTED: _ClassVar[TargetState]
    TARGET_STATE_REFUSED: _ClassVar[TargetState]
    TARGET_STATE_UNKNOWN: _ClassVar[TargetState]
    TARGET_STATE_NOT_ATTEMPTED: _ClassVar[TargetState]
TARGET_STATE_UNSPECIFIED: TargetState
TARGET_STATE_ACCEPTED: TargetState
TARGET_STATE_REFUSED: TargetState
TARGET_STATE_UNKNOWN: TargetState
TARGET_STATE_NOT_ATTEMPTED: TargetState
