"""Every field of a span is stored, or excused with a reason.

Each field is changed alone. If the change must be seen, it shows in the rows; if it is excused, the rows stay as they
are. A field that is new in the neutral span or in OTLP and stands in no table here fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from otel_runs import attributes as key
from otel_runs.spans.span import Event, Link, Resource, Span
from otel_runs.store.engine import Database
from tests.ingest.contents import contents_of, empty
from tests.ingest.stored import save
from tests.ingest.traces import START, span, span_id, trace_id

KEYED = Resource({key.SERVICE_NAME: "shop", key.RUN_KEY: "nightly"})
STEP = span(2, 1, status="ERROR", resource=KEYED)._replace(parent_is_remote=False, end_ns=START + 5_000_000_000)
"""A step that failed, in a process that is a part of a run with a key."""

RUN = STEP._replace(end_ns=None, attributes={key.KIND: "run"})
"""A run that is going on."""

STORED: Final[dict[str, tuple[str, Callable[[Span], Span]]]] = {
    "trace_id": ("model_runs.trace_id", lambda step: step._replace(trace_id=trace_id(7))),
    "span_id": ("model_runs.span_id", lambda step: step._replace(span_id=span_id(7))),
    "parent_span_id": ("model_runs.parent_id", lambda step: step._replace(parent_span_id=span_id(7))),
    "name": ("model_runs.name", lambda step: step._replace(name="other")),
    "kind": ("whether there is a row of model_runs", lambda step: step._replace(kind="CLIENT")),
    "start_ns": ("model_runs.started_at", lambda step: step._replace(start_ns=step.start_ns - 1_000_000)),
    "end_ns": ("model_runs.completed_at, duration_ns", lambda step: step._replace(end_ns=START + 5_000_000_001)),
    "status": ("model_runs.status", lambda step: step._replace(status="OK")),
    "status_message": ("model_runs.error", lambda step: step._replace(status_message="no rows")),
    "attributes": ("the columns of mapping/vocabulary.py", lambda step: step._replace(attributes={key.ROWS_IN: 7})),
    "events": (
        "model_runs.error, of the last exception",
        lambda step: step._replace(events=[Event("exception", START, {key.EXCEPTION_TYPE: "ValueError"})]),
    ),
    "resource": (
        "runs.service_name and others",
        lambda step: step._replace(resource=Resource({**KEYED.attributes, key.SERVICE_NAME: "billing"})),
    ),
    "parent_is_remote": (
        "whether the span is a part of a run with a key",
        lambda step: step._replace(parent_is_remote=True),
    ),
    "heartbeat_ns": ("runs.heartbeat_at", lambda run: run._replace(heartbeat_ns=START + 7_000_000_000)),
}
"""Field -> where it goes, and a change of it that must be seen there."""

EXCUSED: Final[dict[str, tuple[str, Callable[[Span], Span]]]] = {
    "links": (
        "a link says no more than that spans have to do with each other; the trace shows it",
        lambda step: step._replace(links=[Link(trace_id(7), span_id(7), {})]),
    ),
    "scope_name": (
        "tells which library made the span, not what the pipeline did",
        lambda step: step._replace(scope_name="other"),
    ),
    "is_sampled": (
        "says who else gets the span; the run tables get all",
        lambda step: step._replace(is_sampled=False),
    ),
}
"""Field -> why it is not stored, and a change of it that must change no row."""

OTLP: Final = {
    "trace_id": "trace_id",
    "span_id": "span_id",
    "parent_span_id": "parent_span_id",
    "flags": "parent_is_remote",
    "name": "name",
    "kind": "kind",
    "start_time_unix_nano": "start_ns",
    "end_time_unix_nano": "end_ns",
    "attributes": "attributes",
    "events": "events",
    "links": "links",
    "status": "status",
}
"""Field of OTLP's Span -> field of the neutral one."""

OTLP_EXCUSED: Final = {
    "trace_state": "for tracers and samplers; it says nothing of the work",
    "dropped_attributes_count": "what a limit of the sender's SDK dropped is unknown to the rows; the trace counts it",
    "dropped_events_count": "as dropped_attributes_count",
    "dropped_links_count": "as dropped_attributes_count, and links are not stored",
}


def test_every_field_of_the_neutral_span_is_stored_or_excused() -> None:
    assert {*STORED, *EXCUSED} == set(Span._fields)
    assert not STORED.keys() & EXCUSED.keys()


def test_every_field_of_otlps_span_has_a_field_in_the_neutral_one_or_is_excused() -> None:
    assert {field.name for field in OtlpSpan.DESCRIPTOR.fields} == {*OTLP, *OTLP_EXCUSED}
    assert set(OTLP.values()) <= set(Span._fields)


@pytest.mark.parametrize("field", STORED)
def test_field_that_is_stored_shows_in_the_rows(database: Database, field: str) -> None:
    _, change = STORED[field]
    stored = RUN if field == "heartbeat_ns" else STEP
    save(database, [stored])
    before = contents_of(database)
    empty(database)
    save(database, [change(stored)])
    assert contents_of(database) != before


@pytest.mark.parametrize("field", EXCUSED)
def test_field_that_is_excused_changes_no_row(database: Database, field: str) -> None:
    reason, change = EXCUSED[field]
    assert reason
    assert change(STEP) != STEP
    save(database, [STEP])
    before = contents_of(database)
    empty(database)
    save(database, [change(STEP)])
    assert contents_of(database) == before
