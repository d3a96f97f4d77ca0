from __future__ import annotations

import json
import time

import pytest

from otel_runs import attributes as key
from otel_runs.process import process_identity
from otel_runs.settings import LOST_AFTER
from otel_runs.store.engine import Database
from tests.cli.conftest import CommandLine
from tests.ingest.traces import run_id
from tests.programs import words_of
from tests.reaper.lives import ELSEWHERE, LOST, RUNNING, beat, dead_process, status


def test_reap_says_which_runs_it_declared_lost_which_it_spared_and_why(
    otel_runs: CommandLine, history: Database
) -> None:
    beat(history, ago=61, process=dead_process(), name="nightly")
    beat(history, ago=61, trace=1, process=process_identity())
    beat(history, trace=2, process=ELSEWHERE)
    outcome = otel_runs("reap")
    assert (outcome.code, outcome.err) == (0, "")
    lost, spared, summary = outcome.out.splitlines()
    assert lost.startswith(f"lost    {run_id()}  nightly  last heard of 20")
    assert lost.endswith("on this machine has ended")
    assert spared.startswith(f"spared  {run_id(1)}  span 0  last heard of 20")
    assert spared.endswith("lives on this machine; it is stopped, or cannot write")
    assert summary == "1 run lost, 1 spared, 1 heard of."
    assert [status(history, trace) for trace in range(3)] == [LOST, RUNNING, RUNNING]


def test_reap_watches_runs_of_other_machines_and_says_so(otel_runs: CommandLine, history: Database) -> None:
    beat(history, ago=61, process=ELSEWHERE)
    outcome = otel_runs("reap", "--watch", "1s")
    assert outcome.err == "Watching 1 run for 1 s: their processes cannot be seen from here.\n"
    assert outcome.out.splitlines()[-1] == "1 run lost, 0 spared, 0 heard of."
    assert status(history) == LOST


def test_reap_as_json_holds_every_run_that_was_said_to_live(otel_runs: CommandLine, history: Database) -> None:
    at = beat(history, ago=61, process=dead_process())
    beat(history, trace=1)
    found = json.loads(otel_runs("reap", "--json").out)
    assert list(found) == ["lost", "spared", "heard"]
    [lost], [heard] = found["lost"], found["heard"]
    assert (lost["id"], lost["name"], heard["id"], found["spared"]) == (run_id(), "span 0", run_id(1), [])
    assert lost["heartbeat_at"] == time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 10**9)) + (
        f".{at // 1000 % 10**6:06d}Z"
    )


@pytest.mark.parametrize(("limit", "expected"), [("1m", LOST), ("2m", RUNNING), ("61.5", LOST), ("1h", RUNNING)])
def test_older_than_says_how_old_a_heartbeat_must_be(
    otel_runs: CommandLine, history: Database, limit: str, expected: tuple[str, str | None]
) -> None:
    beat(history, ago=70, process=dead_process())
    assert otel_runs("reap", "--older-than", limit).code == 0
    assert status(history) == expected


@pytest.mark.parametrize(("limit", "expected"), [("20", LOST), ("120", RUNNING)])
def test_default_limit_is_the_setting(
    otel_runs: CommandLine,
    history: Database,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    expected: tuple[str, str | None],
) -> None:
    beat(history, ago=70, process=dead_process())
    monkeypatch.setenv(LOST_AFTER.env, limit)
    otel_runs("reap")
    assert status(history) == expected


@pytest.mark.parametrize(("ago", "expected"), [(70, LOST), (30, RUNNING)])
def test_where_servers_never_reap_the_limit_is_the_default_of_the_setting(
    otel_runs: CommandLine,
    history: Database,
    monkeypatch: pytest.MonkeyPatch,
    ago: int,
    expected: tuple[str, str | None],
) -> None:
    beat(history, ago=ago, process=dead_process())
    monkeypatch.setenv(LOST_AFTER.env, "0")
    otel_runs("reap")
    assert status(history) == expected


@pytest.mark.parametrize("limit", ["0", "-1s", "soon", "60x", "", "1e9s"])
def test_limit_that_is_no_time_is_refused(otel_runs: CommandLine, history: Database, limit: str) -> None:
    outcome = otel_runs("reap", f"--older-than={limit}")
    assert outcome.code == 2
    assert f"--older-than is {limit!r}; expected a time above 0: 90s, 5m or 2h" in words_of(outcome.err)


def test_reap_without_a_history_says_so(otel_runs: CommandLine) -> None:
    outcome = otel_runs("reap")
    assert outcome.code == 1
    assert "there is no run history yet" in outcome.err


def test_names_cannot_act_on_the_terminal(otel_runs: CommandLine, history: Database) -> None:
    beat(history, ago=61, process=dead_process(), attributes={key.RUN_NAME: "\x1b[31mevil\nspared"})
    assert "\x1b" not in otel_runs("reap").out
    assert len(otel_runs("reap").out.splitlines()) == 1
