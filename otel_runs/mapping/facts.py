"""What one span says, as records: the step from spans to runs and model runs.

Pure, and span by span, so that the answer never depends on what else has arrived.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from otel_runs.errors import MappingError
from otel_runs.ids import model_id_from_path, row_id_from_span, run_id_from_key, run_id_from_trace
from otel_runs.mapping import coerce
from otel_runs.mapping.endings import ending_from_span
from otel_runs.mapping.vocabulary import KIND_OF_OPERATION, read_columns, unreadable
from otel_runs.records import DEFAULT_ENVIRONMENT, EXTERNAL_ID_LENGTH, KINDS, Kind, Model, ModelRun, Run
from otel_runs.spans.span import Resource, Span

_ROWLESS_KINDS: Final = frozenset({"CLIENT", "SERVER"})
_DECLARATIONS: Final = frozenset({"materialized", "content_hash", "depends_on", "owner", "schema_name", "tags"})
"""Columns of a model that only a declaration fills."""
_LAST_TIME: Final = 2**63 - 1
"""Nanoseconds: the year 2262."""
UNKNOWN: Final = "unknown"
"""The name of a span or service that has none."""
_new: Final = tuple.__new__


class Facts(NamedTuple):
    """What one span says about itself.

    ``node_id`` and ``parent_node_id`` place it in its trace; both are of the form of ``model_runs.id``, also for spans
    that have no row there.
    """

    trace_id: str
    node_id: str
    parent_node_id: str | None
    """None for a root span."""
    started_at: int
    service_name: str
    """Of the resource; ``unknown`` where it does not say."""
    environment: str
    run_id: str
    """The run that the span says it is in; ``""`` where the trace must tell."""
    run: Run | None
    """The span is a run, or (with a model run beside it) an anchor of a run with a key."""
    model_run: ModelRun | None
    """Its ``run_id`` is the one above; its ``parent_id`` the row that its parent span would have, or the trace's run
    where the stamp says that the span is right below it."""
    model: Model | None
    declares: bool
    """The span says more of its model than path and kind."""
    stamped: bool
    """The span was told its run when it started: the chain of its parents has no say in it."""

    @property
    def is_anchor(self) -> bool:
        """Whether this is a run's part in one trace: a row of ``model_runs`` in a run with a key."""
        return self.run is not None and self.model_run is not None


class _Origin(NamedTuple):
    """What a resource says for all its spans."""

    columns: dict[str, Any]
    service_name: str
    environment: str


def facts_from_span(span: Span, keep: tuple[str, ...] = (), *, strict: bool = False) -> Facts:
    """What the span says, as records.

    Args:
        span: any span; ids are lower-case hexadecimal, times nanoseconds.
        keep: patterns (fnmatch) of attributes to keep in ``metadata``, besides ``otel_runs.metadata.*``.
        strict: raise for a value that cannot be read, instead of leaving its column NULL.

    Raises:
        MappingError: strict is on, and a known attribute holds a value that cannot be read.
    """
    if strict:
        _refuse_unreadable(span)
    trace_id, parent = span.trace_id, span.parent_span_id
    columns = read_columns(span.attributes, keep)
    origin = _origin(span.resource)
    node_id = row_id_from_span(trace_id, span.span_id)
    parent_node_id = None if parent is None else _parent_node_id(trace_id, parent)

    mark = columns.get("mark")
    is_run = mark == "run" or parent is None
    kind = _kind(span, columns, mark)
    place = _place(span, columns, origin, is_run=is_run)
    name = coerce.name(span.name) or UNKNOWN

    run = model_run = model = None
    declares = False
    if is_run or place.anchor:
        run = _run(span, columns, origin, node_id, place, name=name)
    if place.anchor or (not is_run and kind is not None):
        declares = not _DECLARATIONS.isdisjoint(columns)
        model = _model(columns, name, kind or "step", declares=declares)
        parent_id = place.run_id if place.is_right_below else parent_node_id
        model_run = _model_run(span, columns, node_id, parent_id, place, model, name=name)
    # As below, by what Facts(...) calls: this is made for every span.
    return _new(
        Facts,
        (
            trace_id,
            node_id,
            parent_node_id,
            _stored_time(span.start_ns) if model_run is None else model_run.started_at,
            origin.service_name,
            columns.get("environment") or origin.environment,
            place.run_id,
            run,
            model_run,
            model,
            declares,
            place.stamped,
        ),
    )


_parent_node_id: Final = lru_cache(maxsize=1024)(row_id_from_span)  # most spans have the parent of the one before


class _Place(NamedTuple):
    run_id: str
    """The run the span says it is in; ``""`` where it does not say."""
    anchor: bool = False
    """The span is a part of a run with a key."""
    key: str | None = None
    stamped: bool = False
    is_right_below: bool = False
    """The run itself is the parent, whatever the parent span is or will be."""


_NOWHERE: Final = _Place("")


@lru_cache(maxsize=1024)  # the spans of a run carry the same stamp
def _stamped(trace_id: str, run_id: str, step_id: object) -> _Place:
    # Known at once, a row right below the trace's own run need not be written again when that run's span arrives.
    return _Place(run_id, stamped=True, is_right_below=step_id is None and run_id == run_id_from_trace(trace_id))


def _place(span: Span, columns: dict[str, Any], origin: _Origin, *, is_run: bool) -> _Place:
    """Where the span says it belongs. A key on the span or a stamp is about the span, one on the resource about all."""
    stamp = columns.get("parent_run")
    if stamp is not None and span.parent_span_id is not None:  # a root span is in no run of its trace
        # A stamp wins over a key: inside a run with a key, descendants may carry the key for others to see.
        return _stamped(span.trace_id, stamp, columns.get("parent_step"))
    run_key = columns.get("run_key")
    outermost = is_run
    if run_key is None:
        run_key = origin.columns.get("run_key")
        # All spans of the process carry a key that is on the resource: only its outermost ones are the run itself.
        outermost = span.parent_span_id is None or bool(span.parent_is_remote)
    if run_key is None:
        return _NOWHERE
    return _Place(run_id_from_key(run_key), anchor=outermost, key=run_key, is_right_below=outermost)


def _kind(span: Span, columns: dict[str, Any], mark: str | None) -> Kind | None:
    """The kind of model run that the span is, or None if it has no row."""
    if mark in KINDS:
        return mark
    operation = columns.get("operation")
    if operation is not None:
        return cast("Kind", KIND_OF_OPERATION.get(operation, "step"))
    return None if span.kind in _ROWLESS_KINDS and mark is None else "step"


def _run(span: Span, columns: dict[str, Any], origin: _Origin, node_id: str, place: _Place, *, name: str) -> Run:
    get = columns.get
    ending = ending_from_span(span, columns)
    started, completed, duration = _times(span)
    if place.anchor:
        run_id = place.run_id
    else:
        run_id = node_id if span.parent_span_id is not None else run_id_from_trace(span.trace_id)
    # All spans of the process carry the name and the id that are on the resource; they are of its outermost run alone.
    is_outermost = place.anchor or span.parent_span_id is None
    named = origin.columns if is_outermost else {}
    external_id = get("external_id") or named.get("external_id")
    return Run(
        id=run_id,
        trace_id=span.trace_id,
        root_span_id=span.span_id,
        # Of a nested run: the run around it, where a stamp or the resource's key tells.
        parent_run_id=place.run_id or None if not place.anchor else None,
        name=get("run_name") or named.get("run_name") or name,
        environment=get("environment") or origin.environment,
        tenant_id=get("tenant_id") or origin.columns.get("tenant_id"),
        status=ending.run_status,
        stop_reason=ending.stop_reason,
        status_source=(get("status_source") or "span") if completed is not None else None,
        error=ending.error,
        error_type=ending.error_type,
        started_at=started,
        completed_at=completed,
        duration_ns=duration,
        heartbeat_at=None if span.heartbeat_ns is None else _stored_time(span.heartbeat_ns),
        rows_in=get("rows_in"),
        rows_out=get("rows_out"),
        input_tokens=get("input_tokens"),
        output_tokens=get("output_tokens"),
        tokens=_tokens(columns),
        cost_usd=get("cost_usd"),
        ttft_ns=get("ttft_ns"),
        steps_expected=get("steps_expected"),
        input_fingerprint=get("input_fingerprint"),
        code_ref=_code_ref(columns) or _code_ref(origin.columns),
        config_hash=get("config_hash") or origin.columns.get("config_hash"),
        service_name=origin.columns.get("service_name"),
        external_id=external_id[:EXTERNAL_ID_LENGTH] if external_id else None,
        session_id=get("session_id") or origin.columns.get("session_id"),
        background=get("background"),
        metadata=get("metadata"),
        run_key=place.key if place.anchor else None,
        process=get("process") if span.heartbeat_ns is not None else None,
        marked=True if get("mark") == "run" else None,
    )


def _model_run(
    span: Span,
    columns: dict[str, Any],
    node_id: str,
    parent_id: str | None,
    place: _Place,
    model: Model,
    *,
    name: str,
) -> ModelRun:
    get = columns.get
    ending = ending_from_span(span, columns)
    started, completed, duration = _times(span)
    # Not by name, and without the function that ModelRun(...) is: a third of the time, for nearly every span.
    return _new(
        ModelRun,
        (
            node_id,
            place.run_id,
            model.id,
            parent_id,
            span.trace_id,
            span.span_id,
            model.kind,
            name,
            get("attempt", 1),
            ending.status,
            ending.stop_reason,
            ending.error,
            ending.error_type,
            started,
            completed,
            duration,
            get("rows_affected"),
            get("rows_in"),
            get("rows_out"),
            get("llm_provider"),
            get("llm_model"),
            get("input_tokens"),
            get("output_tokens"),
            _tokens(columns),
            get("cost_usd"),
            get("metadata"),
        ),
    )


def _model(columns: dict[str, Any], name: str, kind: Kind, *, declares: bool) -> Model:
    model = model_from_path(columns.get("model_path") or name, kind)
    if not declares:
        return model
    return model._replace(**{column: columns[column] for column in _DECLARATIONS & columns.keys()})


@lru_cache(maxsize=4096)  # a UUIDv5 takes 2 us, and pipelines run the same models again and again
def model_from_path(path: str, kind: Kind = "model") -> Model:
    """A model of which only path and kind are known."""
    return Model(model_id_from_path(path), path, path.rpartition(".")[2] or path, kind)


def _times(span: Span) -> tuple[int, int | None, int | None]:
    """Start and end cut to microseconds, as the databases keep them; the duration exact."""
    start, end = span.start_ns, span.end_ns
    if end is None:
        return _stored_time(start), None, None
    if 0 <= start <= end <= _LAST_TIME:  # as of nearly all
        return start // 1000 * 1000, end // 1000 * 1000, end - start
    # A clock that was set back while the span was open must not give a negative duration, by whatever it is computed.
    return _stored_time(start), _stored_time(max(start, end)), min(max(0, end - start), _LAST_TIME)


def _stored_time(ns: int) -> int:
    """A time as databases keep it: to the microsecond; a senseless one is the nearest that can be kept."""
    return min(max(0, ns), _LAST_TIME) // 1000 * 1000


def _tokens(columns: dict[str, Any]) -> int | None:
    if "tokens" in columns:
        return cast("int", columns["tokens"])
    if "input_tokens" not in columns and "output_tokens" not in columns:
        return None
    return cast("int", columns.get("input_tokens", 0) + columns.get("output_tokens", 0))


def _code_ref(columns: dict[str, Any]) -> str | None:
    revision = columns.get("code_ref")
    return f"{revision}-dirty" if revision is not None and columns.get("code_dirty") else revision


def _origin(resource: Resource) -> _Origin:
    """What the resource says; read once, and remembered as long as the resource is in use."""
    known = _ORIGINS.get(id(resource))
    if known is not None and known[0] is resource:
        return known[1]
    columns = read_columns(resource.attributes)
    service = columns.get("service_name") or UNKNOWN
    origin = _Origin(columns, service, columns.get("environment") or DEFAULT_ENVIRONMENT)
    if len(_ORIGINS) >= _MOST_ORIGINS:
        _ORIGINS.clear()
    _ORIGINS[id(resource)] = (resource, origin)
    return origin


# By identity: attributes are a dictionary, so a resource has no hash; the resource kept beside it keeps its id its own.
_ORIGINS: Final[dict[int, tuple[Resource, _Origin]]] = {}
_MOST_ORIGINS: Final = 64


def _refuse_unreadable(span: Span) -> None:
    for name, value in unreadable(span.attributes):
        msg = (
            f"Span {span.span_id}: {name} is {value!r} ({type(value).__name__}), which cannot be read; "
            f"expected a value as otel_runs/attributes.py and docs/data-model.md describe it, or no attribute."
        )
        raise MappingError(msg)
