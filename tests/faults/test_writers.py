"""Many processes write one SQLite file at once."""

from __future__ import annotations

import json
from typing import Final

from tests.faults.amounts import amount
from tests.faults.history import query
from tests.programs import Programs

PROCESSES: Final = 10
SECONDS: Final = amount("OTEL_RUNS_TEST_WRITERS", here=5, in_ci_=10)
START: Final = 90
"""Seconds that ten processes may take to start, and to end."""

# A transaction a run, again and again: the most that a process can be in the others' way. What is loaded before the
# fork need not be loaded ten times; each process sets up for itself.
WRITERS: Final = """
import json, os, sys, time
import otel_runs.export.configure, otel_runs.ingest.splitting, otel_runs.store.engine, otel_runs.store.migrations
from sqlalchemy import Engine, event

said = []  # by SQLite, also where the transaction was then tried again
event.listen(Engine, "handle_error", lambda context: said.append(str(context.original_exception)))

def write():
    setup = otel_runs.configure("runs.db")
    runs, until = 0, time.monotonic() + float(sys.argv[1])
    while time.monotonic() < until:
        with otel_runs.run("run"):
            for number in range(10):
                with otel_runs.step(f"step {number}"):
                    pass
        assert setup.flush()
        runs += 1
    setup.shutdown()
    stats = otel_runs.stats()
    told = {"runs": runs, "stored": stats.spans_stored, "errors": stats.export_errors, "said": said}
    os.write(1, (json.dumps(told) + "\\n").encode())

for _ in range(int(sys.argv[2])):
    if os.fork() == 0:
        write()
        os._exit(0)
for _ in range(int(sys.argv[2])):
    os.wait()
"""


def test_ten_processes_write_one_sqlite_file_without_one_that_finds_it_locked(programs: Programs) -> None:
    done = programs.python(WRITERS, str(SECONDS), str(PROCESSES), timeout=SECONDS + START)

    assert (done.returncode, done.stderr) == (0, "")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(end["errors"], end["said"]) for end in told] == [(0, [])] * PROCESSES
    runs = sum(end["runs"] for end in told)
    print(f"{runs} runs of 10 steps by {PROCESSES} processes in {SECONDS} s: {sorted(end['runs'] for end in told)}")
    assert min(end["runs"] for end in told) > 0
    assert sum(end["stored"] for end in told) == 11 * runs
    url = f"sqlite:///{programs.database}"
    assert query(url, "SELECT COUNT(*), SUM(steps) FROM runs WHERE status = 'completed'") == [(runs, 10 * runs)]
