"""How often Python looks for cycles in a process that is the server's own."""

from __future__ import annotations

import gc
from typing import Final

_NEW_OBJECTS: Final = 50_000
"""Between two looks. Python's own 700 are reached by a few spans, of which nearly all are freed without a look; it then
takes a sixth to a quarter of the time: 100,000 spans took 4.7 seconds of CPU and take 3.9, on a slower day 6.1 and 4.6
(two workers, before and after in turns, with bench/receivers.py)."""


def look_seldom() -> None:
    """Leave what is there now alone, and look at the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
