"""What a span says of itself, kept where it has more attributes than its provider allows.

The SDK drops the oldest, and what says that a span is a run, and of which model, comes first. Without it a nested run
has no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from otel_runs.attributes import METADATA_PREFIX
from otel_runs.instrument.place import attributes_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_NOTHING: Final[Mapping[str, Any]] = {}
_OURS: Final = ("otel_runs.", "gen_ai.")


def set_many(span: Span, attributes: Mapping[str, Any]) -> None:
    """Set attributes, so many perhaps that they would push out what the span has said before.

    Args:
        span: any.
        attributes: metadata among them.
    """
    before = dict(attributes_of(span) or _NOTHING)
    span.set_attributes(attributes)
    if getattr(span, "dropped_attributes", 0):
        say_again(span, {**_columns_among(before), **attributes})


def say_again(span: Span, said: Mapping[str, Any]) -> None:
    """Put back what was dropped, in the place of the oldest that anybody else has said.

    Args:
        span: open; one that has dropped some.
        said: earlier. What the span says now wins.
    """
    # All of it, and not only what is missing: what is set again is the newest, and not dropped for the rest.
    kept = {key: value for key, value in said.items() if not _is_metadata(key)}
    known = dict(attributes_of(span) or _NOTHING)
    span.set_attributes({**{key: known.get(key, value) for key, value in kept.items()}, **_columns_among(known)})


def _columns_among(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What becomes columns; metadata, of which there may be any number, is left out."""
    return {key: value for key, value in attributes.items() if key.startswith(_OURS) and not _is_metadata(key)}


def _is_metadata(key: str) -> bool:
    return key.startswith(METADATA_PREFIX)
