"""Log records that tell of a started span become spans without an end; others are counted as ignored."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from otel_runs import attributes as key
from otel_runs.mapping.facts import facts_from_span
from tests.spans.otlp import (
    DECODERS,
    LIMITS,
    LOG_DECODERS,
    PARENT,
    SPAN,
    START,
    TRACE,
    any_value,
    logs,
    only,
    otlp_span,
    pairs,
    traces,
)

ABOUT_THE_SPAN = {
    key.SPAN_NAME: "load",
    key.SPAN_KIND: "CONSUMER",
    key.SPAN_PARENT_ID: PARENT.hex(),
    key.SPAN_PARENT_IS_REMOTE: True,
}
KNOWS_EVENT_NAMES = "event_name" in LogRecord.DESCRIPTOR.fields_by_name
NAMED_BY = ["attribute", *(["field"] if KNOWS_EVENT_NAMES else [])]
"""opentelemetry-proto before 1.30 has no field for the event name."""


def record(
    event: str = key.EVENT_STEP_STARTED,
    attributes: dict[str, Any] = ABOUT_THE_SPAN,
    named_by: str = "attribute",
    **fields: Any,
) -> LogRecord:
    """A log record of an event."""
    usual: dict[str, Any] = {"trace_id": TRACE, "span_id": SPAN, "time_unix_nano": START}
    attributes = dict(attributes)
    if named_by == "field":
        usual["event_name"] = event
    else:
        attributes[key.EVENT_NAME] = event
    return LogRecord(**{**usual, **fields}, attributes=pairs(attributes))


@pytest.mark.parametrize("named_by", NAMED_BY)
@pytest.mark.parametrize("inlet", LOG_DECODERS)
def test_started_step_is_the_span_that_will_end(inlet: str, named_by: str) -> None:
    attributes: dict[str, Any] = {key.KIND: "step", key.ROWS_IN: 7}
    started = only(
        LOG_DECODERS[inlet](logs(record(attributes={**ABOUT_THE_SPAN, **attributes}, named_by=named_by)), LIMITS)
    )
    ended = only(
        DECODERS[inlet](
            traces(otlp_span(kind=5, parent_span_id=PARENT, flags=0x300, attributes=pairs(attributes))), LIMITS
        )
    )
    assert started == ended._replace(end_ns=None)


@pytest.mark.parametrize("inlet", LOG_DECODERS)
def test_started_run_without_a_parent_is_a_running_run(inlet: str) -> None:
    started = only(LOG_DECODERS[inlet](logs(record(key.EVENT_RUN_STARTED, {key.SPAN_NAME: "nightly"})), LIMITS))
    assert (started.parent_span_id, started.parent_is_remote, started.end_ns) == (None, None, None)
    run = facts_from_span(started).run
    assert run is not None
    assert (run.name, run.status) == ("nightly", "running")


@pytest.mark.parametrize("inlet", LOG_DECODERS)
def test_start_of_a_run_is_its_first_heartbeat_and_a_step_has_none(inlet: str) -> None:
    run = only(LOG_DECODERS[inlet](logs(record(key.EVENT_RUN_STARTED)), LIMITS))
    step = only(LOG_DECODERS[inlet](logs(record(key.EVENT_STEP_STARTED)), LIMITS))
    assert (run.heartbeat_ns, step.heartbeat_ns) == (START, None)


@pytest.mark.parametrize("named_by", NAMED_BY)
@pytest.mark.parametrize("inlet", LOG_DECODERS)
def test_heartbeat_is_the_start_told_again(inlet: str, named_by: str) -> None:
    attributes = {**ABOUT_THE_SPAN, key.KIND: "run", key.PROCESS: "boot:1:7:99"}
    started = only(LOG_DECODERS[inlet](logs(record(key.EVENT_RUN_STARTED, attributes)), LIMITS))
    beat = record(
        key.EVENT_RUN_HEARTBEAT, {**attributes, key.SPAN_START: START}, named_by, time_unix_nano=START + 10_000
    )
    again = only(LOG_DECODERS[inlet](logs(beat), LIMITS))
    assert again == started._replace(heartbeat_ns=START + 10_000)
    run = facts_from_span(again).run
    assert run is not None
    assert (run.heartbeat_at, run.process) == ((START + 10_000) // 1000 * 1000, "boot:1:7:99")


@pytest.mark.parametrize("inlet", LOG_DECODERS)
@pytest.mark.parametrize("start", [None, "soon", 0, -1, True, 1.5])
def test_heartbeat_that_does_not_say_when_its_run_started_is_refused(inlet: str, start: object) -> None:
    attributes = {} if start is None else {key.SPAN_START: start}
    [message] = LOG_DECODERS[inlet](logs(record(key.EVENT_RUN_HEARTBEAT, attributes)), LIMITS).refused
    assert message.endswith("expected otel_runs.span.start_ns, the start in nanoseconds since 1970.")


@pytest.mark.parametrize("inlet", LOG_DECODERS)
def test_time_of_observation_stands_in_for_a_missing_time(inlet: str) -> None:
    observed = record(time_unix_nano=0, observed_time_unix_nano=START)
    assert only(LOG_DECODERS[inlet](logs(observed), LIMITS)).start_ns == START


@pytest.mark.parametrize("inlet", LOG_DECODERS)
def test_other_records_are_counted_as_ignored(inlet: str) -> None:
    plain = LogRecord(time_unix_nano=START, body=any_value("hello"))
    decoded = LOG_DECODERS[inlet](logs(plain, record("other.event"), record(), plain), LIMITS)
    assert (len(decoded.spans), decoded.refused, decoded.ignored) == (1, [], 3)


REFUSED = [
    ({"trace_id": b""}, "trace_id is '' (str); expected 16 bytes, not all zero."),
    ({"span_id": bytes(8)}, "span_id is '0000000000000000' (str); expected 8 bytes, not all zero."),
    ({"time_unix_nano": 0}, "the start time is missing or 0"),
    ({"attributes": {}}, "otel_runs.step.started without otel_runs.span.parent_id; expected 16 hexadecimal digits"),
    ({"attributes": {key.SPAN_PARENT_ID: "x" * 16}}, "is 'xxxxxxxxxxxxxxxx' (str); expected 16 hexadecimal digits"),
    ({"attributes": {key.SPAN_PARENT_ID: 7}}, "expected 8 bytes, or none of a root span"),
]


@pytest.mark.parametrize("inlet", LOG_DECODERS)
@pytest.mark.parametrize(("fields", "why"), REFUSED)
def test_record_that_does_not_place_its_span_is_refused_alone(inlet: str, fields: dict[str, Any], why: str) -> None:
    decoded = LOG_DECODERS[inlet](logs(record(**fields), record()), LIMITS)
    assert len(decoded.spans) == 1
    [message] = decoded.refused
    assert message.startswith("Log record of span ")
    assert why in message


@pytest.mark.parametrize("inlet", LOG_DECODERS)
@pytest.mark.parametrize("kind", [["CLIENT"], {"a": "CLIENT"}, 3, "client"])
def test_what_a_record_says_in_a_wrong_type_is_left_out(inlet: str, kind: object) -> None:
    odd = {
        key.SPAN_NAME: 7,
        key.SPAN_KIND: kind,
        key.SPAN_PARENT_IS_REMOTE: "yes",
        key.SPAN_PARENT_ID: PARENT.hex().upper(),
    }
    span = only(LOG_DECODERS[inlet](logs(record(attributes=odd)), LIMITS))
    assert (span.name, span.kind, span.parent_is_remote, span.attributes) == ("", "INTERNAL", None, {})
    assert span.parent_span_id == PARENT.hex()
