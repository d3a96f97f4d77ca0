"""How runs end when their words come late, twice or presumed; and what their steps add to it."""

from __future__ import annotations

from typing import Any

import pytest

from otel_runs import attributes as key
from otel_runs.spans.span import Span
from otel_runs.store.engine import Database
from tests.ingest.stored import save, stored_run, stored_step
from tests.ingest.traces import row_id, run_id, span


def status_of(database: Database) -> str:
    return str(stored_run(database, run_id())["status"])


def lost(**parts: Any) -> Span:
    """A run that somebody presumes dead."""
    presumed = {key.STATUS_SOURCE: "reaper", key.STATUS: "failed", key.STOP_REASON: "lost"}
    return span(0, attributes=presumed, **parts)


def test_start_is_running_and_the_end_ends_it(database: Database) -> None:
    save(database, [span(0, open_=True)])
    assert status_of(database) == "running"
    save(database, [span(0)])
    assert status_of(database) == "completed"


def test_finished_run_never_goes_back_when_its_start_arrives_late(database: Database) -> None:
    started, announced = span(0, open_=True), span(0, open_=True, attributes={key.STATUS: "pending"})
    save(database, [span(0, status="ERROR")], [started], [announced], [span(1, 0)])
    run = stored_run(database, run_id())
    assert (run["status"], run["stop_reason"], run["duration_ns"] > 0) == ("failed", "error", True)


def test_finished_step_never_goes_back_when_its_start_arrives_late(database: Database) -> None:
    save(database, [span(1, 0)], [span(1, 0, open_=True)])
    assert stored_step(database, row_id(1))["status"] == "success"


def test_announced_run_is_created_and_then_running(database: Database) -> None:
    save(database, [span(0, open_=True, attributes={key.STATUS: "pending"})])
    assert status_of(database) == "created"
    save(database, [span(0, open_=True)])
    assert status_of(database) == "running"
    save(database, [span(0, open_=True, attributes={key.STATUS: "pending"})])
    assert status_of(database) == "running"


@pytest.mark.parametrize("real_first", [False, True])
def test_real_end_overrides_a_presumed_one_whichever_came_first(database: Database, real_first: bool) -> None:
    words = [lost(), span(0, end=200)]
    save(database, *([word] for word in (reversed(words) if real_first else words)))
    run = stored_run(database, run_id())
    assert (run["status"], run["stop_reason"], run["status_source"]) == ("completed", "completed", "span")
    assert run["error"] is None


def test_presumed_end_ends_a_running_run(database: Database) -> None:
    save(database, [span(0, open_=True)], [lost()])
    run = stored_run(database, run_id())
    assert (run["status"], run["stop_reason"], run["status_source"]) == ("failed", "lost", "reaper")


def test_step_that_failed_and_was_survived_degrades_the_run(database: Database) -> None:
    save(database, [span(0), span(1, 0, status="ERROR"), span(2, 0)])
    run = stored_run(database, run_id())
    assert (run["status"], run["stop_reason"], run["error"]) == ("degraded", "completed", None)


def test_step_that_fails_after_the_run_is_known_degrades_it_still(database: Database) -> None:
    save(database, [span(0)], [span(1, 0, status="ERROR")])
    assert status_of(database) == "degraded"


def test_retry_that_succeeded_heals_the_run_though_it_arrives_last(database: Database) -> None:
    failed = span(1, 0, name="load", status="ERROR")
    again = span(2, 0, name="load", attributes={key.ATTEMPT: 2})
    save(database, [span(0)], [failed])
    assert (status_of(database), stored_run(database, run_id())["retry_count"]) == ("degraded", 0)
    save(database, [again])
    assert (status_of(database), stored_run(database, run_id())["retry_count"]) == ("completed", 1)


def test_nested_run_that_failed_degrades_the_runs_around_it(database: Database) -> None:
    mark = {key.KIND: "run"}
    outer, inner = span(1, 0, attributes=mark), span(2, 1, attributes=mark, status="ERROR")
    save(database, [inner], [outer], [span(0)])
    assert stored_run(database, row_id(2))["status"] == "failed"
    assert stored_run(database, row_id(1))["status"] == "degraded"
    assert status_of(database) == "degraded"


@pytest.mark.parametrize("word", ["failed", "cancelled"])
def test_run_that_failed_or_was_cancelled_is_never_degraded(database: Database, word: str) -> None:
    save(database, [span(0, attributes={key.STATUS: word}), span(1, 0, status="ERROR")])
    assert status_of(database) == word


def test_skipped_and_cancelled_steps_do_not_degrade_a_run(database: Database) -> None:
    steps = [span(number, 0, attributes={key.STATUS: word}) for number, word in ((1, "skipped"), (2, "cancelled"))]
    save(database, [span(0), *steps])
    assert status_of(database) == "completed"


def test_step_that_is_still_running_when_its_run_ended_degrades_nothing(database: Database) -> None:
    save(database, [span(0), span(1, 0, open_=True, status="ERROR")])
    assert status_of(database) == "completed"
