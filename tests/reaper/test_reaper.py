"""Dead runs become lost, and living ones do not, whatever their clocks say and however silent they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import select

from otel_runs import attributes as key
from otel_runs.ids import run_id_from_key
from otel_runs.ingest import Ingest
from otel_runs.process import process_identity
from otel_runs.reaper.judgement import Judgement, Limits
from otel_runs.reaper.once import reap_once
from otel_runs.reaper.reaper import Reaper
from otel_runs.store import tables
from otel_runs.store.engine import Database, open_database
from tests.at_once import at_once
from tests.ingest.stored import stored_run
from tests.ingest.traces import row_id, run_id, span
from tests.reaper.lives import ELSEWHERE, LOST, RUNNING, beat, dead_process, end, status

HOUR = 3600
LIMITS = Limits(lost_after=60, confirm=0.5)


def nobody_watches(runs: int, seconds: float) -> None:
    pytest.fail(f"{runs} runs are watched for {seconds} s")


def verdicts(judgements: list[Judgement]) -> dict[str, str]:
    return {each.run.id: each.verdict for each in judgements}


@pytest.fixture
def while_watched(database_url_for_test: str, database: Database) -> Callable[..., list[Judgement]]:
    """Reaps once, and does something when the watch has begun."""

    def reap(doing: Callable[[], object] = time.time, limits: Limits = LIMITS) -> list[Judgement]:
        watched: list[int] = []

        def begin(runs: int, seconds: float) -> None:
            watched.append(runs)
            doing()

        judgements = reap_once(database_url_for_test, limits, begin)
        assert watched == [1]
        while any("without a break" in each.reason for each in judgements):  # the machine was busy
            judgements = reap_once(database_url_for_test, limits, lambda runs, seconds: None)
        return judgements

    return reap


def test_run_of_another_machine_that_is_silent_while_watched_is_lost(
    database: Database, while_watched: Callable[..., list[Judgement]]
) -> None:
    beat(database, ago=61, process=ELSEWHERE)
    [judgement] = while_watched()
    assert judgement.verdict == "lost"
    assert judgement.reason.startswith("not heard of in ")
    assert status(database) == LOST


def test_run_that_nobody_gave_a_heartbeat_is_never_lost(database: Database, database_url_for_test: str) -> None:
    Ingest(database).save([span(0, open_=True), span(1, 0, trace=1)])
    assert reap_once(database_url_for_test, LIMITS, nobody_watches) == []
    assert (status(database), status(database, 1)) == (RUNNING, RUNNING)


def test_run_that_was_heard_of_within_the_limit_is_not_even_watched(
    database: Database, database_url_for_test: str
) -> None:
    beat(database, ago=30, process=ELSEWHERE)
    assert verdicts(reap_once(database_url_for_test, LIMITS, nobody_watches)) == {run_id(): "heard"}
    assert status(database) == RUNNING


def test_run_whose_process_has_ended_is_lost_at_once(database: Database, database_url_for_test: str) -> None:
    beat(database, ago=61, process=dead_process())
    [judgement] = reap_once(database_url_for_test, LIMITS, nobody_watches)
    assert judgement.reason.endswith("on this machine has ended")
    assert status(database) == LOST


@pytest.mark.parametrize("ago", [61, 24 * HOUR, -HOUR])
def test_run_whose_process_lives_is_spared_however_old_its_heartbeat(
    database: Database, database_url_for_test: str, ago: int
) -> None:
    beat(database, ago=ago, process=process_identity())
    assert verdicts(reap_once(database_url_for_test, LIMITS, nobody_watches)) == {run_id(): "spared"}
    assert status(database) == RUNNING


def test_run_whose_clock_is_an_hour_behind_lives_as_long_as_its_heartbeat_changes(
    database: Database, while_watched: Callable[..., list[Judgement]]
) -> None:
    beat(database, ago=HOUR, process=ELSEWHERE)
    [judgement] = while_watched(lambda: beat(database, ago=HOUR, process=ELSEWHERE))
    assert (judgement.verdict, judgement.reason) == ("heard", "it was heard of while it was watched")
    assert status(database) == RUNNING


def test_heartbeat_from_the_future_is_watched_for_the_whole_limit(
    database: Database, while_watched: Callable[..., list[Judgement]]
) -> None:
    beat(database, ago=-HOUR, process=ELSEWHERE)
    began = time.monotonic()
    limits = Limits(lost_after=1.5, confirm=0.1)
    [judgement] = while_watched(limits=limits)
    assert judgement.verdict == "lost"
    assert time.monotonic() - began >= limits.lost_after
    assert status(database) == LOST


def test_run_with_a_clock_ahead_lives_as_long_as_its_heartbeat_changes(
    database: Database, while_watched: Callable[..., list[Judgement]]
) -> None:
    beat(database, ago=-HOUR, process=ELSEWHERE)
    judgements = while_watched(lambda: beat(database, ago=-HOUR, process=ELSEWHERE), limits=Limits(1.5, 0.1))
    assert verdicts(judgements) == {run_id(): "heard"}
    assert status(database) == RUNNING


def test_run_that_ends_while_it_is_watched_has_its_own_end(
    database: Database, while_watched: Callable[..., list[Judgement]]
) -> None:
    beat(database, ago=61, process=ELSEWHERE)
    [judgement] = while_watched(lambda: end(database))
    assert judgement.reason == "it ended while it was watched"
    assert status(database) == ("completed", "completed")


def test_lost_run_that_wakes_up_runs_again_and_ends_as_it_says(
    database: Database, while_watched: Callable[..., list[Judgement]]
) -> None:
    beat(database, ago=61, process=ELSEWHERE)
    while_watched()
    assert status(database) == LOST
    beat(database, process=ELSEWHERE)
    assert status(database) == RUNNING
    end(database)
    assert status(database) == ("completed", "completed")


def test_run_with_a_key_is_watched_though_one_of_its_processes_has_ended(
    database: Database, while_watched: Callable[..., list[Judgement]]
) -> None:
    keyed = {key.RUN_KEY: "nightly"}
    beat(database, ago=61, process=dead_process(), attributes=keyed)
    beat(database, ago=62, trace=1, process=ELSEWHERE, attributes=keyed)
    [judgement] = while_watched(lambda: beat(database, ago=60.5, trace=1, process=ELSEWHERE, attributes=keyed))
    assert (judgement.verdict, judgement.run.id) == ("heard", run_id_from_key("nightly"))
    [judgement] = while_watched()
    assert judgement.verdict == "lost"
    assert stored_run(database, run_id_from_key("nightly"))["stop_reason"] == "lost"


def test_heartbeat_between_the_look_and_the_word_saves_the_run(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat(database, ago=61, process=dead_process())
    ingest = Ingest(database)
    declare = ingest.declare_lost

    def too_late(losses: list[object]) -> set[str]:
        beat(database, process=ELSEWHERE)
        return declare(losses)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(ingest, "declare_lost", too_late)
    [judgement] = Reaper(LIMITS).look(database, ingest)
    assert judgement.verdict == "heard"
    assert status(database) == RUNNING


def test_reaper_that_was_away_watches_anew(database: Database) -> None:
    """A machine that slept or was stopped cannot know whether others were silent meanwhile."""
    limits = Limits(lost_after=2, confirm=2)
    reaper, ingest = Reaper(limits), Ingest(database)
    beat(database, ago=HOUR, process=ELSEWHERE)
    assert verdicts(reaper.look(database, ingest)) == {run_id(): "awaited"}
    time.sleep(2.1)
    [judgement] = reaper.look(database, ingest)
    assert (judgement.verdict, judgement.seconds_left) == ("awaited", 2.0)


def test_two_reapers_at_once_lose_each_run_once_and_leave_the_same_rows(
    database: Database, database_url_for_test: str
) -> None:
    for trace in range(20):
        beat(database, ago=61, trace=trace, process=dead_process())
    at_once(*[partial(reap_once, database_url_for_test, LIMITS, nobody_watches)] * 2)
    assert {status(database, trace) for trace in range(20)} == {LOST}


def test_run_that_beats_is_never_lost_however_long_it_is_watched(database: Database) -> None:
    limits = Limits(lost_after=0.5, confirm=0.5)
    reaper, ingest = Reaper(limits), Ingest(database)
    until = time.monotonic() + 3 * limits.lost_after
    while time.monotonic() < until:
        beat(database, ago=HOUR, process=ELSEWHERE)
        assert verdicts(reaper.look(database, ingest)) == {run_id(): "awaited"}
        time.sleep(0.05)
    assert status(database) == RUNNING


def test_run_that_another_writer_holds_is_left_alone_and_holds_up_no_other(new_postgres_url: Callable[[], str]) -> None:
    """A writer that was stopped in the middle of its transaction keeps its locks."""
    with open_database(new_postgres_url()) as database:
        for trace in range(3):
            beat(database, ago=61, trace=trace, process=dead_process())
        nested = {key.KIND: "run"}
        beat(database, ago=61, trace=1, process=dead_process(), number=1, parent=0, attributes=nested)
        with database.write() as connection:
            connection.execute(select(tables.runs.c.id).where(tables.runs.c.id == run_id(1)).with_for_update())
            judgements = verdicts(Reaper(LIMITS).look(database, Ingest(database)))
        assert judgements == {run_id(0): "lost", run_id(1): "heard", row_id(1, 1): "heard", run_id(2): "lost"}
        assert [status(database, trace) for trace in range(3)] == [LOST, RUNNING, LOST]
        assert set(verdicts(Reaper(LIMITS).look(database, Ingest(database))).values()) == {"lost"}
