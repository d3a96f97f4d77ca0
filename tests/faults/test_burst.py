"""More spans than the queue holds, while the database takes none."""

from __future__ import annotations

import json
import sqlite3
import sys
from typing import Final

from otel_runs.export.processor import MAX_QUEUE_SIZE
from tests.faults.history import query
from tests.programs import Programs, otel_runs_command

SPANS: Final = MAX_QUEUE_SIZE + 5_000
MEMORY: Final = 512
"""MiB that a pipeline may take with a full queue; it took 260 when this was written."""

# The run itself is stored before the lock, so that the database is open when it is locked.
BURST: Final = f"""
import json, resource, sys, time
import otel_runs
from opentelemetry import trace

setup = otel_runs.configure("runs.db")
tracer = trace.get_tracer("burst")
with tracer.start_as_current_span("first"):
    pass
assert setup.flush()
print("stored", flush=True)
sys.stdin.readline()
longest = 0.0
with tracer.start_as_current_span("run"):
    for number in range({SPANS}):
        span = tracer.start_span("step", attributes={{"number": number}})
        began = time.perf_counter()
        span.end()
        longest = max(longest, time.perf_counter() - began)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({{"longest_ms": longest * 1000, "memory": memory}}), flush=True)
sys.stdin.readline()
setup.shutdown()
print(json.dumps(otel_runs.stats()._asdict(), default=str), flush=True)
"""


def test_burst_beyond_the_queue_while_the_database_is_locked_loses_no_span(programs: Programs) -> None:
    with programs.start([sys.executable, str(programs.write(BURST))]) as pipeline:
        try:
            assert pipeline.stdin is not None
            assert pipeline.stdout is not None
            assert pipeline.stdout.readline() == "stored\n"
            other = sqlite3.connect(programs.database, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            pipeline.stdin.write("go\n")
            pipeline.stdin.flush()
            during = json.loads(pipeline.stdout.readline())
            other.execute("ROLLBACK")
            other.close()
            told, errors = pipeline.communicate("go\n", timeout=90)
        finally:
            pipeline.kill()
    print(f"longest end of a span: {during['longest_ms']:.1f} ms, {during['memory']} MiB, {told}{errors}")
    assert pipeline.returncode == 0, errors
    assert during["memory"] < MEMORY
    stats = json.loads(told)
    assert (stats["spans_dropped"], stats["spans_failed"]) == (0, 0)
    assert stats["spans_spooled"] > 0, "it was more than the queue holds"

    replayed = programs.run(otel_runs_command("replay", "--db", str(programs.database)))
    assert replayed.returncode == 0, replayed.stderr
    assert query(f"sqlite:///{programs.database}", "SELECT COUNT(*) FROM model_runs") == [(SPANS,)]
    assert query(f"sqlite:///{programs.database}", "SELECT name, status FROM runs ORDER BY 1") == [
        ("first", "completed"),
        ("run", "completed"),
    ]
