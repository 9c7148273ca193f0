from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PingRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PongResponse(_message.Message):
    __slots__ = ("frontend_capabilities", "graph_capabilities")
    FRONTEND_CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    GRAPH_CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    frontend_capabilities: _containers.RepeatedCompositeFieldContainer[Capability]
    graph_capabilities: _containers.RepeatedCompositeFieldContainer[Capability]
    def __init__(self, frontend_capabilities: _Optional[_Iterable[_Union[Capability, _Mapping]]] = ..., graph_capabilities: _Optional[_Iterable[_Union[Capability, _Mapping]]] = ...) -> None: ...

class Capability(_message.Message):
    __slots__ = ("id", "enabled")
    ID_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    id: str
    enabled: bool
    def __init__(self, id: _Optional[str] = ..., enabled: bool = ...) -> None: ...
