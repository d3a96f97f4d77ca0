"""Two records of one span become one, whichever came first."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_runs import attributes as key
from otel_runs.mapping.facts import facts_from_span
from otel_runs.mapping.losses import is_lost, lost_run, unlost_run, unlost_step
from otel_runs.mapping.merge import merge_model_runs, merge_runs
from otel_runs.records import ModelRun, Run
from otel_runs.spans.span import Span, StatusCode
from tests.ingest.traces import span

_TOLD = st.dictionaries(
    st.sampled_from([key.ROWS_IN, key.ROWS_OUT, key.GEN_AI_INPUT_TOKENS, key.GEN_AI_OUTPUT_TOKENS]),
    st.integers(0, 3),
    max_size=3,
)


@st.composite
def told(draw: st.DrawFn) -> list[Span]:
    """One span as it is told: announced, started, and ended with what it knew at the start and more."""
    known = draw(_TOLD)
    more = draw(_TOLD)
    started = span(1, 0, open_=True, attributes=known)
    announced = started._replace(attributes={key.STATUS: "pending"})
    statuses: tuple[StatusCode, ...] = ("UNSET", "ERROR")
    status = draw(st.sampled_from(statuses))
    ended = span(1, 0, end=draw(st.integers(5, 9)), status=status, attributes={**known, **more})
    return [announced, started, ended]


def _model_run(spanned: Span) -> ModelRun:
    found = facts_from_span(spanned).model_run
    assert found is not None
    return found


def _run(spanned: Span) -> Run:
    found = facts_from_span(spanned._replace(parent_span_id=None)).run
    assert found is not None
    return found


@given(told(), st.data())
def test_merging_in_any_order_and_as_often_as_one_likes_gives_the_same_model_run(
    spans: list[Span], data: st.DataObject
) -> None:
    records = [_model_run(each) for each in spans]
    expected = merge_model_runs(merge_model_runs(records[0], records[1]), records[2])
    merged, *rest = data.draw(st.permutations(records * 2))
    for record in rest:
        merged = merge_model_runs(merged, record)
    assert merged == expected


@given(told(), st.data())
def test_merging_in_any_order_and_as_often_as_one_likes_gives_the_same_run(
    spans: list[Span], data: st.DataObject
) -> None:
    records = [_run(each) for each in spans]
    expected = merge_runs(merge_runs(records[0], records[1]), records[2])
    merged, *rest = data.draw(st.permutations(records * 2))
    for record in rest:
        merged = merge_runs(merged, record)
    assert merged == expected


@given(told())
def test_merging_is_associative(spans: list[Span]) -> None:
    one, two, three = (_run(each) for each in spans)
    assert merge_runs(merge_runs(one, two), three) == merge_runs(one, merge_runs(two, three))


_VALUES = st.none() | st.integers(0, 2)


@st.composite
def ends(draw: st.DrawFn) -> Run:
    """One span's end, on a way where something was taken out of it or put in."""
    return _ended(
        status=draw(st.sampled_from(["completed", "failed", "cancelled"])),
        completed_at=draw(st.integers(5, 6)),
        error=draw(st.none() | st.sampled_from(["KeyError: 'a'", "ValueError"])),
        rows_in=draw(_VALUES),
        rows_out=draw(_VALUES),
        session_id=draw(st.none() | st.sampled_from(["s", "t"])),
        background=draw(st.none() | st.booleans()),
        metadata=draw(st.none() | st.dictionaries(st.sampled_from("ab"), _VALUES | st.just("x") | st.just(1.0))),
    )


def _written(run: Run) -> str:
    """As it is stored: 1 and 1.0 differ, the order of keys does not count."""
    return repr(run._replace(metadata=None)) + json.dumps(run.metadata, sort_keys=True)


@given(st.lists(ends(), min_size=3, max_size=3), st.data())
def test_ends_that_differ_are_one_run_whatever_their_order_and_number(runs: list[Run], data: st.DataObject) -> None:
    expected = merge_runs(merge_runs(runs[0], runs[1]), runs[2])
    merged, *rest = data.draw(st.permutations(runs * 2))
    for run in rest:
        merged = merge_runs(merged, run)
    assert _written(merged) == _written(expected)


@given(told())
def test_merging_is_idempotent(spans: list[Span]) -> None:
    for record in map(_model_run, spans):
        assert merge_model_runs(record, record) == record


@given(told())
def test_what_is_known_is_never_replaced_by_nothing(spans: list[Span]) -> None:
    _, started, ended = (_model_run(each) for each in spans)
    merged = merge_model_runs(ended, started)
    for name in ("rows_in", "rows_out", "input_tokens", "output_tokens", "tokens"):
        if getattr(started, name) is not None or getattr(ended, name) is not None:
            assert getattr(merged, name) is not None


def _ended(**columns: Any) -> Run:
    return _run(span(0))._replace(**columns)


def test_late_real_end_overrides_a_presumed_one_in_any_order() -> None:
    presumed = _ended(status="failed", stop_reason="lost", status_source="reaper", error="no heartbeat for 60 s")
    real = _ended()
    for merged in (merge_runs(presumed, real), merge_runs(real, presumed)):
        assert (merged.status, merged.stop_reason, merged.status_source) == ("completed", "completed", "span")
        assert merged.error is None


def test_late_real_end_of_a_step_overrides_a_presumed_one_in_any_order() -> None:
    real = _model_run(span(1, 0))
    presumed = real._replace(status="failed", stop_reason="lost", error="no heartbeat for 60 s", completed_at=7)
    for merged in (merge_model_runs(presumed, real), merge_model_runs(real, presumed)):
        assert merged == real


def test_presumed_end_wins_over_running() -> None:
    running = _run(span(0, open_=True))
    presumed = _ended(status="failed", stop_reason="lost", status_source="reaper")
    assert merge_runs(running, presumed) == merge_runs(presumed, running) == presumed


def test_of_two_ends_that_differ_the_later_one_stands_in_any_order() -> None:
    early, late = _run(span(0, end=5, status="ERROR")), _run(span(0, end=6))
    assert merge_runs(early, late).status == merge_runs(late, early).status == "completed"


def test_what_only_the_start_said_is_kept() -> None:
    started = _run(span(0, open_=True))._replace(rows_in=7, session_id="s1", metadata={"batch": 1}, external_id="job-7")
    for merged in (merge_runs(_ended(), started), merge_runs(started, _ended())):
        assert (merged.rows_in, merged.session_id, merged.metadata, merged.external_id) == (
            7,
            "s1",
            {"batch": 1},
            "job-7",
        )


def test_an_environment_that_is_stated_wins_over_one_that_is_not() -> None:
    started = _run(span(0, open_=True))._replace(environment="acceptance")
    for one, other in ((_ended(), started), (_ended()._replace(environment="acceptance"), _ended())):
        assert merge_runs(one, other).environment == merge_runs(other, one).environment == "acceptance"


@st.composite
def signs(draw: st.DrawFn) -> list[Run]:
    """What is heard of one run while it lives, what is said of it when it is not, and perhaps its end."""
    running = _run(span(0, open_=True))
    found = [
        running._replace(heartbeat_at=draw(st.integers(0, 3)), process=draw(st.sampled_from([None, "a", "b"])))
        for _ in range(draw(st.integers(1, 4)))
    ]
    found += [running._replace(lost_at=draw(st.integers(0, 3))) for _ in range(draw(st.integers(0, 2)))]
    return found + ([_ended()] if draw(st.booleans()) else [])


@given(signs(), st.data())
def test_signs_of_life_losses_and_ends_in_any_order_and_number_are_one_run(
    runs: list[Run], data: st.DataObject
) -> None:
    merged, *rest = data.draw(st.permutations(runs * 2))
    for run in rest:
        merged = merge_runs(merged, run)
    expected, *others = runs
    for run in others:
        expected = merge_runs(expected, run)
    assert merged == expected
    beats = [run.heartbeat_at for run in runs if run.heartbeat_at is not None]
    losses = [run.lost_at for run in runs if run.lost_at is not None]
    assert merged.heartbeat_at == max(beats)
    assert is_lost(merged) == (merged.status == "running" and bool(losses) and max(beats) <= max(losses))


@given(signs(), signs(), signs())
def test_merging_signs_of_life_is_associative(one: list[Run], two: list[Run], three: list[Run]) -> None:
    first, second, third = one[0], two[-1], three[-1]
    assert merge_runs(merge_runs(first, second), third) == merge_runs(first, merge_runs(second, third))


@given(signs())
def test_what_a_loss_made_of_a_run_can_be_taken_back(runs: list[Run]) -> None:
    for run in runs:
        if run.status == "running":
            assert unlost_run(lost_run(run)) == run


def test_end_of_a_step_by_the_loss_of_its_run_is_told_from_one_that_its_span_states() -> None:
    running = _model_run(span(1, 0, open_=True))
    presumed = running._replace(status="failed", stop_reason="lost", error="lost", completed_at=7)
    stated = presumed._replace(duration_ns=0)
    assert unlost_step(presumed) == running
    assert unlost_step(stated) == stated
