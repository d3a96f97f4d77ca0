"""Which spans become rows: decided span by span."""

from __future__ import annotations

from typing import Any

import pytest

from otel_runs import attributes as key
from otel_runs.mapping.facts import facts_from_span
from otel_runs.records import KINDS
from otel_runs.spans.span import Resource, SpanKind
from tests.ingest.traces import RESOURCE, row_id, run_id, span

ALL_KINDS: tuple[SpanKind, ...] = ("INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_root_span_of_any_kind_is_a_run_and_no_model_run(kind: SpanKind) -> None:
    facts = facts_from_span(span(0, kind=kind))
    assert facts.run is not None
    assert facts.model_run is None
    assert facts.model is None


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_root_span_marked_as_a_step_is_still_the_run(kind: SpanKind) -> None:
    facts = facts_from_span(span(0, kind=kind, attributes={key.KIND: "step"}))
    assert facts.run is not None
    assert facts.model_run is None


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_span_marked_as_a_run_below_another_is_a_run_whatever_its_kind(kind: SpanKind) -> None:
    facts = facts_from_span(span(1, 0, kind=kind, attributes={key.KIND: "run"}))
    assert facts.run is not None
    assert facts.run.id == row_id(1)
    assert facts.model_run is None


@pytest.mark.parametrize("kind", ["INTERNAL", "PRODUCER", "CONSUMER"])
def test_unmarked_internal_consumer_and_producer_spans_are_steps(kind: SpanKind) -> None:
    facts = facts_from_span(span(1, 0, kind=kind))
    assert facts.run is None
    assert facts.model_run is not None
    assert facts.model_run.kind == "step"


@pytest.mark.parametrize("kind", ["CLIENT", "SERVER"])
def test_unmarked_client_and_server_spans_below_the_root_have_no_row(kind: SpanKind) -> None:
    facts = facts_from_span(span(1, 0, kind=kind))
    assert facts.run is None
    assert facts.model_run is None


@pytest.mark.parametrize("mark", KINDS)
def test_marked_client_span_is_a_model_run_of_the_kind_it_is_marked_as(mark: str) -> None:
    facts = facts_from_span(span(1, 0, kind="CLIENT", attributes={key.KIND: mark}))
    assert facts.model_run is not None
    assert facts.model_run.kind == mark


def test_a_mark_that_nobody_knows_is_a_step() -> None:
    facts = facts_from_span(span(1, 0, kind="CLIENT", attributes={key.KIND: "window"}))
    assert facts.model_run is not None
    assert facts.model_run.kind == "step"


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("chat", "llm"),
        ("generate_content", "llm"),
        ("text_completion", "llm"),
        ("embeddings", "llm"),
        ("retrieval", "query"),
        ("create_agent", "agent"),
        ("invoke_agent", "agent"),
        ("invoke_workflow", "agent"),
        ("plan", "agent"),
        ("execute_tool", "tool"),
        ("something_new", "step"),
    ],
)
def test_gen_ai_operation_on_a_client_span_makes_a_model_run(operation: str, kind: str) -> None:
    facts = facts_from_span(span(1, 0, kind="CLIENT", attributes={key.GEN_AI_OPERATION: operation}))
    assert facts.model_run is not None
    assert facts.model_run.kind == kind


def test_mark_wins_over_the_gen_ai_operation() -> None:
    attributes = {key.KIND: "task", key.GEN_AI_OPERATION: "chat"}
    facts = facts_from_span(span(1, 0, attributes=attributes))
    assert facts.model_run is not None
    assert facts.model_run.kind == "task"


def test_model_run_presumes_its_parent_span_as_parent_row() -> None:
    facts = facts_from_span(span(2, 1))
    assert facts.model_run is not None
    assert facts.model_run.parent_id == row_id(1)
    assert facts.run_id == ""


def test_stamp_of_the_run_places_a_span_without_its_trace() -> None:
    facts = facts_from_span(span(2, 1, attributes={key.PARENT_RUN: row_id(1)}))
    assert facts.run_id == row_id(1)


@pytest.mark.parametrize("stamp", ["nightly", "", 12, row_id(1).upper().replace("0", "A")])
def test_stamp_that_is_no_row_id_counts_as_none(stamp: object) -> None:
    assert facts_from_span(span(2, 1, attributes={key.PARENT_RUN: stamp})).run_id == ""


def test_key_on_the_root_span_makes_it_the_run_and_a_model_run_of_it() -> None:
    facts = facts_from_span(span(0, attributes={key.RUN_KEY: "nightly"}))
    assert facts.is_anchor
    assert facts.run is not None
    assert facts.model_run is not None
    assert facts.run.run_key == "nightly"
    assert facts.model_run.run_id == facts.model_run.parent_id == facts.run.id != run_id()


def _on_resource(**attributes: Any) -> Resource:
    return Resource({**RESOURCE.attributes, key.RUN_KEY: "nightly", **attributes})


@pytest.mark.parametrize(
    ("parent", "remote", "anchor"), [(None, None, True), (0, True, True), (0, False, False), (0, None, False)]
)
def test_key_on_the_resource_makes_an_anchor_of_the_outermost_spans_only(
    parent: int | None, remote: bool | None, anchor: bool
) -> None:
    facts = facts_from_span(span(1, parent, resource=_on_resource(), parent_is_remote=remote))
    assert facts.is_anchor is anchor
    assert facts.run_id == facts_from_span(span(0, attributes={key.RUN_KEY: "nightly"})).run_id


def test_client_span_in_a_process_with_a_key_still_has_no_row() -> None:
    facts = facts_from_span(span(1, 0, kind="CLIENT", resource=_on_resource()))
    assert facts.run is None
    assert facts.model_run is None


def test_stamp_wins_over_a_key() -> None:
    facts = facts_from_span(span(1, 0, attributes={key.PARENT_RUN: run_id(), key.RUN_KEY: "nightly"}))
    assert facts.run_id == run_id()
    assert not facts.is_anchor


def test_a_key_on_the_span_wins_over_one_on_the_resource() -> None:
    facts = facts_from_span(span(0, attributes={key.RUN_KEY: "weekly"}, resource=_on_resource()))
    assert facts.run is not None
    assert facts.run.run_key == "weekly"
