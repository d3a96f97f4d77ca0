"""OTLP's messages, but with each attribute of a span or log record left as the bytes in which it came.

On the wire a message inside another one looks like bytes. Most attributes come again and again, and to look bytes up
takes a third of the time in which protobuf makes objects of them and of their value (protobuf_attributes.py).

Source: protobuf.dev, encoding; opentelemetry-proto trace/v1/trace.proto, logs/v1/logs.proto.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

_AS_THEY_ARE: Final[tuple[Any, ...]] = (common_pb2, resource_pb2)
_CHANGED: Final[tuple[Any, ...]] = (trace_pb2, logs_pb2)
_LEFT: Final = frozenset({f".{kind.DESCRIPTOR.full_name}" for kind in (common_pb2.KeyValue, common_pb2.AnyValue)})


def _pool() -> DescriptorPool:
    """The files again, in a pool of their own: in one pool, a name has one meaning."""
    pool = DescriptorPool()
    for file in (*_AS_THEY_ARE, *_CHANGED):
        copy = FileDescriptorProto()
        file.DESCRIPTOR.CopyToProto(copy)
        if file in _CHANGED:
            for message in copy.message_type:
                _leave_bytes(message)
        pool.AddSerializedFile(copy.SerializeToString())
    return pool


def _leave_bytes(message: DescriptorProto) -> None:
    for field in message.field:
        if field.type_name in _LEFT:
            field.type = FieldDescriptorProto.TYPE_BYTES
            field.ClearField("type_name")
    for inner in message.nested_type:
        _leave_bytes(inner)


def _class_of(pool: DescriptorPool, official: type[Message]) -> type[Any]:
    kind: type[Any] = GetMessageClass(pool.FindMessageTypeByName(official.DESCRIPTOR.full_name))
    return kind


_POOL: Final = _pool()
TracesData: Final = _class_of(_POOL, trace_pb2.TracesData)
LogsData: Final = _class_of(_POOL, logs_pb2.LogsData)
