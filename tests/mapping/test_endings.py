"""How a span ended: its own word, then its status; an exception event alone is no failure."""

from __future__ import annotations

from typing import Any

import pytest

from otel_runs import attributes as key
from otel_runs.mapping.facts import facts_from_span
from otel_runs.records import ModelRun, Run
from otel_runs.spans.span import Event, StatusCode
from tests.ingest.traces import START, span

RAISED = Event(
    "exception",
    START,
    {
        key.EXCEPTION_TYPE: "ValueError",
        key.EXCEPTION_MESSAGE: "no rows",
        key.EXCEPTION_STACKTRACE: "Traceback (most recent call last):\n  in load\nValueError: no rows",
    },
)


def model_run(status: StatusCode = "UNSET", message: str | None = None, **parts: Any) -> ModelRun:
    found = facts_from_span(span(1, 0, status=status, **parts)._replace(status_message=message)).model_run
    assert found is not None
    return found


def run(status: StatusCode = "UNSET", **parts: Any) -> Run:
    found = facts_from_span(span(0, status=status, **parts)).run
    assert found is not None
    return found


@pytest.mark.parametrize("status", ["UNSET", "OK"])
def test_span_that_ended_without_an_error_is_a_success(status: StatusCode) -> None:
    step = model_run(status)
    assert (step.status, step.stop_reason, step.error, step.error_type) == ("success", "completed", None, None)
    assert (run(status).status, run(status).stop_reason, run(status).status_source) == (
        "completed",
        "completed",
        "span",
    )


def test_span_status_error_is_a_failure() -> None:
    step = model_run("ERROR", "no rows")
    assert (step.status, step.stop_reason, step.error, step.error_type) == ("failed", "error", "no rows", None)
    assert run("ERROR").status == "failed"


@pytest.mark.parametrize(
    ("word", "step", "run_"),
    [
        ("success", "success", "completed"),
        ("completed", "success", "completed"),
        ("failed", "failed", "failed"),
        ("skipped", "skipped", "completed"),
        ("cancelled", "cancelled", "cancelled"),
        ("Cancelled", "cancelled", "cancelled"),
    ],
)
@pytest.mark.parametrize("status", ["UNSET", "OK", "ERROR"])
def test_own_word_wins_over_the_spans_status(word: str, step: str, run_: str, status: StatusCode) -> None:
    assert model_run(status, attributes={key.STATUS: word}).status == step
    assert run(status, attributes={key.STATUS: word}).status == run_


@pytest.mark.parametrize("name", [key.CICD_PIPELINE_RESULT, key.CICD_TASK_RESULT])
@pytest.mark.parametrize(
    ("word", "status", "reason"),
    [
        ("success", "success", "completed"),
        ("failure", "failed", "error"),
        ("error", "failed", "error"),
        ("timeout", "failed", "timeout"),
        ("TIMEOUT", "failed", "timeout"),
        ("skip", "skipped", "skipped"),
        ("cancellation", "cancelled", "cancelled"),
    ],
)
def test_result_of_a_ci_pipeline_is_the_status(name: str, word: str, status: str, reason: str) -> None:
    step = model_run("OK", attributes={name: word})
    assert (step.status, step.stop_reason) == (status, reason)


def test_word_that_nobody_knows_leaves_the_spans_status_alone() -> None:
    assert model_run("OK", attributes={key.STATUS: "green"}).status == "success"
    assert model_run("ERROR", attributes={key.STATUS: "red"}).status == "failed"


def test_span_that_ended_is_never_running_whatever_it_says() -> None:
    assert model_run(attributes={key.STATUS: "running"}).status == "success"
    assert model_run("ERROR", attributes={key.STATUS: "pending"}).status == "failed"


def test_exception_event_without_status_error_is_a_success() -> None:
    step = model_run("UNSET", events=[RAISED])
    assert (step.status, step.error, step.error_type) == ("success", None, None)


def test_error_text_is_type_and_message_and_then_the_stack() -> None:
    step = model_run("ERROR", events=[RAISED])
    assert step.error is not None
    assert step.error.splitlines()[:2] == ["ValueError: no rows", "Traceback (most recent call last):"]
    assert step.error_type == "ValueError"


def test_last_exception_event_is_the_error() -> None:
    first = RAISED._replace(attributes={key.EXCEPTION_TYPE: "TimeoutError", key.EXCEPTION_MESSAGE: "first try"})
    step = model_run("ERROR", events=[first, RAISED, Event("retrying", START, {})])
    assert step.error is not None
    assert step.error.startswith("ValueError: no rows\n")


def test_type_is_not_said_twice_where_the_message_begins_with_it() -> None:
    event = RAISED._replace(attributes={key.EXCEPTION_TYPE: "shop.NoRowsError"})
    assert model_run("ERROR", "NoRowsError: none", events=[event]).error == "NoRowsError: none"
    assert model_run("ERROR", "shop.NoRowsError: none", events=[event]).error == "shop.NoRowsError: none"
    assert model_run("ERROR", "none", events=[event]).error == "shop.NoRowsError: none"


def test_error_without_an_event_is_read_off_the_attributes() -> None:
    attributes = {key.ERROR_TYPE: "timeout", key.EXCEPTION_MESSAGE: "after 5 s", key.EXCEPTION_STACKTRACE: "in load"}
    step = model_run("ERROR", attributes=attributes)
    assert (step.error, step.error_type) == ("timeout: after 5 s\nin load", "timeout")


def test_error_type_alone_is_the_error_text() -> None:
    step = model_run("ERROR", attributes={key.ERROR_TYPE: "timeout"})
    assert (step.error, step.error_type) == ("timeout", "timeout")


def test_failure_that_says_nothing_has_no_error_text() -> None:
    step = model_run("ERROR")
    assert (step.status, step.error, step.error_type) == ("failed", None, None)


def test_cancelled_span_keeps_its_error() -> None:
    step = model_run("UNSET", attributes={key.STATUS: "cancelled"}, events=[RAISED])
    assert step.status == "cancelled"
    assert step.error_type == "ValueError"


def test_skipped_span_has_no_error_though_an_exception_made_it_skip() -> None:
    step = model_run("ERROR", attributes={key.STATUS: "skipped", key.STOP_REASON: "unchanged"}, events=[RAISED])
    assert (step.status, step.stop_reason, step.error, step.error_type) == ("skipped", "unchanged", None, None)


@pytest.mark.parametrize("reason", ["signal:SIGTERM", "exit:3", "timeout", "lost"])
def test_stop_reason_is_what_the_span_says(reason: str) -> None:
    assert run("ERROR", attributes={key.STOP_REASON: reason}).stop_reason == reason
    assert model_run("UNSET", attributes={key.STOP_REASON: reason}).stop_reason == reason


def test_finish_reason_of_a_language_model_is_the_stop_reason() -> None:
    assert model_run(attributes={key.GEN_AI_FINISH_REASONS: ("stop", "length")}).stop_reason == "length"


def test_status_source_is_what_the_span_says_else_the_span() -> None:
    assert run(attributes={key.STATUS_SOURCE: "signal"}).status_source == "signal"
    assert run().status_source == "span"


def test_span_that_only_started_is_running_whatever_it_says() -> None:
    started = run("ERROR", open_=True, attributes={key.STATUS: "failed", key.STOP_REASON: "error"}, events=[RAISED])
    assert (started.status, started.stop_reason, started.status_source) == ("running", None, None)
    assert (started.completed_at, started.duration_ns, started.error) == (None, None, None)


def test_span_that_is_only_announced_is_created_or_pending() -> None:
    assert run(open_=True, attributes={key.STATUS: "pending"}).status == "created"
    assert model_run(open_=True, attributes={key.STATUS: "pending"}).status == "pending"
