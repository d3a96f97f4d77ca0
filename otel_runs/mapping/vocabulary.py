"""Which attribute fills which column. Data, not code: a tool's vocabulary is a line here.

For every column the keys stand in order of precedence: the first that is present and can be read wins. A key may fill
several columns. Semantic conventions first in the list of a column only where no key of our own exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from otel_runs import attributes as key
from otel_runs.mapping import coerce
from otel_runs.spans.span import Attributes

Reader = Callable[[object], Any]


class Source(NamedTuple):
    """One key that can fill a column, and how its value is read."""

    key: str
    read: Reader


def _sources(read: Reader, *keys: str) -> tuple[Source, ...]:
    return tuple(Source(name, read) for name in keys)


COLUMNS: Final[dict[str, tuple[Source, ...]]] = {
    "mark": _sources(coerce.name, key.KIND),
    "operation": _sources(coerce.name, key.GEN_AI_OPERATION),
    "run_key": _sources(coerce.name, key.RUN_KEY),
    "parent_run": _sources(coerce.row_id, key.PARENT_RUN),
    "parent_step": _sources(coerce.row_id, key.PARENT_STEP),
    "run_name": _sources(coerce.name, key.RUN_NAME),
    "external_id": _sources(coerce.name, key.RUN_ID, key.CICD_PIPELINE_RUN_ID),
    "environment": _sources(coerce.name, key.ENVIRONMENT, key.ENVIRONMENT_OLD),
    "service_name": _sources(coerce.name, key.SERVICE_NAME),
    "tenant_id": _sources(coerce.name, key.TENANT_ID),
    "session_id": _sources(coerce.name, key.GEN_AI_CONVERSATION_ID, key.SESSION_ID),
    "background": _sources(coerce.boolean, key.BACKGROUND),
    "input_fingerprint": _sources(coerce.name, key.INPUT_FINGERPRINT),
    "config_hash": _sources(coerce.name, key.CONFIG_HASH),
    "code_ref": _sources(coerce.name, key.VCS_REVISION),
    "code_dirty": _sources(coerce.boolean, key.CODE_DIRTY),
    "process": _sources(coerce.name, key.PROCESS),
    "status": _sources(coerce.name, key.STATUS, key.CICD_PIPELINE_RESULT, key.CICD_TASK_RESULT),
    "status_source": _sources(coerce.name, key.STATUS_SOURCE),
    "stop_reason": (Source(key.STOP_REASON, coerce.name), Source(key.GEN_AI_FINISH_REASONS, coerce.last_name)),
    "error_type": _sources(coerce.name, key.ERROR_TYPE, key.EXCEPTION_TYPE),
    "exception_message": _sources(coerce.text, key.EXCEPTION_MESSAGE),
    "exception_stacktrace": _sources(coerce.text, key.EXCEPTION_STACKTRACE),
    "attempt": _sources(coerce.attempt, key.ATTEMPT),
    "steps_expected": _sources(coerce.count, key.STEPS_EXPECTED),
    "rows_in": _sources(coerce.count, key.ROWS_IN),
    "rows_out": _sources(coerce.count, key.ROWS_OUT, key.DB_RETURNED_ROWS),
    "rows_affected": _sources(coerce.count, key.ROWS_AFFECTED, key.DB_ROWS_AFFECTED, key.DB_AFFECTED_ROWS),
    "input_tokens": _sources(coerce.count, key.GEN_AI_INPUT_TOKENS, key.GEN_AI_PROMPT_TOKENS),
    "output_tokens": _sources(coerce.count, key.GEN_AI_OUTPUT_TOKENS, key.GEN_AI_COMPLETION_TOKENS),
    "tokens": _sources(coerce.count, key.GEN_AI_TOTAL_TOKENS),
    "cost_usd": _sources(coerce.amount, key.COST_USD),
    "ttft_ns": _sources(coerce.ns_from_seconds, key.GEN_AI_TTFT),
    "llm_provider": _sources(coerce.name, key.GEN_AI_PROVIDER, key.GEN_AI_SYSTEM),
    "llm_model": _sources(coerce.name, key.GEN_AI_RESPONSE_MODEL, key.GEN_AI_REQUEST_MODEL),
    "model_path": _sources(coerce.name, key.MODEL_PATH, key.CODE_FUNCTION),
    "materialized": _sources(coerce.name, key.MODEL_MATERIALIZED),
    "content_hash": _sources(coerce.name, key.MODEL_CONTENT_HASH),
    "depends_on": _sources(coerce.names, key.MODEL_DEPENDS_ON),
    "owner": _sources(coerce.name, key.MODEL_OWNER),
    "schema_name": _sources(coerce.name, key.MODEL_SCHEMA),
    "tags": _sources(coerce.names, key.MODEL_TAGS),
}
"""Column (or a fact that leads to one) -> the keys that fill it, best first."""

KIND_OF_OPERATION: Final[dict[str, str]] = {
    "chat": "llm",
    "generate_content": "llm",
    "text_completion": "llm",
    "embeddings": "llm",
    "retrieval": "query",
    "create_agent": "agent",
    "invoke_agent": "agent",
    "invoke_workflow": "agent",
    "plan": "agent",
    "execute_tool": "tool",
}
"""``gen_ai.operation.name`` -> kind of the model run. Source: GenAI semantic conventions, gen-ai-spans."""


class _Plan(NamedTuple):
    """How spans with the same attributes, in the same order, are read."""

    keep: tuple[str, ...]
    """For which patterns this holds."""
    columns: tuple[tuple[str, str, Reader], ...]
    """Key, column, reader. Of the keys that can fill a column the best comes last: what it says stays."""
    metadata: tuple[tuple[str, str], ...]
    """Key, and the name that it is kept by."""


def read_columns(attributes: Attributes, keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """The columns that the attributes fill. A column is missing where no attribute could be read.

    Args:
        attributes: of a span or a resource.
        keep: patterns (fnmatch) of attributes to keep in ``metadata``, besides ``otel_runs.metadata.*``.
    """
    names = tuple(attributes)
    plan = _PLANS.get(names)
    if plan is None or plan.keep != keep:
        plan = _planned(names, keep)
    found: dict[str, Any] = {}
    for name, column, read in plan.columns:
        result = read(attributes[name])
        if result is not None:
            found[column] = result
    if plan.metadata:
        found["metadata"] = {kept: coerce.plain(attributes[name]) for name, kept in plan.metadata}
    return found


_PLANS: Final[dict[tuple[str, ...], _Plan]] = {}
"""By keys. The spans of a step carry the same ones, run after run: what they fill need not be looked up each time, nor
what those are that nobody reads."""
_MOST_PLANS: Final = 1_024
_PLAN_CHARACTERS: Final = 4_096
"""Of all keys of a plan that is remembered: a sender may invent others for each span."""


def _planned(names: tuple[str, ...], keep: tuple[str, ...]) -> _Plan:
    known = [(name, *slot) for name in names for slot in _SLOTS.get(name, ())]
    known.sort(key=lambda each: each[2], reverse=True)
    others = [(name, _metadata_name(name, keep)) for name in names if name not in _SLOTS]
    plan = _Plan(
        keep,
        tuple([(name, column, read) for name, column, _, read in known]),
        tuple([(name, kept) for name, kept in others if kept is not None]),
    )
    if sum(map(len, names)) <= _PLAN_CHARACTERS:
        if len(_PLANS) >= _MOST_PLANS:
            _PLANS.clear()
        _PLANS[names] = plan
    return plan


_Slot = tuple[str, int, Reader]
"""Column, rank of the key for it, and how the value is read."""


def _slots() -> dict[str, tuple[_Slot, ...]]:
    slots: dict[str, tuple[_Slot, ...]] = {}
    for column, sources in COLUMNS.items():
        for rank, source in enumerate(sources):
            slots[source.key] = (*slots.get(source.key, ()), (column, rank, source.read))
    return slots


_SLOTS: Final = _slots()
"""``COLUMNS`` turned around."""


def is_read(name: str) -> bool:
    """Whether an attribute of this key fills a column, whatever patterns there are."""
    return name in _SLOTS or name.startswith(key.METADATA_PREFIX)


def _metadata_name(name: str, keep: tuple[str, ...]) -> str | None:
    """The name under which an attribute is kept in the metadata; None if it is not."""
    if name.startswith(key.METADATA_PREFIX):
        return coerce.clean(name[len(key.METADATA_PREFIX) :])
    if keep and any(fnmatchcase(name, pattern) for pattern in keep):
        return coerce.clean(name)
    return None


def unreadable(attributes: Attributes) -> Iterator[tuple[str, object]]:
    """The known attributes whose value cannot be read, each with the value."""
    for name, value in attributes.items():
        slots = _SLOTS.get(name, ())
        if slots and all(read(value) is None for _, _, read in slots):
            yield name, value
