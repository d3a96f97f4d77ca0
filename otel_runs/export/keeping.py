"""What exporters do with the SDK's spans that go to a spool: which come first, and which cannot be read at all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from otel_runs.counters import counters
from otel_runs.spans.from_sdk import UnreadableSpanError

logger = logging.getLogger(__name__)

_MANY: Final = 2_000
"""Spans whose spooling takes long enough (some 20 ms) that the process may be killed meanwhile."""
_LAST: Final = 256
"""Spans that one line of the spool holds."""


class UnreadableSpans:
    """Counts spans that cannot be read, and says so once."""

    def __init__(self) -> None:
        self._has_told = False

    def __call__(self, error: UnreadableSpanError) -> None:
        """Count one."""
        counters.add(failed=1)
        counters.add_error(error)
        if not self._has_told:
            self._has_told = True
            logger.error("A %s. It is lost; more may be, which otel_runs.stats() counts; not said again.", error)


def last_first(spans: Sequence[ReadableSpan], folder: Path) -> Sequence[ReadableSpan]:
    """The order in which many spans are spooled: the last ones first, then the others from the oldest on.

    A process that ends has not always time for all of them, and a run's own span comes last: without it nobody would
    learn how the run ended. So it is said beforehand: who is killed says nothing.
    """
    if len(spans) <= _MANY:
        return spans
    logger.warning("%d spans are being spooled to %s; a process that is killed loses the rest.", len(spans), folder)
    return [*spans[-_LAST:], *spans[:-_LAST]]
