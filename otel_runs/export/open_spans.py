"""The spans of this process that have started and not ended: what heartbeats, live rows and signals are about."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

if TYPE_CHECKING:
    from opentelemetry.context import Context


class OpenSpans(SpanProcessor):
    """Knows the open spans of the providers it was added to, in the order in which they started.

    Without a lock: each call is one operation on a dictionary, which the interpreter does not interrupt.
    """

    def __init__(self) -> None:
        self._spans: dict[int, Span] = {}
        _all.add(self)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002  the SDK's signature
        """Remember a span."""
        self._spans[span.get_span_context().span_id] = span

    def on_end(self, span: ReadableSpan) -> None:
        """Forget a span."""
        context = span.context
        if context is not None:
            self._spans.pop(context.span_id, None)

    def list_(self) -> list[Span]:
        """The spans that are open now."""
        return list(self._spans.values())

    def forget(self) -> None:
        """Forget all: in a forked child they are the parent's, who lives on without us."""
        self._spans = {}


_all: weakref.WeakSet[OpenSpans] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for open_spans in list(_all):
        open_spans.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
