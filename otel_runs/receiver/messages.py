"""The messages that OTLP answers with.

Source: OpenTelemetry Protocol specification, "Full Success", "Partial Success", "Failures".
"""

from __future__ import annotations

from typing import Final

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc import code_pb2 as grpc_code
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_runs.receiver.answers import Answer
from otel_runs.receiver.request import Encoding, Outcome, Signal

CONTENT_TYPES: Final[dict[Encoding, str]] = {"protobuf": "application/x-protobuf", "json": "application/json"}


def response(signal: Signal, outcome: Outcome) -> Message:
    """The answer to a request of which everything, or a part, is stored."""
    if signal == "traces":
        traces = ExportTraceServiceResponse()
        if outcome.refused:  # it must stay unset otherwise
            traces.partial_success.rejected_spans = outcome.refused
            traces.partial_success.error_message = outcome.message
        return traces
    logs = ExportLogsServiceResponse()
    if outcome.refused:
        logs.partial_success.rejected_log_records = outcome.refused
        logs.partial_success.error_message = outcome.message
    return logs


def status(answer: Answer) -> Status:
    """The answer to a request that failed."""
    message = Status(code=answer.grpc, message=answer.message)
    if answer.retry_seconds is not None:
        retry = RetryInfo()
        retry.retry_delay.seconds = answer.retry_seconds
        message.details.add().Pack(retry)
    elif answer.grpc == grpc_code.INVALID_ARGUMENT:
        violation = BadRequest.FieldViolation(description=answer.message)
        message.details.add().Pack(BadRequest(field_violations=[violation]))
    return message


def encoded(message: Message, encoding: Encoding) -> bytes:
    """The message as a request's sender reads it."""
    content: bytes = MessageToJson(message, indent=None).encode() if encoding == "json" else message.SerializeToString()
    return content
