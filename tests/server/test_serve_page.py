"""docs/serve.md: its limits and answers are the code's, its metrics those that a server really sends."""

from __future__ import annotations

import json
import re
import signal

from otel_runs import settings
from otel_runs.ingest import splitting
from otel_runs.receiver import answers, compression, over_grpc, over_http, storing
from otel_runs.server import http_port, run_server
from otel_runs.spans import sizes
from tests.named_tests import ROOT
from tests.programs import Programs, otel_runs_command
from tests.server.requests import new_request, new_trace
from tests.server.running import ServerProcess
from tests.spans.otlp import otlp_span, traces

FILE = ROOT / "docs/serve.md"
PAGE = FILE.read_text(encoding="utf-8")


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def limits() -> dict[str, str]:
    return {row[0]: row[1] for row in rows_of("Limits")}


LIMITS_IN_CODE = {
    "messages that arrive over gRPC at once": over_grpc.MESSAGES,
    "memory that zstd may ask for": compression._LARGEST_WINDOW,
    "gzip members or zstd frames in a request": compression._MOST_PARTS,
    "time for a request to arrive": over_http.BODY_SECONDS,
    "time for its headers": http_port.HEAD_SECONDS,
    "line and headers of a request": http_port._HEAD_BYTES,
    "connections over HTTP": http_port._CONNECTIONS,
    "calls at once on a connection over gRPC": over_grpc._STREAMS,
    "idle connections over HTTP": http_port._IDLE_SECONDS,
    "connections over gRPC": over_grpc.CONNECTIONS,
    "idle connections over gRPC": over_grpc.IDLE_SECONDS,
    "spans a transaction": storing.BATCH_SPANS,
    "the same, of a request above 512 KiB": storing.LARGE_REQUEST_SPANS,
    "time to find the spans that cannot be stored among those of a transaction": splitting.SECONDS,
    "spans, scopes and resources of a request together": sizes.MOST,
    "fields in a span, resource or log record of protobuf": sizes.MOST,
    "objects and lists in JSON": sizes._FEW_OBJECTS,
}


def test_limits_on_the_page_are_those_of_the_code() -> None:
    by_setting = {found[1]: limit for what, limit in limits().items() if (found := re.search(r"\(`(\w+)`\)", what))}
    bounding = [each for each in settings.SETTINGS if re.search("_LIMIT_|_SERVER_.*_BYTES", each.env)]
    assert {name: limit.split()[0] for name, limit in by_setting.items()} == {
        each.env: each.default for each in bounding
    }
    others = {what: limit for what, limit in limits().items() if "`" not in what}
    assert {what: float(limit.split()[0]) for what, limit in others.items()} == LIMITS_IN_CODE
    assert over_grpc.MESSAGE_SECONDS == over_http.BODY_SECONDS
    assert f"within {run_server.STOP_SECONDS:g} seconds" in PAGE


def test_answers_on_the_page_are_those_of_the_code() -> None:
    told = [" ".join(row[1:3]) for row in rows_of("What is acknowledged, and when")]
    for _, answer in answers._ANSWERS:
        said = f"{answer.http}" + (f", `Retry-After: {answer.retry_seconds}`" if answer.retry_seconds else "")
        assert any(each.startswith(said) for each in told), said
    codes = {int(code) for each in told for code in re.findall(r"\b\d{3}\b", each)}
    assert codes == {200, *(answer.http for _, answer in answers._ANSWERS)}


def sent_metrics(printed: str) -> dict[str, tuple[str, str, set[str]]]:
    """Name -> unit, description and attributes of all metrics that the console exporter has printed."""
    decoder, place = json.JSONDecoder(), printed.index("{")
    found: dict[str, tuple[str, str, set[str]]] = {}
    while place < len(printed):
        document, place = decoder.raw_decode(printed, place)
        place += len(printed[place:]) - len(printed[place:].lstrip())
        for resource in document["resource_metrics"]:
            assert resource["resource"]["attributes"]["service.name"] == "otel-runs"
            for metric in resource["scope_metrics"][0]["metrics"]:
                seen = found.get(metric["name"], ("", "", set()))[2]
                seen |= {name for point in metric["data"]["data_points"] for name in point["attributes"]}
                found[metric["name"]] = (metric["unit"], metric["description"], seen)
    return found


def test_metrics_on_the_page_are_those_that_a_server_sends(programs: Programs) -> None:
    with ServerProcess(programs, "--db", "runs.db", environ={"OTEL_METRICS_EXPORTER": "console"}) as server:
        server.post(traces(*new_trace(), otlp_span(span_id=b"")))
        server.export(new_request())
        server.post(b"\xff")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.stdout is not None
        printed = server.process.stdout.read().decode()
    told = {
        row[0].strip("`"): (row[2].strip("`"), row[4], {each.split("`")[1] for each in row[3].split(";") if each})
        for row in rows_of("What it tells of itself")
    }
    assert sent_metrics(printed) == told


def test_metrics_exporter_that_nobody_provides_stops_the_start(programs: Programs) -> None:
    command = otel_runs_command("serve", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0")
    done = programs.run(command, environ={"OTEL_METRICS_EXPORTER": "console,nobody"})
    assert done.returncode == 1
    assert "OTEL_METRICS_EXPORTER names 'nobody'" in done.stderr.replace("\n", " ")
