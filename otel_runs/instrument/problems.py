"""What to do when something cannot be recorded: count it, say it once, and let the pipeline go on."""

from __future__ import annotations

import logging
from typing import Final

from otel_runs.counters import counters
from otel_runs.errors import InstrumentError
from otel_runs.settings import is_strict

_logger: Final = logging.getLogger("otel_runs")

_told: set[str] = set()


def problem(about: str, message: str, cause: BaseException | None = None) -> None:
    """Something cannot be recorded.

    Args:
        about: what it is about; a second problem about the same is counted, but not logged again.
        message: what was wrong, the value, what is allowed.
        cause: the exception behind it, if any; logged with it.

    Raises:
        InstrumentError: only with ``OTEL_RUNS_STRICT=true``.
    """
    counters.add(unrecorded=1)
    if is_strict():
        raise InstrumentError(message) from cause
    if about not in _told:
        _told.add(about)
        _logger.warning("%s (Told once; otel_runs.stats() counts.)", message, exc_info=cause)
