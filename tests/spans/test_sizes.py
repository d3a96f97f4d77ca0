"""A small request does not become large: what it may hold is bounded, and said."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import pytest

from otel_runs.errors import DecodeError, TooLargeError
from otel_runs.spans.from_otlp_json import spans_from_json, started_spans_from_json_logs
from otel_runs.spans.from_otlp_protobuf import parts_from_protobuf
from otel_runs.spans.protobuf_wire import delimited
from otel_runs.spans.sizes import MOST
from tests.spans.otlp import LIMITS, document, otlp_span, pairs, traces

SIZE = 20_000_000
TOO_MANY = r"more than \d+ (spans, scopes and resources|objects and lists|fields)"
Signal = Literal["traces", "logs"]


def within(content: bytes, *numbers: int) -> bytes:
    """A message inside of others: the last number is that of the innermost field."""
    for number in reversed(numbers):
        content = delimited(number, content)
    return content


def many(unit: bytes, size: int = SIZE) -> bytes:
    return unit * (size // len(unit))


EMPTY_EVENT, EMPTY_SPAN, EMPTY_RESOURCE, EMPTY_ATTRIBUTE = b"\x5a\x00", b"\x12\x00", b"\x0a\x00", b"\x4a\x00"
UNKNOWN = b"\x50\x00"
GROUP = b"\x4b" + b"\x08\x01" * 998 + b"\x4c"
"""One unknown field, with a thousand in it."""
PROTOBUF: dict[str, Callable[[int], bytes]] = {
    "unknown fields": lambda size: many(UNKNOWN, size),
    "unknown groups": lambda size: many(GROUP, size),
    "empty resources": lambda size: many(EMPTY_RESOURCE, size),
    "empty scopes": lambda size: within(many(EMPTY_SPAN, size), 1),
    "empty spans": lambda size: within(many(EMPTY_SPAN, size), 1, 2),
    "empty spans and unknown fields by turns": lambda size: within(many(EMPTY_SPAN + UNKNOWN, size), 1, 2),
    "scopes of many empty spans": lambda size: within(many(within(many(EMPTY_SPAN, 60_000), 2), size), 1),
}
IN_A_SPAN: dict[str, Callable[[int], bytes]] = {
    "empty events": lambda size: within(many(EMPTY_EVENT, size), 1, 2, 2),
    "empty attributes": lambda size: within(many(EMPTY_ATTRIBUTE, size), 1, 2, 2),
    "empty attributes of the resource": lambda size: within(many(EMPTY_RESOURCE, size), 1, 1),
    "unknown groups": lambda size: within(many(GROUP, size), 1, 2, 2),
    "an attribute with a list of nothing": lambda size: within(many(EMPTY_RESOURCE, size), 1, 2, 2, 9, 2, 5),
}


def read(body: bytes, signal: Signal = "traces") -> int:
    return sum(len(part.spans) + len(part.refused) for part in parts_from_protobuf(signal, body, LIMITS))


@pytest.mark.parametrize("signal", ["traces", "logs"])
@pytest.mark.parametrize("size", [500_000, SIZE])
@pytest.mark.parametrize("kind", PROTOBUF)
def test_protobuf_of_very_many_empty_things_is_refused_soon(kind: str, size: int, signal: Signal) -> None:
    body = PROTOBUF[kind](size)
    if size < SIZE and kind.startswith("unknown"):
        assert read(body, signal) == 0, "protobuf itself keeps them as bytes"
        return
    start = time.process_time()
    with pytest.raises(TooLargeError, match=TOO_MANY):
        read(body, signal)
    assert time.process_time() - start < 3


@pytest.mark.parametrize("unit", [UNKNOWN, GROUP], ids=["fields", "groups"])
def test_unknown_fields_beside_spans_that_cannot_be_read_are_refused_soon(unit: bytes) -> None:
    """Protobuf skips them fast, but refuses the whole; to take the bad spans out, Python has to walk through all."""
    scope = within(many(unit, 120_000) + within(b"\xff", 2, 5), 2)
    start = time.process_time()
    with pytest.raises(TooLargeError, match=TOO_MANY):
        read(within(many(scope), 1))
    assert time.process_time() - start < 3


@pytest.mark.parametrize("kind", IN_A_SPAN)
def test_span_of_very_many_empty_things_is_refused_soon(kind: str) -> None:
    start = time.process_time()
    with pytest.raises(TooLargeError, match=TOO_MANY):
        read(IN_A_SPAN[kind](SIZE))
    assert time.process_time() - start < 3


JSON: dict[str, Callable[[], bytes]] = {
    "empty objects": lambda: b'{"x":[' + many(b"{},") + b"{}]}",
    "objects": lambda: b'{"x":[' + many(b'{"":0},') + b"{}]}",
    "empty lists": lambda: b'{"x":[' + many(b"[],") + b"[]]}",
    "empty resources": lambda: b'{"resourceSpans":[' + many(b"{},", 5_000_000) + b"{}]}",
    "resources with spaces": lambda: b'{"resourceSpans":[' + many(b"{}             ,") + b"{}]}",
    "spans with spaces": lambda: (
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + many(b"{}             ,") + b"{}]}]}]}"
    ),
    "text that does not end": lambda: b"[" * 3_000_000 + many(b'\\"', 3_000_000),
}


@pytest.mark.parametrize("kind", JSON)
def test_json_of_very_many_small_things_is_refused_soon(kind: str) -> None:
    body = JSON[kind]()
    start = time.process_time()
    with pytest.raises(TooLargeError, match=TOO_MANY):
        spans_from_json(body, LIMITS)
    assert time.process_time() - start < 5


def test_json_log_records_are_counted_too() -> None:
    body = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[' + many(b"{}             ,") + b"{}]}]}]}"
    with pytest.raises(TooLargeError, match=f"more than {MOST} "):
        started_spans_from_json_logs(body, LIMITS)


def test_brackets_inside_of_texts_are_no_objects() -> None:
    matrix = json.dumps([[number % 2] for number in range(400_000)], separators=(",", ":")) + '\\"[' * 50_000
    span = otlp_span(attributes=pairs({"matrix": matrix}))
    body = json.dumps(document(traces(span))).encode()
    assert body.count(b"[") > 100_000 + len(body) // 12
    assert len(spans_from_json(body, LIMITS).spans) == 1


def test_smallest_spans_there_are_fit_into_a_request_of_any_size() -> None:
    for count in (10, 1_000, 50_000):
        message = traces(*[otlp_span(name="", attributes=[]) for _ in range(count)])
        assert read(message.SerializeToString()) == count
        assert (
            len(spans_from_json(json.dumps(document(message), separators=(",", ":")).encode(), LIMITS).spans) == count
        )


def test_large_span_of_many_attributes_and_events_is_read() -> None:
    events = [{"name": "x" * 600, "time_unix_nano": 5} for _ in range(1_000)]
    span = otlp_span(attributes=pairs({f"key {number}": "x" * 500 for number in range(1_000)}), events=events)
    assert read(traces(span).SerializeToString()) == 1


MEASURED = """
import resource, sys
from contextlib import suppress
from otel_runs.errors import OtelRunsError
from tests.spans import test_sizes
body = (test_sizes.PROTOBUF | test_sizes.IN_A_SPAN)[sys.argv[1]](20_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with suppress(OtelRunsError):
    test_sizes.read(body)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("kind", ["unknown fields", "empty events", "empty spans and unknown fields by turns"])
def test_memory_of_a_body_is_bounded(kind: str) -> None:
    done = subprocess.run([sys.executable, "-c", MEASURED, kind], stdout=subprocess.PIPE, check=True, timeout=100)
    assert int(done.stdout) < 100_000, "KiB"


@pytest.mark.parametrize("depth", [100, 250, 254, 255, 300, *range(975, 1_030)])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_json_nested_to_any_depth_is_read_or_refused_with_the_reason(depth: int, brackets: str) -> None:
    """Where the limits of two parsers and of Python itself lie: beyond orjson's, within those of repr, and so on."""
    opening, closing = ("[", "]") if brackets == "[]" else ('{"a":', "}")
    nested = opening * depth + "1" + closing * depth
    places: list[Callable[[Any], str]] = [
        lambda value: f'{{"resourceSpans":[{value}]}}',
        lambda value: f'{{"resourceSpans":[{{"resource":{{"attributes":[{value}]}}}}]}}',
        lambda value: f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{value}]}}]}}]}}',
        lambda value: f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":{value}}}]}}]}}]}}',
        lambda value: value,
    ]
    for place in places:
        with suppress(DecodeError):
            assert all(len(why) < 300 for why in spans_from_json(place(nested).encode(), LIMITS).refused)
