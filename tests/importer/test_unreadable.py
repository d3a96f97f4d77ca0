"""What cannot be read is told with its place and the reason, and the rest goes on."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_runs import attributes as key
from otel_runs.errors import DecodeError
from otel_runs.importer import contents, pieces
from otel_runs.importer.sources import open_source, zstd_decompressed
from otel_runs.spans.from_jaeger import spans_from_jaeger
from otel_runs.spans.from_otlp_json import json_from_bytes
from otel_runs.spans.limits import limits_from_settings
from otel_runs.store.engine import Database
from tests.importer.conftest import FILES, Read
from tests.ingest.contents import Contents, contents_of
from tests.ingest.stored import stored_runs

WHOLE = FILES / "collector.jsonl"
LINES = WHOLE.read_bytes().splitlines(keepends=True)
PROTO = (FILES / "collector-traces.binpb").read_bytes()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"not json\n", "9 bytes that are neither JSON nor an OTLP protobuf message"),
        (b'{"resourceSpans": [\n', "is no JSON"),
        (b'{"resourceSpans": "x"}\n', "resourceSpans is 'x' (str); expected a list."),
        (b'{"level": "info", "msg": "started"}\n', "it has the fields level, msg; expected resourceSpans"),
        (b"[]\n", "it is a list of JSON, as Zipkin and jq write it; expected an object a line"),
        (b'{"data": 7}\n', "data is 7 (int); expected a list of traces."),
        (b'{"data": [7]}\n', "A trace of Jaeger is 7 (int); expected an object with a list of spans."),
        (b'{"spans": [], "processes": 7}\n', "processes is 7 (int); expected an object."),
        (b"\xff\xfe\n", "3 bytes that are neither JSON nor"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("at", [0, 3, len(LINES)])
def test_malformed_line_is_told_with_its_number_and_the_others_are_stored(
    history: Database, read: Read, in_process: Contents, tmp_path: Path, *, line: bytes, why: str, at: int
) -> None:
    path = tmp_path / "traces"
    path.write_bytes(b"".join([*LINES[:at], line, *LINES[at:]]))
    counts, [problem] = read(path)
    assert (counts.unreadable, counts.spans, counts.all_fine) == (1, 10, False)
    assert problem.startswith(f"{path}, line {at + 1}: ")
    assert why in problem
    assert contents_of(history) == in_process


def test_bad_span_is_told_with_its_line_and_its_neighbours_are_stored(read: Read, tmp_path: Path) -> None:
    good: dict[str, Any] = {"traceId": "ab" * 16, "spanId": "cd" * 8, "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    spans = [good, {**good, "spanId": "zz"}]
    path = tmp_path / "traces"
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}) + "\n")
    counts, problems = read(path)
    assert (counts.spans, counts.refused, counts.unreadable, counts.all_fine) == (1, 1, 0, False)
    assert problems == [f"{path}, line 1: Span zz: spanId is 'zz' (str); expected hexadecimal digits."]


def jaeger_span(**fields: object) -> dict[str, object]:
    """A span of Jaeger's with some fields changed."""
    span: dict[str, object] = {"traceID": "ab", "spanID": "cd", "startTime": 7, "duration": 1, "processID": "p1"}
    return {**span, **fields}


@pytest.mark.parametrize(
    ("span", "why"),
    [
        ("load", "Span None: it is 'load' (str); expected an object."),
        (jaeger_span(traceID="a" * 33), "expected up to 32 hexadecimal digits."),
        (jaeger_span(traceID="0"), "Span cd: trace_id is "),
        (jaeger_span(processID=None, process={"tags": 5}), "Span cd: tags is 5 (int); expected a list of objects."),
        (jaeger_span(spanID=[[7]]), "Span [[7]] (list): spanID is [[7]] (list); expected up to 16"),
        (jaeger_span(spanID=""), "spanID is '' (str); expected up to 16 hexadecimal digits."),
        (jaeger_span(startTime="soon"), "Span cd: startTime is 'soon' (str); expected microseconds, 0 or more."),
        (jaeger_span(startTime=None), "the start time is missing"),
        (jaeger_span(duration=-1), "duration is -1 (int); expected microseconds, 0 or more."),
        (jaeger_span(tags=[7]), "tags is [7] (list); expected a list of objects."),
        (jaeger_span(tags={}), "tags is {} (dict); expected a list of objects."),
        (jaeger_span(logs=7), "logs is 7 (int); expected a list of objects."),
        (jaeger_span(references=[{"refType": "CHILD_OF"}]), "traceID of a reference is None"),
    ],
    ids=str,
)
def test_bad_span_of_jaeger_is_told_and_its_neighbours_are_stored(
    read: Read, tmp_path: Path, span: object, why: str
) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"data": [{"spans": [span, jaeger_span(spanID="ef")], "processes": {}}]}))
    counts, [problem] = read(path)
    assert (counts.spans, counts.refused) == (1, 1)
    assert why in problem


@pytest.mark.parametrize("depth", [200, 255, *range(975, 1_015, 2)])
def test_jaeger_nested_to_any_depth_is_told_or_read(depth: int) -> None:
    nested = "[" * depth + "7" + "]" * depth
    tag = {"key": key.MODEL_TAGS, "type": "string", "value": nested}
    for span in (
        json.dumps(jaeger_span(spanID="x")).replace('"x"', nested),
        json.dumps(jaeger_span(tags=[{"key": "a", "type": "string", "value": "x"}])).replace('"x"', nested),
        json.dumps(jaeger_span(tags=[{**tag, "type": "bool"}])).replace(f'"{nested}"', nested),
        json.dumps(jaeger_span(tags=[tag])),
    ):
        body = f'{{"data": [{{"spans": [{span}, {json.dumps(jaeger_span(spanID="ef"))}]}}]}}'
        decoded = spans_from_jaeger(json_from_bytes(body.encode()), limits_from_settings({}))
        assert len(decoded.spans) + len(decoded.refused) == 2
        assert all(value is None or value == nested for value in decoded.spans[0].attributes.values())


def test_tag_of_jaeger_without_a_value_is_no_text() -> None:
    tags: list[object] = [
        {"key": name, "type": "string", "value": value} for name, value in (("a", None), ("b", {}), ("c", 7))
    ]
    trace = {"spans": [jaeger_span(tags=tags)]}
    [span] = spans_from_jaeger({"data": [trace]}, limits_from_settings({})).spans
    assert span.attributes == {"a": None, "b": None, "c": "7"}


def test_folder_says_to_name_the_files_in_it(read: Read, tmp_path: Path) -> None:
    counts, [problem] = read(tmp_path, WHOLE)
    assert problem == f"{tmp_path} is a folder; expected files. Name those in it: {tmp_path / '*'}"
    assert (counts.unreadable, counts.files, counts.spans) == (1, 1, 10)


def test_missing_file_is_told_and_the_others_are_read(read: Read, tmp_path: Path) -> None:
    counts, [problem] = read(tmp_path / "nowhere", WHOLE)
    assert problem == f"{tmp_path / 'nowhere'} cannot be opened: No such file or directory."
    assert (counts.unreadable, counts.files, counts.spans) == (1, 1, 10)


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"  \n\n", b"{}\n", gzip.compress(b"", mtime=0), zstandard.compress(b"")], ids=repr
)
def test_empty_file_is_no_fault(read: Read, tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "traces"
    path.write_bytes(body)
    counts, problems = read(path)
    assert (counts.files, counts.spans, problems) == (1, 0, [])


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_compressed_file_that_ends_early_is_told_and_the_next_file_is_read(
    read: Read, tmp_path: Path, compress: Any
) -> None:
    path = tmp_path / "traces"
    path.write_bytes(compress(b"".join(LINES * 50))[:-60])
    counts, problems = read(path, WHOLE)
    assert counts.spans >= 10
    assert len(problems) == 1
    assert problems[0].startswith(f"{path}")


MANY = [f'{{"resourceSpans": [], "number": "{number} {number**9}"}}\n'.encode() for number in range(20_000)]


@pytest.mark.parametrize(("compress", "lost"), [(gzip.compress, 300), (zstandard.compress, 6_000)])
def test_lines_before_the_place_where_a_compressed_file_is_cut_are_read(
    tmp_path: Path, compress: Any, lost: int
) -> None:
    compressed = compress(b"".join(MANY))
    path = tmp_path / "traces"
    path.write_bytes(compressed[: len(compressed) // 2])
    found: list[bytes] = []
    with open_source(str(path)) as source, pytest.raises(EOFError, match="ends before its end mark"):
        found.extend(piece.body for piece in pieces.pieces_of(source.stream))
    assert found == MANY[: len(found)]
    assert len(found) > 10_000 - lost


def test_only_line_before_the_place_where_a_file_is_cut_is_read(read: Read, tmp_path: Path) -> None:
    compressor = zlib.compressobj(wbits=31)
    path = tmp_path / "traces"
    path.write_bytes(compressor.compress(LINES[0] + LINES[1][:20]) + compressor.flush(zlib.Z_SYNC_FLUSH))
    counts, [problem] = read(path)
    assert counts.spans + counts.started + counts.log_records + counts.other_signals > 0
    assert problem == f"{path}: reading stopped: the compressed data ends before its end mark."


@pytest.mark.parametrize("zeros", [1, 512, 5_000])
def test_zeros_behind_gzip_are_nothing(read: Read, tmp_path: Path, zeros: int) -> None:
    path = tmp_path / "traces"
    path.write_bytes(gzip.compress(b"".join(LINES)) + bytes(zeros) + gzip.compress(b"\n") + bytes(zeros))
    counts, problems = read(path)
    assert (counts.spans, problems) == (10, [])


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_what_follows_compressed_data_is_told_and_costs_no_span(read: Read, tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "traces"
    path.write_bytes(compress(b"".join(LINES)) + b"garbage")
    counts, problems = read(path)
    assert counts.spans == 10
    assert problems == [
        f"{path}: reading stopped: what follows the compressed data is something else, and is not read."
    ]


@pytest.mark.parametrize("text", ["[\n{}\n,\n{}\n]\n", "[{},\n{}]\n", '[{"traceId": "ab", "id": "cd"}]', " [7]"])
def test_list_of_json_is_told_once_with_what_is_expected(read: Read, tmp_path: Path, text: str) -> None:
    path = tmp_path / "traces"
    path.write_text(text)
    _, [problem] = read(path)
    assert "it is a list of JSON, as Zipkin and jq write it; expected an object a line" in problem


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_text_in_utf16_is_told_with_what_is_expected(read: Read, tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path = tmp_path / "traces"
    path.write_bytes((mark + WHOLE.read_text()).encode(encoding))
    _, [problem] = read(path)
    assert problem == (
        f"{path}: it is text in UTF-16, as > of PowerShell writes it; expected UTF-8 (Out-File -Encoding utf8)."
    )


@pytest.mark.parametrize("size", [4, 5, 1_000_000])
def test_zeros_are_no_messages(read: Read, tmp_path: Path, size: int) -> None:
    path = tmp_path / "traces"
    path.write_bytes(PROTO + bytes(size))
    counts, [problem] = read(path)
    assert (counts.spans, counts.unreadable) == (10, 1)
    assert problem == f"{path}, message 11: its length is 0, which nobody writes. The rest is not read."


def test_device_is_no_file(read: Read) -> None:
    counts, [problem] = read("/dev/zero", WHOLE)
    assert problem == "/dev/zero is a device or socket; expected a file, a pipe, or - for standard input."
    assert counts.spans == 10


def test_pipe_is_read(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"".join(LINES),), daemon=True)
    writer.start()
    counts, problems = read(path)
    assert (counts.spans, problems) == (10, [])


def test_compressed_file_that_is_damaged_is_told(read: Read, tmp_path: Path) -> None:
    for number, compressed in enumerate((gzip.compress(b"".join(LINES)), zstandard.compress(b"".join(LINES)))):
        path = tmp_path / f"traces-{number}"
        path.write_bytes(compressed[:40] + b"\x00" * 40 + compressed[80:])
        counts, problems = read(path)
        assert counts.unreadable == 1
        assert problems[0].startswith(f"{path}")


def test_message_that_ends_early_is_told_and_those_before_it_are_stored(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "traces"
    path.write_bytes(PROTO[:-5])
    counts, [problem] = read(path)
    assert (counts.spans, counts.unreadable) == (9, 1)
    assert problem == f"{path}, message 10: the file ends inside it, 5 bytes before its end."


def test_message_of_a_senseless_length_ends_the_file(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "traces"
    path.write_bytes(PROTO + b"\xff\xff\xff\xff" + PROTO)
    counts, [problem] = read(path)
    assert counts.spans == 10
    assert (
        problem
        == f"{path}, message 11: its length is 4294967295 bytes; expected up to 134217728. The rest is not read."
    )


def test_message_that_is_no_otlp_is_told_and_the_next_is_read(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "traces"
    path.write_bytes(b"\x00\x00\x00\x03abc" + PROTO)
    counts, [problem] = read(path)
    assert counts.spans == 10
    assert problem.startswith(f"{path}, message 1: 3 bytes that are neither JSON nor an OTLP protobuf message")


def test_compressed_message_that_is_damaged_or_a_bomb_is_told_and_the_next_is_read(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "LARGEST", 10_000)
    damaged = zstandard.compress(b"x" * 100)[:-3]
    bomb = zstandard.compress(b"x" * 10_001)
    path = tmp_path / "traces"
    path.write_bytes(b"".join(len(body).to_bytes(4, "big") + body for body in (damaged, bomb)) + PROTO)
    counts, problems = read(path)
    assert (counts.spans, counts.unreadable) == (10, 2)
    assert problems[1] == (
        f"{path}, message 2: the message has more than 10000 bytes when decompressed; "
        f"that is no batch of a Collector's."
    )


def test_bomb_is_not_decompressed_beyond_the_limit() -> None:
    bomb = zstandard.compress(bytes(2**30))
    with pytest.raises(DecodeError, match="has more than 1000 bytes"):
        zstd_decompressed(bomb, 1000, "bomb")


def test_line_above_the_limit_is_told_and_the_next_is_read(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "LARGEST", 5_000)
    path = tmp_path / "traces"
    path.write_bytes(b'{"x": "' + b"x" * 20_000 + b'"}\n' + b"".join(LINES) + b"y" * 6_000)
    counts, problems = read(path)
    assert (counts.spans, counts.unreadable) == (10, 2)
    assert problems == [
        f"{path}, line {number}: it has more than 5000 bytes; expected a batch of spans a line."
        for number in (1, len(LINES) + 2)
    ]


def test_document_above_the_limit_is_told(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LARGEST", 500)
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(json.loads((FILES / "jaeger-trace-1.json").read_bytes()), indent=1))
    counts, problems = read(path)
    assert counts.spans == 0
    assert problems == [f"{path}: it is one document of more than 500 bytes; expected JSON lines or a part of it."]


def test_zstd_without_its_package_says_what_to_install(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.delitem(sys.modules, "otel_runs.importer.zstd", raising=False)
    path = tmp_path / "traces.zst"
    path.write_bytes(zstandard.compress(b"".join(LINES)))
    within = FILES / "collector-traces-json.zstd"
    counts, problems = read(path, within, WHOLE)
    assert problems == [
        f"{name} is compressed with zstd, which needs a package more: pip install 'otel-runs[zstd]'"
        for name in (path, within)
    ]
    assert counts.spans == 10


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=60),
        st.tuples(st.integers(0, len(PROTO) - 1), st.binary(min_size=1, max_size=3)).map(
            lambda change: PROTO[: change[0]] + change[1] + PROTO[change[0] + len(change[1]) :]
        ),
    )
)
def test_any_file_is_read_or_told(read: Read, tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "anything"
    path.write_bytes(body)
    counts, problems = read(path)
    assert counts.all_fine is (problems == [])


def test_span_that_claims_the_row_of_another_is_told_and_its_neighbours_are_stored(
    history: Database, read: Read, tmp_path: Path
) -> None:
    """Traces that begin with the same 8 bytes share the ids of their rows: W3C leaves that to chance."""
    spans = [
        {
            "traceId": "ab" * 8 + end * 8,
            "spanId": "cd" * 8,
            "parentSpanId": "ef" * 8,
            "startTimeUnixNano": "7",
            "kind": 3,
        }
        for end in ("01", "02")
    ]
    other = {"traceId": "12" * 16, "spanId": "34" * 8, "startTimeUnixNano": "7", "name": "other"}
    path = tmp_path / "traces"
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [*spans, other]}]}]}))
    counts, [problem] = read(path)
    assert (counts.spans, counts.refused, counts.all_fine) == (2, 1, False)
    assert problem.startswith(f"{path}: Span cdcdcdcdcdcdcdcd of trace ")
    assert "other" in [run["name"] for run in stored_runs(history).values()]


MEASURED = """
import resource, sys
from otel_runs.importer.importer import Importer
from otel_runs.store.engine import open_database
with open_database(sys.argv[1]) as database:
    importer = Importer(database, print, lambda _: None)
    for name in sys.argv[2:]:
        importer.read(name)
print(importer.counts.other_signals, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    line = next(line for line in LINES if b"resourceMetrics" in line).rstrip()
    padded = json.dumps({**json.loads(line), "padding": "x" * 1_000_000}).encode() + b"\n"
    small, large = tmp_path / "small.gz", tmp_path / "large.gz"
    small.write_bytes(gzip.compress(padded * 2, 1))
    large.write_bytes(gzip.compress(padded * 2, 1) * 150)
    peaks = []
    for path in (small, large):
        command = [sys.executable, "-c", MEASURED, str(tmp_path / "runs.db"), str(path)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=100)
        count, peak = map(int, done.stdout.split())
        assert count == (2 if path is small else 300)
        peaks.append(peak)
    # KiB. The large one holds 300 MB.
    assert peaks[1] - peaks[0] < 50_000


def test_protobuf_file_with_text_that_is_not_utf8_costs_that_span_only(
    history: Database, read: Read, tmp_path: Path
) -> None:
    message = TracesData()
    of_scope = message.resource_spans.add().scope_spans.add()
    for number, name in enumerate(("before", "XXXX", "after"), 1):
        of_scope.spans.add(trace_id=bytes([number] * 16), span_id=b"\x02" * 8, name=name, start_time_unix_nano=10**18)
    path = tmp_path / "request"
    path.write_bytes(message.SerializeToString().replace(b"XXXX", b"\xff" * 4))
    counts, [problem] = read(path)
    assert (counts.spans, counts.refused, counts.unreadable) == (2, 1, 0)
    assert "a text in it is not UTF-8" in problem
    assert sorted(run["name"] for run in stored_runs(history).values()) == ["after", "before"]
