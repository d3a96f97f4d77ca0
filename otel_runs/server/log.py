"""The log of the server's processes, on standard error."""

from __future__ import annotations

import logging
import sys


def start_log() -> None:
    """Write down what the server has to say, and nothing of what clients do wrong."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("otel_runs").setLevel(logging.INFO)
    # What clients do wrong is answered and counted; a line for each would let them fill the disk.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
