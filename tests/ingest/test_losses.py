"""Runs that are presumed dead: what becomes of them and their steps, and how they come back."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from sqlalchemy import update

from otel_runs import attributes as key
from otel_runs.ids import run_id_from_key
from otel_runs.ingest import Ingest, Loss
from otel_runs.spans.span import Span
from otel_runs.store import tables
from otel_runs.store.engine import Database
from otel_runs.units import time_from_ns
from tests.ingest.contents import contents_of, empty
from tests.ingest.stored import Row, save, stored_run, stored_step
from tests.ingest.traces import SECOND, START, row_id, run_id, span, trace_id

NESTED = {key.KIND: "run"}


def beat(number: int = 0, parent: int | None = None, *, at: int, **parts: Any) -> Span:
    """An open run that is heard of so many seconds after START."""
    return span(number, parent, open_=True, **parts)._replace(heartbeat_ns=START + at * SECOND)


def lose(database: Database, id_: str, *, at: int, trace: int = 0) -> set[str]:
    """Say that a run was last heard of so many seconds after START."""
    return Ingest(database).declare_lost([Loss(id_, trace_id(trace), START + at * SECOND)])


def ending(row: Row) -> tuple[object, ...]:
    return row["status"], row["stop_reason"], row["completed_at"]


RUNNING = ("running", None, None)


def lost(at: int) -> tuple[object, ...]:
    return "failed", "lost", time_from_ns(START + at * SECOND)


def test_lost_run_failed_with_its_last_sign_of_life_and_says_so(database: Database) -> None:
    save(database, [beat(at=7)])
    assert lose(database, run_id(), at=7) == {run_id()}
    run = stored_run(database, run_id())
    assert ending(run) == lost(7)
    assert (run["status_source"], run["duration_ns"], run["duration_seconds"]) == ("reaper", 7 * SECOND, 7.0)
    assert run["error"].startswith("No sign of life since 2025-10-09 08:53:27 UTC, and no end: the process was killed")


def test_later_heartbeat_revives_a_lost_run_and_its_steps(database: Database) -> None:
    save(database, [beat(at=7), span(1, 0, open_=True), span(2, 0, end=5)])
    before = contents_of(database)
    lose(database, run_id(), at=7)
    assert ending(stored_step(database, row_id(1))) == lost(7)
    assert stored_step(database, row_id(2))["status"] == "success"
    save(database, [beat(at=8)])
    run = stored_run(database, run_id())
    assert (ending(run), run["error"], run["status_source"], run["steps"]) == (RUNNING, None, None, None)
    step = stored_step(database, row_id(1))
    assert (ending(step), step["error"]) == (RUNNING, None)
    assert contents_of(database)["model_runs"] == before["model_runs"]


def test_heartbeat_that_was_known_or_is_older_revives_nothing(database: Database) -> None:
    save(database, [beat(at=7)])
    lose(database, run_id(), at=7)
    save(database, [beat(at=7)], [beat(at=3)])
    assert ending(stored_run(database, run_id())) == lost(7)


def test_loss_that_comes_after_a_later_heartbeat_or_the_end_ends_nothing(database: Database) -> None:
    save(database, [beat(at=8)])
    assert lose(database, run_id(), at=7) == set()
    assert ending(stored_run(database, run_id())) == RUNNING
    save(database, [span(0)])
    assert lose(database, run_id(), at=9) == set()
    assert stored_run(database, run_id())["status"] == "completed"


def test_real_end_replaces_a_loss_and_the_steps_ends_replace_theirs(database: Database) -> None:
    save(database, [beat(at=7), span(1, 0, open_=True), span(2, 0, open_=True)])
    lose(database, run_id(), at=7)
    save(database, [span(0, end=9), span(1, 0, end=8, status="ERROR")])
    run = stored_run(database, run_id())
    assert (run["status"], run["stop_reason"], run["status_source"]) == ("degraded", "completed", "span")
    assert (run["error"], run["duration_ns"], run["heartbeat_at"]) == (
        None,
        9 * SECOND,
        time_from_ns(START + 7 * SECOND),
    )
    assert (stored_step(database, row_id(1))["status"], stored_step(database, row_id(1))["stop_reason"]) == (
        "failed",
        "error",
    )
    assert ending(stored_step(database, row_id(2))) == RUNNING


def test_step_that_was_lost_and_whose_run_ended_well_degrades_nothing(database: Database) -> None:
    save(database, [beat(at=7), span(1, 0, open_=True)])
    lose(database, run_id(), at=7)
    save(database, [span(0)])
    assert stored_run(database, run_id())["status"] == "completed"


def test_start_of_a_step_that_arrives_after_the_loss_is_lost_too_and_is_the_last_sign_of_life(
    database: Database,
) -> None:
    save(database, [beat(at=7)])
    lose(database, run_id(), at=7)
    save(database, [span(1, 0, open_=True)])
    assert ending(stored_step(database, row_id(1))) == lost(7)
    save(database, [span(9, 0, open_=True)])
    late = stored_step(database, row_id(9))
    assert (ending(late), late["duration_ns"]) == (lost(9), None)  # it started after the last heartbeat
    assert late["error"] == (
        "Lost with its run: its process has ended or was not heard of again, and nobody saw its end."
    )
    assert ending(stored_step(database, row_id(1))) == ending(stored_run(database, run_id())) == lost(9)


@pytest.mark.parametrize("reason", ["exit:3", "signal:SIGKILL"])
def test_steps_that_are_open_when_the_process_of_their_run_ends_are_lost_with_it(
    database: Database, reason: str
) -> None:
    ended = span(0, end=50, attributes={key.STATUS: "failed", key.STOP_REASON: reason})
    opened = span(1, 0, open_=True)
    contents = []
    for batches in ([[opened], [ended]], [[ended], [opened]], [[ended, opened]]):
        empty(database)
        save(database, *batches)
        assert ending(stored_step(database, row_id(1))) == lost(50)
        contents.append(contents_of(database))
    assert contents[0] == contents[1] == contents[2]
    save(database, [span(1, 0, end=60)])
    assert stored_step(database, row_id(1))["status"] == "success"


def test_a_step_that_starts_after_the_end_of_its_runs_process_is_lost_as_it_starts(database: Database) -> None:
    save(database, [span(0, end=5, attributes={key.STOP_REASON: "exit:1"}), span(9, 0, open_=True)])
    assert ending(stored_step(database, row_id(9))) == lost(9)


def test_a_run_with_a_key_goes_on_though_one_of_its_processes_ended(database: Database) -> None:
    part = {key.RUN_KEY: "nightly", key.KIND: "run"}
    save(database, [span(0, end=5, attributes={**part, key.STOP_REASON: "exit:1"})], [span(1, 0, open_=True)])
    assert stored_step(database, row_id(1))["status"] == "running"


def test_end_of_a_step_that_arrives_after_the_loss_stands_and_the_run_stays_lost(database: Database) -> None:
    save(database, [beat(at=7), span(1, 0, open_=True)])
    lose(database, run_id(), at=7)
    save(database, [span(1, 0, end=8)])
    assert stored_step(database, row_id(1))["status"] == "success"
    assert ending(stored_run(database, run_id())) == lost(8)


@pytest.mark.parametrize("at_once", [False, True])
def test_lost_run_ends_with_the_last_that_was_heard_of_it_its_steps_and_nested_runs_too(
    database: Database, at_once: bool
) -> None:
    heard = [
        beat(at=1),
        span(2, 0, end=4),
        span(3, 0, open_=True),
        span(1, 0, end=6, attributes=NESTED),
        span(5, 1, end=6),
    ]
    save(database, *([heard] if at_once else [[each] for each in heard]))
    lose(database, run_id(), at=1)
    run = stored_run(database, run_id())
    assert (ending(run), run["duration_ns"]) == (lost(6), 6 * SECOND)
    assert run["error"].startswith("No sign of life since 2025-10-09 08:53:26 UTC")
    assert ending(stored_step(database, row_id(3))) == lost(6)
    save(database, [beat(at=2)])
    assert ending(stored_run(database, run_id())) == ending(stored_step(database, row_id(3))) == RUNNING


def test_totals_of_a_lost_run_are_derived_and_derived_again(database: Database) -> None:
    save(database, [beat(at=7), span(1, 0, end=3, attributes={key.ROWS_OUT: 5})])
    lose(database, run_id(), at=7)
    run = stored_run(database, run_id())
    assert (run["rows_out"], run["steps"]) == (5, 1)
    save(database, [span(2, 0, end=7, attributes={key.ROWS_OUT: 2})])
    run = stored_run(database, run_id())
    assert (run["rows_out"], run["steps"], ending(run)) == (7, 2, lost(7))


def test_nested_run_is_lost_by_itself_and_degrades_the_run_around_it_until_it_is_heard_of(database: Database) -> None:
    inner = beat(1, 0, at=5, attributes=NESTED)
    save(database, [span(0), inner, span(2, 1, open_=True)])
    lose(database, row_id(1), at=5)
    assert ending(stored_run(database, row_id(1))) == lost(5)
    assert ending(stored_step(database, row_id(2))) == lost(5)
    assert stored_run(database, run_id())["status"] == "degraded"
    save(database, [inner._replace(heartbeat_ns=START + 6 * SECOND)])
    assert stored_run(database, run_id())["status"] == "completed"
    assert ending(stored_step(database, row_id(2))) == RUNNING


def test_nested_run_and_its_steps_outlive_the_loss_of_the_run_around_it(database: Database) -> None:
    save(database, [beat(at=5), beat(1, 0, at=9, attributes=NESTED), span(2, 1, open_=True), span(3, 0, open_=True)])
    lose(database, run_id(), at=5)
    assert ending(stored_run(database, row_id(1))) == RUNNING
    assert ending(stored_step(database, row_id(2))) == RUNNING
    assert ending(stored_step(database, row_id(3))) == lost(5)


def test_step_that_turns_out_to_be_in_a_nested_run_is_lost_with_that_one_alone(database: Database) -> None:
    save(database, [beat(at=5), span(2, 1, open_=True)])
    lose(database, run_id(), at=5)
    assert ending(stored_step(database, row_id(2))) == lost(5)
    save(database, [beat(1, 0, at=5, attributes=NESTED)])
    assert stored_step(database, row_id(2))["run_id"] == row_id(1)
    assert ending(stored_step(database, row_id(2))) == RUNNING


KEYED = {key.RUN_KEY: "nightly"}
NIGHTLY = run_id_from_key("nightly")


def part(trace: int, at: int) -> Span:
    return beat(trace=trace, at=at, attributes=KEYED)


def test_run_with_a_key_lives_while_one_of_its_parts_does(database: Database) -> None:
    save(database, [part(0, 5)], [part(1, 9)])
    assert stored_run(database, NIGHTLY)["heartbeat_at"] == time_from_ns(START + 9 * SECOND)
    assert lose(database, NIGHTLY, at=5) == set()
    assert lose(database, NIGHTLY, at=9) == {NIGHTLY}
    assert [ending(stored_step(database, row_id(0, trace))) for trace in (0, 1)] == [lost(9)] * 2
    save(database, [part(0, 10)])
    assert ending(stored_run(database, NIGHTLY)) == RUNNING
    assert [ending(stored_step(database, row_id(0, trace))) for trace in (0, 1)] == [RUNNING] * 2


def test_run_with_a_key_is_lost_though_one_of_its_parts_ended(database: Database) -> None:
    save(database, [part(0, 5), part(1, 5)], [span(0, trace=1, end=8, attributes=KEYED)])
    lose(database, NIGHTLY, at=5)
    assert ending(stored_run(database, NIGHTLY)) == lost(8)
    save(database, [span(0, attributes=KEYED, status="ERROR")])
    run = stored_run(database, NIGHTLY)
    assert (run["status"], run["stop_reason"], run["status_source"]) == ("failed", "error", "span")


def test_run_with_a_key_remembers_its_loss_when_an_old_part_turns_up(database: Database) -> None:
    events: list[Span | None] = [part(0, 5), part(1, 5), span(0, attributes=KEYED), None]
    found = []
    for order in itertools.permutations(events):
        if order[0] is None:
            continue  # nobody says it of a run that is not known
        empty(database)
        for each in order:
            if each is None:
                lose(database, NIGHTLY, at=5)
            else:
                save(database, [each])
        found.append(contents_of(database))
    assert all(contents == found[0] for contents in found)


def test_loss_of_a_run_that_is_gone_leaves_nothing(database: Database) -> None:
    assert lose(database, run_id(), at=5) == set()
    assert lose(database, row_id(1), at=5) == set()
    assert all(not rows for rows in contents_of(database).values())


@pytest.mark.parametrize("stamped", [False, True])
def test_loss_and_revival_change_nothing_else(database: Database, stamped: bool) -> None:
    stamp = {key.PARENT_RUN: row_id(1)} if stamped else {}
    inside = [beat(1, 0, at=5, attributes=NESTED), span(2, 1, attributes=stamp), span(3, 2, kind="CLIENT")]
    revival = inside[0]._replace(heartbeat_ns=START + 6 * SECOND)
    save(database, [*inside, revival])
    expected = contents_of(database)
    empty(database)
    save(database, inside)
    lose(database, row_id(1), at=5)
    save(database, [revival])
    with database.write() as connection:  # what is remembered of the loss apart
        assert connection.execute(update(tables.runs).values(lost_at=None)).rowcount == 2
    assert contents_of(database) == expected
