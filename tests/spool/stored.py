"""Where a spool's spans go when they are replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otel_runs.spans.span import Span
from otel_runs.spool.spool import Quarantined


class Stored(list[Span]):
    """A destination that takes everything but what it is told to refuse."""

    def __init__(self, refuses: Callable[[Span], bool] = lambda _: False) -> None:
        super().__init__()
        self._refuses = refuses

    def save(self, spans: Sequence[Span]) -> list[Quarantined]:
        refused = [span for span in spans if self._refuses(span)]
        self += [span for span in spans if span not in refused]
        return [Quarantined(span, f"{span.name} is refused") for span in refused]
