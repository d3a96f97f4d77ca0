"""How OTLP lays out what spans are written as: below their resources, and there below their scopes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from otel_runs.spans.span import Resource, Span

T = TypeVar("T")


def grouped(items: Iterable[tuple[Span, T]]) -> list[tuple[Resource, dict[str, list[T]]]]:
    """The items of each resource, by the name of the scope; each as it stands beside its span."""
    resources: dict[int, tuple[Resource, dict[str, list[T]]]] = {}
    for span, item in items:
        # By identity: the spans of a provider share one resource, and to compare attributes would cost more than it
        # saves.
        _, scopes = resources.setdefault(id(span.resource), (span.resource, {}))
        scopes.setdefault(span.scope_name, []).append(item)
    return list(resources.values())
