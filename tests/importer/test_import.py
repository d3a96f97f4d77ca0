"""Files leave the rows that exporting in process leaves, in any form and order and however often they are read."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import zstandard
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_runs.importer.pieces import LARGEST, pieces_of
from otel_runs.store.engine import Database
from tests.importer.conftest import FILES, Read
from tests.ingest.contents import Contents, contents_of, empty
from tests.ingest.stored import stored_runs, stored_steps

WHOLE = FILES / "collector.jsonl"
LINES = WHOLE.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("name", ["collector.jsonl", "collector-proto.zstd"])
def test_file_of_a_collector_leaves_the_rows_of_exporting_in_process(
    history: Database, read: Read, in_process: Contents, name: str
) -> None:
    counts, problems = read(FILES / name)
    assert problems == []
    assert (counts.spans, counts.started, counts.log_records, counts.other_signals) == (10, 2, 1, 2)
    assert contents_of(history) == in_process


@pytest.mark.parametrize("name", ["collector-traces.binpb", "collector-traces-json.zstd"])
def test_file_of_traces_alone_holds_the_runs_that_ended(
    history: Database, read: Read, in_process: Contents, name: str
) -> None:
    counts, problems = read(FILES / name)
    assert (counts.spans, counts.started, problems) == (10, 0, [])
    assert sorted(run["name"] for run in stored_runs(history).values()) == ["nightly", "nightly"]
    read(WHOLE)
    assert contents_of(history) == in_process


def one_document(lines: list[bytes]) -> dict[str, list[Any]]:
    """The lines of a file as one document."""
    whole: dict[str, list[Any]] = {}
    for line in lines:
        for name, entries in json.loads(line).items():
            whole.setdefault(name, []).extend(entries)
    return whole


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip of two members": lambda body: b"".join(gzip.compress(part) for part in body.splitlines(keepends=True)),
    "zstd": zstandard.compress,
    "zstd of two frames": lambda body: b"".join(zstandard.compress(part) for part in body.splitlines(keepends=True)),
    "blank lines": lambda body: b"\n\n" + body.replace(b"\n", b"\n\n"),
    "lines that end as on Windows": lambda body: body.replace(b"\n", b"\r\n"),
    "a byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "no newline at the end": bytes.rstrip,
    "one line": lambda body: json.dumps(one_document(body.splitlines())).encode(),
    "one document over many lines": lambda body: json.dumps(one_document(body.splitlines()), indent=2).encode(),
    "one document over many lines without blanks": lambda body: json.dumps(
        one_document(body.splitlines()), indent=0
    ).encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_form_of_a_file_changes_no_row(
    history: Database, read: Read, in_process: Contents, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "traces"
    path.write_bytes(FORMS[form](WHOLE.read_bytes()))
    assert read(path).problems == []
    assert contents_of(history) == in_process


def test_one_protobuf_message_is_read_as_one(history: Database, read: Read, tmp_path: Path) -> None:
    with (FILES / "collector-traces.binpb").open("rb") as file:
        bodies = [piece.body for piece in pieces_of(file)]
    read(FILES / "collector-traces.binpb")
    expected = contents_of(history)
    empty(history)
    path = tmp_path / "request"
    # Messages of protobuf add up when they are put together.
    path.write_bytes(b"".join(bodies))
    assert read(path).problems == []
    assert contents_of(history) == expected


@pytest.mark.parametrize("length", [123, 125])
def test_protobuf_message_that_begins_like_json_is_read_as_protobuf(
    history: Database, read: Read, tmp_path: Path, length: int
) -> None:
    """A newline and a brace are also a field number and a length."""
    message = TracesData()
    of_resource = message.resource_spans.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    of_resource.scope_spans.add().spans.add(
        trace_id=b"\x01" * 16, span_id=b"\x02" * 8, name="load", start_time_unix_nano=10**18, end_time_unix_nano=10**18
    )
    of_resource.schema_url = "x"
    of_resource.schema_url = "x" * (1 + length - of_resource.ByteSize())
    path = tmp_path / "request"
    path.write_bytes(message.SerializeToString())
    assert path.read_bytes()[:3] == bytes([0x0A, length, 0x0A])
    counts, problems = read(path)
    assert (counts.spans, problems) == (1, [])
    assert [run["name"] for run in stored_runs(history).values()] == ["load"]


def test_importing_again_changes_nothing(history: Database, read: Read, in_process: Contents) -> None:
    assert read(WHOLE, WHOLE, FILES / "collector-proto.zstd").problems == []
    assert contents_of(history) == in_process


@pytest.mark.parametrize("seed", range(5))
def test_order_of_lines_and_files_changes_no_row(
    history: Database, read: Read, in_process: Contents, tmp_path: Path, seed: int
) -> None:
    lines = LINES * 2
    random.Random(seed).shuffle(lines)
    paths = [tmp_path / f"rotated-{number}" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(b"".join(lines[number::3]))
    assert read(*paths).problems == []
    assert contents_of(history) == in_process


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_truncated_last_line_is_reported_and_the_next_import_completes_it(
    history: Database, read: Read, in_process: Contents, tmp_path: Path, cut: int
) -> None:
    path = tmp_path / "traces"
    path.write_bytes(WHOLE.read_bytes().rstrip()[:-cut])
    counts, problems = read(path)
    assert (counts.unreadable, len(problems)) == (1, 1)
    assert problems[0].startswith(f"{path}, line {len(LINES)}: ")
    assert "is no JSON" in problems[0]
    path.write_bytes(WHOLE.read_bytes())
    assert read(path).problems == []
    assert contents_of(history) == in_process


def test_file_that_is_read_in_the_middle_of_an_export_gives_the_same_rows_later(
    history: Database, read: Read, in_process: Contents, tmp_path: Path
) -> None:
    path = tmp_path / "traces"
    for length in range(1, len(LINES) + 1, 4):
        path.write_bytes(b"".join(LINES[:length]))
        read(path)
    read(WHOLE)
    assert contents_of(history) == in_process


def test_spans_of_more_than_one_batch_are_all_stored(history: Database, read: Read, tmp_path: Path) -> None:
    span = {"traceId": "ab" * 16, "parentSpanId": "cd" * 8, "startTimeUnixNano": 10**18, "endTimeUnixNano": 10**18 + 1}
    spans = [{**span, "spanId": f"{number:016x}", "name": "load"} for number in range(1, 4_502)]
    path = tmp_path / "traces"
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}))
    assert read(path, WHOLE).counts.spans == 4_511
    assert len([row for row in stored_steps(history).values() if row["trace_id"] == "ab" * 16]) == 4_501


JAEGER = [FILES / "jaeger-trace-1.json", FILES / "jaeger-trace-2.json"]


@pytest.mark.parametrize("paths", [*permutations(JAEGER), [FILES / "jaeger-search.json"]], ids=["12", "21", "search"])
def test_traces_from_jaeger_leave_the_same_rows_but_for_the_microsecond(
    history: Database, read: Read, paths: list[Path]
) -> None:
    assert read(FILES / "collector-traces.binpb").problems == []
    expected_runs, expected_steps = stored_runs(history), stored_steps(history)
    empty(history)
    counts, problems = read(*paths)
    assert (counts.spans, problems) == (10, [])
    for expected, found in ((expected_runs, stored_runs(history)), (expected_steps, stored_steps(history))):
        assert found.keys() == expected.keys()
        for id_, row in found.items():
            _only_the_ends_differ(row, expected[id_])


def _only_the_ends_differ(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Jaeger cuts start and duration to microseconds, each by itself, and does not say whether a parent is remote."""
    assert abs(found["duration_ns"] - expected["duration_ns"]) < 2_000
    assert abs((found["completed_at"] - expected["completed_at"]).total_seconds()) < 2e-6
    ends = {"duration_ns", "duration_seconds", "completed_at", "execution_ms"}
    assert {name: found[name] for name in found if name not in ends} == {
        name: expected[name] for name in expected if name not in ends
    }


def test_limit_of_a_piece_is_far_above_what_a_collector_sends_and_below_what_memory_holds() -> None:
    assert 2**26 <= LARGEST <= 2**28
