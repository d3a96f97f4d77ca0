"""``kill -9`` of a pipeline, at random moments of its life."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from tests.faults.history import query
from tests.programs import Programs

KILLS: Final = 200
PIPELINES: Final = Path(__file__).with_name("killed_pipelines.py")
FINISHED_STEPS: Final = "SELECT span_id FROM model_runs WHERE status = 'success'"
COMPLETED_RUNS: Final = "SELECT trace_id FROM runs WHERE status = 'completed'"


def test_after_200_kills_no_confirmed_step_is_missing_and_no_run_has_ended_that_had_not(
    programs: Programs, database_url_for_test: str
) -> None:
    done = programs.run([sys.executable, str(PIPELINES), database_url_for_test, str(KILLS)], timeout=110)
    assert (done.returncode, done.stderr) == (0, "")
    pipelines: list[list[str]] = [killed["said"] for killed in json.loads(done.stdout)]
    assert len(pipelines) == KILLS

    confirmed = said_by(pipelines, "step")
    stored = {span_id for (span_id,) in query(database_url_for_test, FINISHED_STEPS)}
    assert confirmed, "some steps were confirmed"
    assert confirmed - stored == set()

    born = {said[0].partition(" ")[2]: said for said in pipelines if said}
    unfinished = {trace_id for trace_id, said in born.items() if "ending" not in said}
    finished = {trace_id for trace_id, said in born.items() if "ended" in said}
    completed = {trace_id for (trace_id,) in query(database_url_for_test, COMPLETED_RUNS)}
    assert unfinished, "some were killed in the middle"
    assert unfinished & completed == set()
    assert finished - completed == set()


def said_by(pipelines: list[list[str]], word: str) -> set[str]:
    """What pipelines have said after a word."""
    return {words.partition(" ")[2] for said in pipelines for words in said if words.startswith(word + " ")}
