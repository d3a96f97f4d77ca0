"""How often Python looks for cycles of garbage.

Each 700 new objects it looks at these, and hands on what lives; as often as that adds up to a quarter of all objects of
the program it looks through all of them. The records of a batch live until the batch is written and then go without
being looked for, so nearly all of this is in vain.
"""

from __future__ import annotations

import gc
from types import TracebackType
from typing import Final

from otel_runs.children import call_in_child

_NEW_OBJECTS: Final = 50_000
"""Between two looks: more than a batch makes, less than any program minds."""

Thresholds = tuple[int, int, int]


def look_seldom() -> None:
    """Leave what is there now alone, and look at the rest less often. For a process that is all ours.

    100,000 spans took 4.7 seconds of a server's CPU and take 3.9, on a slower day 6.1 and 4.6 (two workers, before and
    after in turns, with bench/receivers.py).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)


class LookingSeldom:
    """While it is entered Python looks less often; for a process that is somebody else's.

    An export takes a quarter less time (28 us a span and 38, in turns, into SQLite), and the pipeline, all of whose
    threads stand still for a look through all objects (25 ms with SQLAlchemy loaded), does so less often. What the
    program itself sets meanwhile stays, and so does a collector that it has turned off.
    """

    def __init__(self) -> None:
        """Enter it in one thread at a time."""
        self._before: Thresholds | None = None
        call_in_child(self, LookingSeldom._restore)  # where the thread that would leave it does not live on

    def __enter__(self) -> None:
        before = gc.get_threshold()
        if 0 < before[0] < _NEW_OBJECTS:  # 0: never
            self._before = before
            gc.set_threshold(*_seldom(before))

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        before, self._before = self._before, None
        if before is not None and gc.get_threshold() == _seldom(before):
            gc.set_threshold(*before)


def _seldom(before: Thresholds) -> Thresholds:
    return (_NEW_OBJECTS, *before[1:])
