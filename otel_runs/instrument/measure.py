"""Numbers that a pipeline reports: checked, and read off results."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, cast

from otel_runs.attributes import (
    COST_USD,
    GEN_AI_INPUT_TOKENS,
    GEN_AI_OUTPUT_TOKENS,
    METADATA_PREFIX,
    ROWS_AFFECTED,
    ROWS_IN,
    ROWS_OUT,
)
from otel_runs.instrument.problems import problem

RowReader = Literal["len"] | Callable[..., object]
"""How rows are read: ``"len"``, or a function that returns their number (or None: not known)."""

_INT64_MAX: Final = 2**63 - 1

Value = str | bool | int | float | Sequence[str] | Sequence[bool] | Sequence[int] | Sequence[float]


def as_count(value: object) -> int:
    """An integer of 0 or more; numpy's integers are integers too.

    Raises:
        ValueError: it is none.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # what is no integer raises
    except TypeError:
        number = -1
    if isinstance(value, bool) or not 0 <= number <= _INT64_MAX:
        msg = "expected an integer from 0 to 2**63-1. Leave it out where the number is not known"
        raise ValueError(msg)
    return number


def as_amount(value: object) -> float:
    """A finite number of 0 or more.

    Raises:
        ValueError: it is none.
    """
    try:
        number = float(value)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, (bool, str)) or not (number >= 0 and math.isfinite(number)):
        msg = "expected a number of 0 or more. Leave it out where the amount is not known"
        raise ValueError(msg)
    return number


_MEASURES: Final[dict[str, tuple[str, Callable[[object], int | float]]]] = {
    "rows_in": (ROWS_IN, as_count),
    "rows_out": (ROWS_OUT, as_count),
    "rows_affected": (ROWS_AFFECTED, as_count),
    "input_tokens": (GEN_AI_INPUT_TOKENS, as_count),
    "output_tokens": (GEN_AI_OUTPUT_TOKENS, as_count),
    "cost_usd": (COST_USD, as_amount),
}
"""What ``record`` takes: name -> attribute, and the check of its value."""


_LISTS: Final = ({str}, {bool}, {int}, {float})
"""Types of items that an attribute can hold a list of, one at a time."""


def measured(where: str, values: Mapping[str, object], metadata: Mapping[str, object] | None) -> dict[str, Value]:
    """The attributes that report some values. None is not reported; a value that is no good is left out and told.

    Args:
        where: the step or run, for the message.
        values: by the names in ``_MEASURES``.
        metadata: any values, by keys of the user's own.
    """
    found: dict[str, Value] = {}
    for name, value in values.items():
        if value is None:
            continue
        attribute, check = _MEASURES[name]
        try:
            found[attribute] = check(value)
        except ValueError as exc:
            problem(f"{where}: {name}", f"{where}: {name} is {value!r} ({type(value).__name__}); {exc}.")
    if metadata:
        found.update(metadata_attributes(where, metadata))
    return found


def metadata_attributes(where: str, metadata: Mapping[str, object]) -> dict[str, Value]:
    """``otel_runs.metadata.<key>`` attributes. What an attribute cannot hold is written as JSON, or left out and told.

    Raises:
        TypeError: it is no mapping.
    """
    if not isinstance(metadata, Mapping):
        msg = f"is {metadata!r}; expected a mapping"
        raise TypeError(msg)
    found: dict[str, Value] = {}
    for key, value in metadata.items():
        if value is not None:
            try:
                found[f"{METADATA_PREFIX}{key}"] = _value(value)
            except Exception as exc:  # noqa: BLE001  whatever an object of the user's raises when it is written
                told = f"{where}: metadata {key!r} cannot be written as JSON ({exc!r}), and is left out."
                problem(f"{where}: metadata {key}", told)
    return found


_PLAIN: Final = frozenset({str, bool, int, float})
"""Types of values that an attribute can hold as they are. Not their subclasses, such as numpy's numbers."""


def _value(value: object) -> Value:
    if type(value) in _PLAIN:
        return cast("Value", value)
    value = _plain(value)
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, (list, tuple)) and {type(item) for item in value} in _LISTS:
        return value
    if not isinstance(value, (list, tuple, dict)):
        return str(value)
    import json

    return json.dumps(value, default=_written, ensure_ascii=False)


def _plain(value: object) -> object:
    """A single number of numpy or its like as Python's own; any mapping as a dictionary."""
    if isinstance(value, Mapping):
        return dict(value)
    is_number = getattr(value, "shape", None) == () and hasattr(value, "item")
    return cast("Any", value).item() if is_number else value


def _written(value: object) -> object:
    plain = _plain(value)
    return str(value) if plain is value else plain


def row_reader(reader: RowReader) -> Callable[..., object]:
    """The function behind ``"len"``, or the function itself.

    Raises:
        ValueError: it is neither.
    """
    if reader == "len":
        return count_rows
    if callable(reader):
        return reader
    msg = f"is {reader!r}; expected 'len' or a function that returns the number of rows"
    raise ValueError(msg)


def count_rows(value: Any) -> int | None:
    """The number of rows in a list, a data frame (pandas, polars), an Arrow table or a database cursor.

    Returns:
        None where the thing itself does not know: None, and a cursor that reports -1 (PEP 249, ``rowcount``).

    Raises:
        TypeError: it has no number of rows. A text has a length, but no rows.
    """
    if value is None:
        return None
    for name in ("num_rows", "rowcount"):
        number = getattr(value, name, None)
        if isinstance(number, int):
            return number if number >= 0 else None
    if isinstance(value, (str, bytes, bytearray)):
        msg = f"a {type(value).__name__} has no rows to count; expected a function that returns them, not 'len'"
        raise TypeError(msg)
    return len(value)


def count_rows_of_arguments(*args: object, **kwargs: object) -> int | None:
    """The number of rows in the first argument that has any."""
    for value in (*args, *kwargs.values()):
        try:
            number = count_rows(value)
        except TypeError:
            continue
        if number is not None:
            return number
    return None
