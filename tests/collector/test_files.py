"""Files that a real Collector has just written, rotated and compressed, into the tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.collector.conftest import StartCollector
from tests.collector.history import wait_for_all
from tests.collector.spans import SPANS_A_TRACE, Sending, Traces
from tests.programs import Programs, otel_runs_command
from tests.project.documents import ROOT, blocks_of
from tests.servers.ports import free_port

[PAGE] = [block.text for block in blocks_of(ROOT / "docs/import.md") if block.language == "yaml"]


@pytest.mark.parametrize(
    ("more", "least"), [("", 3), ("    compression: zstd\n", 1)], ids=["as on the page", "compressed"]
)
def test_files_of_a_collector_are_imported_whole(
    more: str, least: int, start_collector: StartCollector, programs: Programs, tmp_path: Path
) -> None:
    config = tmp_path / "file.yaml"
    path = tmp_path / "traces.jsonl"
    changes = {
        "    path: /var/lib/otelcol/traces.jsonl\n": f"    path: {path}\n{more}",
        "max_megabytes: 100": "max_megabytes: 1",
    }
    text = PAGE
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)
    nobody = {name: f"127.0.0.1:{free_port()}" for name in ("RUNS_OTLP_GRPC", "JAEGER_OTLP_GRPC")}
    collector = start_collector("local.yaml", str(config), environ=nobody)
    traces = Traces(300)
    Sending(collector.http, traces.requests(), seconds=60).finish()
    collector.kill()  # it would wait for them

    files = sorted(str(file) for file in tmp_path.glob("traces*.jsonl"))
    assert len(files) >= least
    done = programs.run(otel_runs_command("import", *files, "--db", str(programs.database)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Imported {300 * SPANS_A_TRACE:,} spans from {len(files)} file")
    wait_for_all(f"sqlite:///{programs.database}", traces, seconds=60)
