"""``kill -9`` of a pipeline, at random moments of its life."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from tests.databases import one_of_each_kind
from tests.faults.history import query
from tests.programs import Programs, otel_runs_command

KILLS: Final = 200
PIPELINES: Final = Path(__file__).with_name("killed_pipelines.py")
FINISHED_STEPS: Final = "SELECT span_id FROM model_runs WHERE status = 'success'"
RUNNING_STEPS: Final = "SELECT COUNT(*) FROM model_runs WHERE status NOT IN ('success', 'failed')"
ENDS: Final = "SELECT trace_id, status, stop_reason, status_source FROM runs"
LOST: Final = ["failed", "lost", "reaper"]
COMPLETED: Final = ["completed", "completed", "span"]


@one_of_each_kind
def test_after_200_kills_and_reaping_every_run_says_the_truth_and_no_confirmed_step_is_missing(
    programs: Programs, database_url_for_test: str
) -> None:
    done = programs.run([sys.executable, str(PIPELINES), database_url_for_test, str(KILLS)], timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    pipelines: list[list[str]] = json.loads(done.stdout)
    assert len(pipelines) == KILLS
    reap = otel_runs_command("reap", "--older-than", "0.1s", "--watch", "1s", "--db", database_url_for_test)
    reaped = programs.run(reap)
    assert reaped.returncode == 0, reaped.stderr

    confirmed = said_by(pipelines, "step")
    stored = {span_id for (span_id,) in query(database_url_for_test, FINISHED_STEPS)}
    assert confirmed, "some steps were confirmed"
    assert confirmed - stored == set()

    born = {said[0].partition(" ")[2]: said for said in pipelines if said}
    unfinished = {trace_id for trace_id, said in born.items() if "ending" not in said}
    finished = {trace_id for trace_id, said in born.items() if "ended" in said}
    ends = {trace_id: end for trace_id, *end in query(database_url_for_test, ENDS) if trace_id in born}
    lost = {trace_id for trace_id, end in ends.items() if end == LOST}
    assert {tuple(end) for end in ends.values()} <= {tuple(LOST), tuple(COMPLETED)}
    assert unfinished & lost, "some were killed in the middle"
    assert unfinished & (ends.keys() - lost) == set()
    assert finished - (ends.keys() - lost) == set()
    assert query(database_url_for_test, RUNNING_STEPS) == [(0,)]


def said_by(pipelines: list[list[str]], word: str) -> set[str]:
    """What pipelines have said after a word."""
    return {words.partition(" ")[2] for said in pipelines for words in said if words.startswith(word + " ")}
