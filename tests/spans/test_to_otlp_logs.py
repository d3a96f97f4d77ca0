"""An open span that travels as a log record is the same span at the other end."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from otel_runs import attributes as key
from otel_runs.spans.from_otlp_protobuf import started_spans_from_protobuf_logs
from otel_runs.spans.span import Resource, Span
from otel_runs.spans.to_otlp_logs import request_from_spans
from otel_runs.spans.told import heartbeat_from_span, start_from_span
from tests.spans.otlp import LIMITS, PARENT, SPAN, START, TRACE

RESOURCE = Resource({"service.name": "shop", "process.command_args": ("a", "b")})
VALUES: Mapping[str, object] = {
    "text": "ü",
    "yes": True,
    "number": -(2**63),
    "share": 0.5,
    "bytes": b"\0\xff",
    "list": ("a", "b"),
    "mapping": {"a": {"b": 1}},
    "nothing": None,
}


def open_span(
    *, parent: bytes | None = None, remote: bool | None = None, attributes: Mapping[str, object] | None = None
) -> Span:
    return Span(
        TRACE.hex(),
        SPAN.hex(),
        None if parent is None else parent.hex(),
        "nightly",
        "CONSUMER",
        START,
        None,
        "UNSET",
        None,
        attributes or {},
        (),
        (),
        RESOURCE,
        "tests",
        remote,
        START + 10**9,
    )


def everything(name: str) -> bool:
    return True


@pytest.mark.parametrize(
    "span",
    [
        open_span(attributes=VALUES),
        open_span(parent=PARENT),
        open_span(parent=PARENT, remote=True, attributes={key.KIND: "run"}),
        open_span(parent=PARENT, remote=False, attributes={key.KIND: "model"}),
    ],
    ids=["root", "step", "run of a remote parent", "model"],
)
def test_start_is_read_as_the_span_that_was_told(span: Span) -> None:
    body = request_from_spans([span], start_from_span, everything).SerializeToString()

    is_run = span.parent_span_id is None or span.attributes.get(key.KIND) == "run"
    decoded = started_spans_from_protobuf_logs(body, LIMITS)
    assert decoded.spans == [span._replace(heartbeat_ns=START if is_run else None)]
    assert (decoded.refused, decoded.ignored) == ([], 0)


def test_heartbeat_is_read_as_the_run_that_lives() -> None:
    span = open_span(attributes={key.PROCESS: "x"})
    body = request_from_spans(
        [span, span._replace(heartbeat_ns=None)], heartbeat_from_span, everything
    ).SerializeToString()

    assert started_spans_from_protobuf_logs(body, LIMITS).spans == [span]


def test_spans_of_one_resource_and_scope_stand_together() -> None:
    other = open_span()._replace(resource=Resource({"service.name": "other"}))
    request = request_from_spans(
        [open_span(), other, open_span(), open_span()._replace(scope_name="x")], start_from_span, everything
    )

    groups = [[len(scope.log_records) for scope in logs.scope_logs] for logs in request.resource_logs]
    assert groups == [[2, 1], [1]]


def test_attributes_that_nobody_reads_stay_at_home() -> None:
    span = open_span(attributes={"gen_ai.input.messages": "what a customer wrote", "gen_ai.request.model": "m"})

    body = request_from_spans([span], start_from_span, lambda name: name == "gen_ai.request.model").SerializeToString()

    assert b"customer" not in body
    assert started_spans_from_protobuf_logs(body, LIMITS).spans[0].attributes == {"gen_ai.request.model": "m"}


def test_text_that_is_no_utf8_and_numbers_beyond_64_bits_become_text_that_is() -> None:
    span = open_span(attributes={"file": "a\udcffb", "number": 2**63})

    body = request_from_spans([span], start_from_span, everything).SerializeToString()

    assert started_spans_from_protobuf_logs(body, LIMITS).spans[0].attributes == {"file": "a?b", "number": str(2**63)}
