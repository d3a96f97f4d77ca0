"""Export requests, encoded before the clock runs: the spans of ``traces.py`` as OTLP protobuf."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.traces import BATCH, pipeline_batches
from otel_runs.attributes import PARENT_RUN
from otel_runs.export.id_generator import TimeOrderedIdGenerator
from otel_runs.ids import run_id_from_trace

STEPS = 9
"""Below each run: a trace has ten spans."""
_LENGTH = struct.Struct(">I")
_IDS = TimeOrderedIdGenerator()


def payloads(size: int) -> Iterator[bytes]:
    """Requests without end, each of other traces.

    The SDK makes one sample; afterwards only the trace's id changes, which takes microseconds a span instead of eighty.

    Args:
        size: spans a request. Where it is no multiple of ten, traces are cut, as they are by every batch.
    """
    sample = _sample(size)
    while True:
        new_ids: dict[bytes, bytes] = {}
        for request in sample:
            _rename(request, new_ids)
            yield request.SerializeToString()


def write_payloads(file: Path, size: int, spans: int) -> None:
    """Write requests of so many spans in all, for the process that sends them."""
    with file.open("wb") as out:
        for payload in islice(payloads(size), -(-spans // size)):
            out.write(_LENGTH.pack(len(payload)) + payload)


def read_payloads(file: Path) -> Iterable[bytes]:
    """What ``write_payloads`` wrote."""
    with file.open("rb") as source:
        while length := source.read(_LENGTH.size):
            yield source.read(_LENGTH.unpack(length)[0])


def _rename(request: ExportTraceServiceRequest, new_ids: dict[bytes, bytes]) -> None:
    for span in request.resource_spans[0].scope_spans[0].spans:
        trace_id = new_ids.get(span.trace_id)
        if trace_id is None:
            trace_id = new_ids[span.trace_id] = _IDS.generate_trace_id().to_bytes(16, "big")
        span.trace_id = trace_id
        for attribute in span.attributes:
            if attribute.key == PARENT_RUN:
                attribute.value.string_value = run_id_from_trace(trace_id.hex())


def _sample(size: int) -> list[ExportTraceServiceRequest]:
    """Requests of whole traces in all, so that the sample may be sent again under other trace ids."""
    traces = max(size, BATCH)  # ten times as many spans: a whole number of requests
    spans = [span for batch in pipeline_batches(traces, STEPS) for span in batch]
    return [encode_spans(spans[first : first + size]) for first in range(0, len(spans), size)]
