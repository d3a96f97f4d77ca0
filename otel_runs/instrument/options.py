"""What can be said of a run, step or model where it is declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict

from otel_runs.attributes import (
    ATTEMPT,
    BACKGROUND,
    ENVIRONMENT,
    INPUT_FINGERPRINT,
    KIND,
    MODEL_CONTENT_HASH,
    MODEL_DEPENDS_ON,
    MODEL_MATERIALIZED,
    MODEL_OWNER,
    MODEL_PATH,
    MODEL_SCHEMA,
    MODEL_TAGS,
    RUN_ID,
    RUN_KEY,
    SESSION_ID,
    TENANT_ID,
)
from otel_runs.instrument.measure import RowReader, Value, as_amount, as_count
from otel_runs.instrument.paths import path_of
from otel_runs.instrument.place import as_key
from otel_runs.instrument.problems import problem
from otel_runs.records import EXTERNAL_ID_LENGTH, KINDS, Kind

if TYPE_CHECKING:
    from otel_runs.instrument.identity import Input

Backoff = float | Callable[[int], float]
"""Seconds before the next try, or a function from the number of the try that failed to these."""


class StepOptions(TypedDict, total=False):
    """Options of ``step`` and ``model``."""

    kind: Kind
    """What the step is; ``step`` if nothing is said."""
    path: str
    """The path of the model that is executed; by default module and name of the function."""
    depends_on: Sequence[str | Callable[..., object]]
    """The models this one reads: paths, or the decorated functions themselves."""
    materialized: str
    """``table``, ``view``, ``incremental`` or a word of your own."""
    tags: Sequence[str]
    owner: str
    schema_name: str
    content_hash: str
    """Of a ``model``, by default the sha256 of the function's source."""
    environment: str
    attempt: int
    """Which try this is, from 1; for those who retry by themselves."""
    retries: int
    """How many more times a function is tried when it fails; each try is a span of its own."""
    retry_on: type[Exception] | tuple[type[Exception], ...]
    """Exceptions after which it is tried again; by default any ``Exception``."""
    backoff: Backoff
    """Seconds before the next try (0), or a function from the number of the try that failed to seconds."""
    rows_in: RowReader
    """``"len"``: of the first argument that has rows; or a function that gets the arguments."""
    rows_out: RowReader
    """``"len"``: of the result, or the items that a generator yields; or a function that gets the result."""
    rows_affected: RowReader
    """``"len"``: of the result, for instance a cursor; or a function that gets the result."""
    metadata: Mapping[str, object]


class RunOptions(TypedDict, total=False):
    """Options of ``run``."""

    key: str
    """Joins the traces and processes that give the same key into one run."""
    id: str
    """An id of your own, up to 64 characters; kept in ``runs.external_id``."""
    path: str
    """The path of the model that is executed; by default module and name of the function."""
    environment: str
    tenant_id: str
    session_id: str
    background: bool
    """Nobody waits for this run."""
    config: Mapping[str, object]
    """What the run is configured with; kept as ``config_hash``, the sha256 of its canonical JSON."""
    inputs: Input | Sequence[Input]
    """Files, folders or bytes that the run reads; kept as ``input_fingerprint``, the sha256 of their content."""
    fingerprint: str
    """The ``input_fingerprint`` itself, where you have one."""
    rows_in: RowReader
    rows_out: RowReader
    rows_affected: RowReader
    metadata: Mapping[str, object]


class Retry(NamedTuple):
    """When and how often a function is tried again."""

    retries: int
    on: tuple[type[Exception], ...]
    backoff: Backoff

    def seconds_after(self, attempt: int) -> float:
        """Seconds to wait after a try that failed."""
        return self.backoff(attempt) if callable(self.backoff) else self.backoff


def retry_from_options(options: Mapping[str, Any]) -> Retry | None:
    """When a function is tried again; None: never.

    Args:
        options: as they were given, each checked by ``CHECK_OF_OPTION``.
    """
    if not options.get("retries"):
        return None
    on = options.get("retry_on") or Exception
    return Retry(as_count(options["retries"]), on if isinstance(on, tuple) else (on,), options.get("backoff") or 0.0)


def _external_id(value: object) -> str:
    text = str(value)
    if len(text) > EXTERNAL_ID_LENGTH:
        problem("id", f"The id {text!r} has {len(text)} characters; its first {EXTERNAL_ID_LENGTH} are kept.")
    return text


def _exceptions(value: object) -> None:
    types = value if isinstance(value, tuple) else (value,)
    if not types or not all(isinstance(type_, type) and issubclass(type_, Exception) for type_ in types):
        msg = f"is {value!r}; expected a class of exceptions, or a tuple of them"
        raise TypeError(msg)


def _seconds(value: object) -> None:
    if callable(value):
        return
    try:
        as_amount(value)
    except ValueError as exc:
        msg = f"is {value!r}; expected seconds, a number of 0 or more, or a function that returns them"
        raise ValueError(msg) from exc


def _mapping(value: object) -> None:
    if not isinstance(value, Mapping):
        msg = f"is {value!r}; expected a mapping"
        raise TypeError(msg)


def _count_from(least: int) -> Callable[[object], int]:
    def count(value: object) -> int:
        try:
            number = as_count(value)
        except ValueError:
            number = -1
        if number < least:
            msg = f"is {value!r}; expected an integer of {least} or more"
            raise ValueError(msg)
        return number

    return count


def _kind(value: str) -> str:
    if value not in KINDS:
        msg = f"is {value!r}; expected one of {', '.join(KINDS)}"
        raise ValueError(msg)
    return value


def _texts(value: Iterable[object]) -> list[str]:
    return [value] if isinstance(value, str) else [str(item) for item in value]


def _paths(value: Iterable[object]) -> list[str]:
    return [value] if isinstance(value, str) else [path_of(item) if callable(item) else str(item) for item in value]


def _key(value: object) -> str | None:
    return as_key(str(value))


ATTRIBUTE_OF_OPTION: Final[dict[str, tuple[str, Callable[[Any], Value | None]]]] = {
    "path": (MODEL_PATH, str),
    "depends_on": (MODEL_DEPENDS_ON, _paths),
    "materialized": (MODEL_MATERIALIZED, str),
    "tags": (MODEL_TAGS, _texts),
    "owner": (MODEL_OWNER, str),
    "schema_name": (MODEL_SCHEMA, str),
    "content_hash": (MODEL_CONTENT_HASH, str),
    "kind": (KIND, _kind),
    "attempt": (ATTEMPT, _count_from(1)),
    "environment": (ENVIRONMENT, str),
    "key": (RUN_KEY, _key),
    "id": (RUN_ID, _external_id),
    "tenant_id": (TENANT_ID, str),
    "session_id": (SESSION_ID, str),
    "background": (BACKGROUND, bool),
    "fingerprint": (INPUT_FINGERPRINT, str),
}
"""Options that become one attribute: name -> attribute, and how the value is written (a UUID as text; None: not)."""

CHECK_OF_OPTION: Final[dict[str, Callable[[Any], object]]] = {
    "retries": _count_from(0),
    "retry_on": _exceptions,
    "backoff": _seconds,
    "config": _mapping,
}
"""Options that are no attribute as they are: name -> what raises where the value is no good."""
