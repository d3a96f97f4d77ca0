"""Requests that no sane sender makes, for the fuzzer: odd spans, damaged bytes, wrong headers."""

from __future__ import annotations

import base64
import gzip
import json
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import zstandard
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from otel_runs import attributes as key
from tests.server.running import JSON, LOGS, METRICS, PROTOBUF, TRACES
from tests.spans.otlp import START, logs, otlp_span, pairs, traces

# Few, so that spans meet: as parents, twins, and rows of two traces that begin alike.
TRACE_IDS: Final = (
    b"\x01" * 16,
    b"\x01" * 15 + b"\x02",
    bytes(8) + b"\x03" * 8,
    bytes(8) + b"\x03" * 7 + b"\x04",
    b"\xff" * 16,
    bytes(15) + b"\x01",
)
SPAN_IDS: Final = (b"\x0a" * 8, b"\x0b" * 8, b"\x0c" * 8, b"\xff" * 8, bytes(7) + b"\x01", b"\x01" * 8)
NO_IDS: Final = (b"", bytes(8), bytes(16), b"\x01", b"\x02" * 15, b"\x02" * 17, b"\x02" * 100)
TIMES: Final = (0, 1, 999, START, START + 1, START - 10**18, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
TEXTS: Final = (
    *(
        "",
        " ",
        "load",
        "\x00",
        "a\x00b",
        "\n\t\r",
        "\x1b[31m",
        "\x7f",
        "\u202e",
        "\ufeff",
        "\uffff",
        "😀",
        "é" * 70_000,
    ),
    *("'; DROP TABLE runs; --", "%s %d {x}", "\\x00", "\\u0000", '"', "NaN", "null", "1e999", "-0", "9" * 400),
    *("run", "step", "model", "task", "completed", "failed", "running", "cancelled", "skipped", "success", "degraded"),
    *("01" * 16, "0a" * 8, "01010101-0101-0101-0101-010101010101", "01010101-0101-0101-0a0a-0a0a0a0a0a0a"),
    *("2026-01-01T00:00:00Z", "true", "1", "-1", "3.5", "chat", "INTERNAL", "CLIENT"),
)
HALF_PAIRS: Final = ("\ud800", "a\udfffb")
"""Of surrogates: JSON can hold them, and UTF-8 cannot."""
NUMBERS: Final = (0, 1, -1, 200, 2**31, 2**53 + 1, 2**63 - 1, -(2**63))
HUGE: Final = (2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**400)
"""What JSON can hold, and protobuf cannot."""
FLOATS: Final = (0.0, -0.0, 0.5, -1.5, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan, 1e18)

KNOWN_KEYS: Final = tuple(
    sorted({value for value in vars(key).values() if isinstance(value, str) and "." in value and " " not in value})
)

texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=12))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from(FLOATS),
    texts,
    st.sampled_from([b"", b"\x00\xff", b"x" * 1000]),
    st.sampled_from(HALF_PAIRS),
    st.sampled_from(HUGE),
)


def _deep(depth: int) -> object:
    value: object = "deep"
    for level in range(depth):
        value = [value] if level % 2 else {"k": value}
    return value


values = st.one_of(
    scalars,
    st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
        max_leaves=8,
    ),
    st.integers(1, 70).map(_deep),
)
keys = st.one_of(st.sampled_from(KNOWN_KEYS), st.sampled_from(KNOWN_KEYS).map(lambda name: f"{name}x"), texts)
odd_attributes = st.tuples(keys, values)
NUMBER_KEYS: Final = (
    *(key.ROWS_IN, key.ROWS_OUT, key.ROWS_AFFECTED, key.ATTEMPT, key.COST_USD, key.STEPS_EXPECTED, key.GEN_AI_TTFT),
    *(key.GEN_AI_INPUT_TOKENS, key.GEN_AI_OUTPUT_TOKENS, key.GEN_AI_TOTAL_TOKENS, key.PROCESS_EXIT_CODE),
)
UUIDS: Final = (
    *("01010101-0101-0101-0101-010101010101", "01010101-0101-0101-0101-010101010102", "not-an-id"),
    *(
        "01010101-0101-0101-0a0a-0a0a0a0a0a0a",
        "01010101-0101-0101-0b0b-0b0b0b0b0b0b",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ),
)
fitting_attributes = st.one_of(
    st.tuples(
        st.just(key.KIND), st.sampled_from(["run", "run", "step", "model", "task", "agent", "llm", "tool", "query"])
    ),
    st.tuples(st.just(key.RUN_KEY), st.sampled_from(["k", "l", "", "x" * 300])),
    st.tuples(st.sampled_from([key.PARENT_RUN, key.PARENT_STEP]), st.sampled_from(UUIDS)),
    st.tuples(st.just(key.RUN_ID), texts),
    st.tuples(st.sampled_from(NUMBER_KEYS), st.sampled_from(NUMBERS)),
    st.tuples(st.just(key.MODEL_PATH), st.one_of(st.sampled_from(["a.b", "a.c"]), texts)),
    st.tuples(st.just(key.MODEL_DEPENDS_ON), st.lists(st.one_of(st.sampled_from(["a.b", "a.c"]), texts), max_size=3)),
    st.tuples(
        st.just(key.STATUS), st.sampled_from(["running", "completed", "failed", "cancelled", "skipped", "pending"])
    ),
    st.tuples(st.just(key.ENVIRONMENT), texts),
)
"""What changes where a row stands and what is derived from it."""
attribute_lists = st.lists(st.one_of(odd_attributes, fitting_attributes), max_size=6)


class OddSpan(NamedTuple):
    """A span or log record, as both encodings write it."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: str
    kind: int
    start: int
    end: int
    status: int
    message: str
    attributes: Sequence[tuple[str, object]]
    events: Sequence[tuple[str, int, Sequence[tuple[str, object]]]]
    links: Sequence[tuple[bytes, bytes]]
    flags: int


ids = st.sampled_from  # most of them valid, because a span that is refused breaks no query
times = st.one_of(st.sampled_from(TIMES[1:]), st.integers(START, START + 1000), st.integers(START, START + 1000))
odd_spans = st.builds(
    OddSpan,
    trace_id=ids((*TRACE_IDS, *TRACE_IDS[:2] * 8, NO_IDS[0])),
    span_id=ids((*SPAN_IDS * 3, NO_IDS[1])),
    parent_id=ids((*[b""] * 6, *SPAN_IDS * 3, NO_IDS[3])),
    name=st.one_of(texts, st.sampled_from(HALF_PAIRS)),
    kind=st.integers(0, 7),
    start=times,
    end=times,
    status=st.integers(0, 4),
    message=texts,
    attributes=attribute_lists,
    events=st.lists(st.tuples(st.sampled_from(["exception", "x", "\x00"]), times, attribute_lists), max_size=2),
    links=st.lists(
        st.tuples(st.sampled_from((*TRACE_IDS, *NO_IDS)), st.sampled_from((*SPAN_IDS, *NO_IDS))), max_size=2
    ),
    flags=st.sampled_from([0, 1, 0x100, 0x300, 2**32 - 1]),
)
EVENTS: Final = (key.EVENT_RUN_STARTED, key.EVENT_STEP_STARTED, "other", "")


# Protobuf.


def _clean(value: object, levels: int = 25) -> object:
    """The value as far as protobuf can hold it; tests/spans/test_protobuf_repair.py writes deeper ones, by bytes."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case bool() | None:
            return value
        case int():
            return max(-(2**63), min(2**63 - 1, value))
        case list():
            return [_clean(item, levels - 1) for item in value] if levels else None
        case dict():
            return {str(_clean(name)): _clean(item, levels - 1) for name, item in value.items()} if levels else None
    return value


def _pairs(attributes: Sequence[tuple[str, object]]) -> list[Any]:
    # No dictionary: the same key may come twice.
    return [pair for name, value in attributes for pair in pairs({str(_clean(name)): _clean(value)})]


def _trace_message(spans: Sequence[OddSpan], resource: Sequence[tuple[str, object]]) -> bytes:
    written = [
        otlp_span(
            trace_id=span.trace_id,
            span_id=span.span_id,
            parent_span_id=span.parent_id,
            name=_clean(span.name),
            kind=span.kind,
            start_time_unix_nano=span.start,
            end_time_unix_nano=span.end,
            status={"code": span.status, "message": _clean(span.message)},
            attributes=_pairs(span.attributes),
            events=[{"name": n, "time_unix_nano": at, "attributes": _pairs(held)} for n, at, held in span.events],
            links=[{"trace_id": trace_id, "span_id": span_id} for trace_id, span_id in span.links],
            flags=span.flags,
        )
        for span in spans
    ]
    message = traces(*written)
    message.resource_spans[0].resource.attributes.extend(_pairs(resource))
    return bytes(message.SerializeToString())


def _log_message(spans: Sequence[OddSpan], resource: Sequence[tuple[str, object]]) -> bytes:
    written = [
        LogRecord(
            trace_id=span.trace_id,
            span_id=span.span_id,
            time_unix_nano=span.start,
            observed_time_unix_nano=span.end,
            attributes=_pairs([(key.EVENT_NAME, EVENTS[span.kind % 4]), *span.attributes]),
        )
        for span in spans
    ]
    message = logs(*written)
    message.resource_logs[0].resource.attributes.extend(_pairs(resource))
    return bytes(message.SerializeToString())


# JSON.


def _json_value(value: object) -> dict[str, object]:
    match value:
        case None:
            return {}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": value if value % 2 else str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else str(value)}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
        case list():
            return {"arrayValue": {"values": [_json_value(item) for item in value]}}
        case dict():
            return {"kvlistValue": {"values": _json_pairs(list(value.items()))}}
    return {"stringValue": value}


def _json_pairs(attributes: Sequence[tuple[str, object]]) -> list[dict[str, object]]:
    return [{"key": name, "value": _json_value(value)} for name, value in attributes]


def _json_document(spans: Sequence[OddSpan], resource: Sequence[tuple[str, object]], *, of_logs: bool) -> bytes:
    written = [
        {
            "traceId": span.trace_id.hex(),
            "spanId": span.span_id.hex().upper(),
            "parentSpanId": span.parent_id.hex(),
            "name": span.name,
            "kind": span.kind,
            "startTimeUnixNano": str(span.start),
            "endTimeUnixNano": span.end,
            "timeUnixNano": span.start,
            "observedTimeUnixNano": str(span.end),
            "eventName": EVENTS[span.kind % 4],
            "status": {"code": span.status, "message": span.message},
            "attributes": _json_pairs(span.attributes),
            "events": [{"name": n, "timeUnixNano": at, "attributes": _json_pairs(a)} for n, at, a in span.events],
            "links": [{"traceId": one.hex(), "spanId": other.hex()} for one, other in span.links],
            "flags": span.flags,
        }
        for span in spans
    ]
    inside = {"scopeLogs": [{"logRecords": written}]} if of_logs else {"scopeSpans": [{"spans": written}]}
    of_resource = {"resource": {"attributes": _json_pairs(resource)}, **inside}
    return json.dumps({"resourceLogs" if of_logs else "resourceSpans": [of_resource]}).encode()


# Requests.


class Sent(NamedTuple):
    """One request."""

    service: str
    """Of gRPC; the path over HTTP follows from it."""
    over_grpc: bool
    content_type: str
    compression: str
    body: bytes

    @property
    def path(self) -> str:
        """Over HTTP."""
        return {TRACES: "/v1/traces", LOGS: "/v1/logs", METRICS: "/v1/metrics"}[self.service]


PACK: Final[dict[str, Callable[[bytes], bytes]]] = {
    "": lambda body: body,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
}


@st.composite
def valid_requests(draw: st.DrawFn) -> Sent:
    """A request that can be read, of odd spans."""
    spans = draw(st.lists(odd_spans, min_size=1, max_size=6))
    resource = draw(attribute_lists)
    of_logs, over_grpc, as_json = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    compression = draw(st.sampled_from(["", "gzip", "deflate"] if over_grpc else list(PACK)))
    if as_json and not over_grpc:
        body = _json_document(spans, resource, of_logs=of_logs)
    else:
        body = (_log_message if of_logs else _trace_message)(spans, resource)
    content_type = JSON if as_json and not over_grpc else PROTOBUF
    return Sent(LOGS if of_logs else TRACES, over_grpc, content_type, compression, PACK[compression](body))


@st.composite
def damaged_requests(draw: st.DrawFn) -> Sent:
    """A request whose bytes were changed, before compression or after it."""
    sent = draw(valid_requests())
    return sent._replace(body=draw(damaged(sent.body)))


@st.composite
def damaged(draw: st.DrawFn, body: bytes) -> bytes:
    """The bytes with some changes."""
    found = bytearray(body)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(found) - 1)))
        end = place + draw(st.integers(0, 40))
        match draw(st.sampled_from(["change", "cut", "drop", "repeat", "insert"])):
            case "change" if found:
                found[place] = draw(st.integers(0, 255))
            case "cut":
                del found[place:]
            case "drop":
                del found[place:end]
            case "repeat":
                found[end:end] = found[place:end]
            case _:
                found[place:place] = draw(st.binary(max_size=10))
    return bytes(found)


def _nested_json(depth: int) -> bytes:
    """Spans as deep as the limits of two parsers and of Python's own calls, or not quite."""
    return b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"[" * depth + b"]" * depth + b"]}]}]}"


services = st.sampled_from([TRACES, LOGS, METRICS])
any_requests = st.one_of(
    st.builds(
        Sent,
        service=services,
        over_grpc=st.booleans(),
        content_type=st.sampled_from([PROTOBUF, JSON, "text/plain", "", "application/json; charset=latin-1", ";", "é"]),
        compression=st.sampled_from([*PACK, "br", "gzip, gzip", "identity", "\x7f"]),
        body=st.binary(max_size=200),
    ),
    st.builds(
        Sent,
        service=st.just(TRACES),
        over_grpc=st.just(False),
        content_type=st.just(JSON),
        compression=st.just(""),
        body=(st.integers(1, 300) | st.integers(950, 1_050)).map(_nested_json),
    ),
    valid_requests(),
    valid_requests(),
    valid_requests(),
    damaged_requests(),
)
"""Half of them can be read: what breaks a query must get in."""

HTTP_PIECES: Final = (
    *(b"POST ", b"GET ", b"/v1/traces", b"/healthz", b" HTTP/1.1\r\n", b" HTTP/9.9\r\n", b"\r\n", b"\r\n\r\n", b"\n"),
    *(b"host: x\r\n", b"content-length: 5\r\n", b"content-length: -1\r\n", b"content-length: " + b"9" * 5000 + b"\r\n"),
    *(b"transfer-encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"zz\r\n"),
    *(
        b"content-type: application/json\r\n",
        b"content-encoding: gzip\r\n",
        b"expect: 100-continue\r\n",
        b"\x00",
        b"{}",
    ),
    *(
        b"connection: upgrade\r\nupgrade: h2c\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    ),
)
raw_bytes = st.one_of(st.binary(max_size=100), st.lists(st.sampled_from(HTTP_PIECES), max_size=12).map(b"".join))
"""For the ports themselves."""
