"""The thread of a server that looks after runs which nobody ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from otel_runs.errors import OtelRunsError
from otel_runs.reaper.judgement import Judgement, Limits
from otel_runs.reaper.reaper import Reaper

logger = logging.getLogger(__name__)

_STOP_SECONDS: Final = 5.0
"""For a look that is under way; what it has begun, the database rolls back or commits as a whole."""
_MOST_LINES: Final = 20
"""Lost runs that the log names at a time; further ones are only counted."""


class Reaping:
    """Looks at the runs from time to time, until it is stopped.

    Args:
        look: lets a reaper look at the database.
        lost_after: seconds without a sign of life after which a run counts as lost.
    """

    def __init__(self, look: Callable[[Reaper], Sequence[Judgement]], lost_after: float) -> None:
        self._look = look
        self._reaper = Reaper(Limits(lost_after, confirm=lost_after))
        self._stopping = threading.Event()
        self._has_failed = False
        self._thread = threading.Thread(target=self._run, name="otel_runs reaper", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look that is under way has some seconds to end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                _tell([each for each in self._look(self._reaper) if each.verdict == "lost"])
                self._has_failed = False
            except OtelRunsError as exc:
                # The watch begins anew by itself: nothing could be heard meanwhile either.
                if not self._has_failed:
                    logger.warning("Runs cannot be looked after now: %s", exc)
                self._has_failed = True
            except Exception:
                logger.exception("Runs could not be looked after; this is a defect.")
            self._stopping.wait(self._reaper.seconds_between_looks)


def _tell(lost: Sequence[Judgement]) -> None:
    for each in lost[:_MOST_LINES]:
        logger.warning("Run %s is lost: %s.", each.run.id, each.reason)
    if len(lost) > _MOST_LINES:
        logger.warning("%d runs more are lost.", len(lost) - _MOST_LINES)
