"""How often Python looks for cycles in a process that is the server's own."""

from __future__ import annotations

import gc
from typing import Final

_NEW_OBJECTS: Final = 50_000
"""Between two looks; Python's own 700 are reached by a few spans, of which nearly all are freed without a look. Then it
takes 15 % of the time that a span takes (bench/receiving.py, 4.7 and 3.9 seconds of CPU for 100,000 spans)."""


def look_seldom() -> None:
    """Leave what is there now alone, and look at the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
