"""Ids are computed from the trace; what names a run and what it is made with come from span and resource."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from otel_runs import attributes as key
from otel_runs.ids import is_span_id, is_trace_id, model_id_from_path, run_id_from_key
from otel_runs.mapping.facts import facts_from_span
from otel_runs.records import Model, ModelRun, Run
from otel_runs.spans.span import Resource, Span
from tests.ingest.traces import span

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def in_trace(spanned: Span) -> Span:
    return spanned._replace(trace_id=TRACE, span_id=SPAN)


def run_of(spanned: Span) -> Run:
    found = facts_from_span(spanned).run
    assert found is not None
    return found


def model_run_of(spanned: Span) -> ModelRun:
    found = facts_from_span(spanned).model_run
    assert found is not None
    return found


def model_of(spanned: Span) -> Model:
    found = facts_from_span(spanned).model
    assert found is not None
    return found


def root(**attributes: Any) -> Run:
    return run_of(span(0, attributes=attributes))


def test_id_of_a_root_run_is_the_trace_id_written_as_a_uuid() -> None:
    run = run_of(in_trace(span(0)))
    assert run.id == "0af76519-16cd-43dd-8448-eb211c80319c"
    assert uuid.UUID(run.id).hex == TRACE == run.trace_id
    assert run.root_span_id == SPAN


def test_id_of_a_nested_run_is_half_the_trace_id_and_the_span_id() -> None:
    run = run_of(in_trace(span(1, 0, attributes={key.KIND: "run"})))
    assert run.id == "0af76519-16cd-43dd-b7ad-6b7169203331"
    assert run.root_span_id == SPAN


def test_id_of_a_model_run_is_half_the_trace_id_and_the_span_id() -> None:
    model_run = model_run_of(in_trace(span(1, 0)))
    assert model_run.id == "0af76519-16cd-43dd-b7ad-6b7169203331"
    assert (model_run.trace_id, model_run.span_id) == (TRACE, SPAN)


def test_id_of_a_run_with_a_key_is_the_uuid5_of_the_key_in_every_trace() -> None:
    ids = {run_of(span(0, trace=trace, attributes={key.RUN_KEY: "nightly"})).id for trace in range(3)}
    assert ids == {run_id_from_key("nightly")}
    assert uuid.UUID(ids.pop()).version == 5


def test_id_of_a_model_is_the_uuid5_of_its_path() -> None:
    ids = {model_of(span(number, 0, attributes={key.MODEL_PATH: "marts.revenue"})).id for number in (1, 2)}
    assert ids == {model_id_from_path("marts.revenue")}
    assert uuid.UUID(ids.pop()).version == 5


def test_computed_ids_never_change_between_versions() -> None:
    assert run_id_from_key("nightly") == "ba4837f2-398c-5a9b-8952-fc34d67f6bf9"
    assert model_id_from_path("marts.revenue") == "85afa97f-209f-5aaf-8235-73fab2a08402"


@pytest.mark.parametrize("bad", ["0" * 32, "g" * 32, TRACE.upper(), TRACE[:-1], TRACE + "\n", ""])
def test_trace_id_that_w3c_forbids_is_none(bad: str) -> None:
    assert is_trace_id(TRACE)
    assert not is_trace_id(bad)


@pytest.mark.parametrize("bad", ["0" * 16, "g" * 16, SPAN.upper(), SPAN[:-1], SPAN + "\n", ""])
def test_span_id_that_w3c_forbids_is_none(bad: str) -> None:
    assert is_span_id(SPAN)
    assert not is_span_id(bad)


def test_run_is_named_by_its_own_key_else_by_its_span() -> None:
    assert root().name == "span 0"
    assert root(**{key.RUN_NAME: "nightly load"}).name == "nightly load"


def test_span_without_a_name_is_called_unknown() -> None:
    nameless = span(0)._replace(name="")
    assert run_of(nameless).name == "unknown"


def test_environment_is_default_where_nobody_names_one() -> None:
    assert root().environment == "default"


@pytest.mark.parametrize("name", [key.ENVIRONMENT, key.ENVIRONMENT_OLD])
def test_environment_is_read_off_the_resource(name: str) -> None:
    assert run_of(span(0, resource=Resource({name: "prod"}))).environment == "prod"


def test_environment_of_the_span_wins_over_that_of_the_resource() -> None:
    resource = Resource({key.ENVIRONMENT: "prod"})
    assert run_of(span(0, attributes={key.ENVIRONMENT: "ci"}, resource=resource)).environment == "ci"


def test_newer_name_of_the_environment_wins_whatever_the_order_of_attributes() -> None:
    for names in ([key.ENVIRONMENT, key.ENVIRONMENT_OLD], [key.ENVIRONMENT_OLD, key.ENVIRONMENT]):
        values = {name: "new" if name == key.ENVIRONMENT else "old" for name in names}
        assert root(**values).environment == "new"


def test_id_of_the_users_own_is_kept_up_to_64_characters() -> None:
    assert root(**{key.RUN_ID: "x" * 65}).external_id == "x" * 64
    assert root(**{key.CICD_PIPELINE_RUN_ID: 4711}).external_id == "4711"


def test_name_and_id_on_the_resource_are_of_the_root_run_alone() -> None:
    resource = Resource({key.RUN_NAME: "nightly", key.CICD_PIPELINE_RUN_ID: 123})
    run = run_of(span(0, resource=resource))
    assert (run.name, run.external_id) == ("nightly", "123")
    for is_remote in (None, False, True):
        window = span(1, 0, attributes={key.KIND: "run"}, resource=resource, parent_is_remote=is_remote)
        assert (run_of(window).name, run_of(window).external_id) == ("span 1", None)
    named = span(1, 0, attributes={key.KIND: "run", key.RUN_NAME: "window", key.RUN_ID: "w1"}, resource=resource)
    assert (run_of(named).name, run_of(named).external_id) == ("window", "w1")


def test_name_and_id_on_the_resource_are_of_a_run_with_a_key_wherever_its_parts_are() -> None:
    resource = Resource({key.RUN_NAME: "nightly", key.RUN_ID: "job-7", key.RUN_KEY: "2026-01-09"})
    for part in (span(0, resource=resource), span(1, 0, resource=resource, parent_is_remote=True)):
        assert (run_of(part).name, run_of(part).external_id) == ("nightly", "job-7")
    nested = span(1, 0, attributes={key.KIND: "run"}, resource=resource)
    assert (run_of(nested).name, run_of(nested).external_id) == ("span 1", None)


def test_code_ref_ends_in_dirty_where_the_working_tree_differed() -> None:
    assert root(**{key.VCS_REVISION: "c" * 40}).code_ref == "c" * 40
    assert root(**{key.VCS_REVISION: "c" * 40, key.CODE_DIRTY: True}).code_ref == f"{'c' * 40}-dirty"
    assert root(**{key.VCS_REVISION: "c" * 40, key.CODE_DIRTY: False}).code_ref == "c" * 40


def test_code_ref_is_read_off_the_resource_too() -> None:
    assert run_of(span(0, resource=Resource({key.VCS_REVISION: "c" * 40}))).code_ref == "c" * 40


def test_what_a_run_was_made_with_is_kept() -> None:
    run = root(
        **{
            key.TENANT_ID: "acme",
            key.INPUT_FINGERPRINT: "sha256:1",
            key.CONFIG_HASH: "sha256:2",
            key.SESSION_ID: "s1",
            key.BACKGROUND: True,
            key.STEPS_EXPECTED: 7,
            key.GEN_AI_TTFT: 0.25,
        }
    )
    assert (run.tenant_id, run.input_fingerprint, run.config_hash) == ("acme", "sha256:1", "sha256:2")
    assert (run.session_id, run.background, run.steps_expected, run.ttft_ns) == ("s1", True, 7, 250_000_000)


def test_conversation_wins_over_session() -> None:
    assert root(**{key.SESSION_ID: "s1", key.GEN_AI_CONVERSATION_ID: "c1"}).session_id == "c1"


def test_model_path_is_given_or_the_function_or_the_span() -> None:
    assert model_of(span(1, 0, name="load")).path == "load"
    assert model_of(span(1, 0, name="load", attributes={key.CODE_FUNCTION: "shop.etl.load"})).path == "shop.etl.load"
    both = {key.CODE_FUNCTION: "shop.etl.load", key.MODEL_PATH: "marts.orders"}
    assert model_of(span(1, 0, name="load", attributes=both)).path == "marts.orders"


def test_model_is_named_by_the_last_part_of_its_path() -> None:
    assert model_of(span(1, 0, attributes={key.MODEL_PATH: "marts.orders"})).name == "orders"
    assert model_of(span(1, 0, attributes={key.MODEL_PATH: "orders."})).name == "orders."


def test_times_are_cut_to_microseconds_and_the_duration_is_exact() -> None:
    model_run = model_run_of(span(1, 0)._replace(start_ns=1_999, end_ns=5_001))
    assert (model_run.started_at, model_run.completed_at, model_run.duration_ns) == (1_000, 5_000, 3_002)


def test_clock_set_back_gives_no_negative_duration() -> None:
    model_run = model_run_of(span(1, 0)._replace(start_ns=5_000_000, end_ns=1_000_000))
    assert model_run.duration_ns == 0
    assert (model_run.started_at, model_run.completed_at) == (5_000_000, 5_000_000)
    run = run_of(span(0)._replace(start_ns=5_000_000, end_ns=1_000_000))
    assert (run.started_at, run.completed_at, run.duration_ns) == (5_000_000, 5_000_000, 0)
