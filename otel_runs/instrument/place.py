"""Stamps: the ids of run and step that a span carries from its start, so that nobody needs to look up its place.

A stamp says exactly what the chain of parents would say. Where that cannot be known here and now (the parent is in
another process, or it is not sure to become a row) there is no stamp, and the chain tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import SpanKind

from otel_runs.attributes import GEN_AI_OPERATION, KIND, PARENT_RUN, PARENT_STEP, RUN_KEY
from otel_runs.ids import row_id_from_span, run_id_from_key, run_id_from_trace

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_UNSTAMPED: Final[Mapping[str, str]] = {}


def attributes_of(span: object) -> Mapping[str, Any] | None:
    """A span's attributes, to look keys up in; None for a span that is not recorded here.

    The dictionary inside the SDK's mapping, where there is one: to ask the mapping itself for a key that is missing
    takes 3 us, because that raises inside, and it is asked for several keys of each span.
    """
    try:
        known: Mapping[str, Any] = span._attributes._dict  # type: ignore[attr-defined]  # noqa: SLF001  see above
    except AttributeError:
        return getattr(span, "attributes", None)
    return known


def stamps_below(span: Span) -> Mapping[str, str]:
    """The stamps of a span right below another.

    Args:
        span: the parent. Empty stamps come back for one that is not recorded here: of a remote parent, or one that was
            not sampled, only the ids are known.
    """
    attributes = attributes_of(span)
    if attributes is None:
        return _UNSTAMPED
    parent = getattr(span, "parent", None)
    span_context = span.get_span_context()
    trace_id = f"{span_context.trace_id:032x}"
    row_id = row_id_from_span(trace_id, f"{span_context.span_id:016x}")
    is_run = parent is None or attributes.get(KIND) == "run"

    around = attributes.get(PARENT_RUN)
    if around is None:
        around, is_part = _keyed_run(span, attributes, parent, is_run=is_run)
        if is_part:
            return {PARENT_RUN: around, PARENT_STEP: row_id}
    if is_run:
        return {PARENT_RUN: run_id_from_trace(trace_id) if parent is None else row_id}
    if around is None or may_be_rowless(span, attributes):
        return _UNSTAMPED
    return {PARENT_RUN: around, PARENT_STEP: row_id}


def _keyed_run(span: Span, attributes: Mapping[str, Any], parent: Any, *, is_run: bool) -> tuple[Any, bool]:
    """The run with a key that a span is in, if it is, and whether the span is that run's part in its trace.

    A key on the span is about the span; one on the resource is about all of the process, whose outermost spans are then
    the parts.
    """
    key = key_among(attributes)
    is_part = is_run
    if key is None:
        key = key_among(span.resource.attributes)  # type: ignore[attr-defined]  # a span with attributes is the SDK's
        is_part = parent is None or parent.is_remote
    return (None, False) if key is None else (run_id_from_key(key), is_part)


def key_among(attributes: Mapping[str, Any]) -> str | None:
    """The run's key that attributes of a span or a resource say, as the rows have it; None where they say none.

    An empty one says none, either: that is what ``otel_runs.run.key=$NIGHT`` leaves where the shell knows no NIGHT.
    """
    value = attributes.get(RUN_KEY)
    return None if value is None else as_key(value)


def as_key(value: object) -> str | None:
    """A run's key as the rows have it; None for what is no key."""
    # By the reader of the column: were the two to differ, steps would be in another run than their own. Imported here:
    # it takes 10 ms (orjson), for the few who have a key.
    from otel_runs.mapping.coerce import name

    return name(value)


def may_be_rowless(span: object, attributes: Mapping[str, Any]) -> bool:
    """Whether the span has no row, as far as can be told while it is open: a later attribute may still give it one."""
    # The kind first, and not looked up in a set: an enumeration's hash is Python, as is the look-up of an attribute.
    kind = getattr(span, "kind", None)
    if kind is not SpanKind.CLIENT and kind is not SpanKind.SERVER:
        return False
    return KIND not in attributes and GEN_AI_OPERATION not in attributes
