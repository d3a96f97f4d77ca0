"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def wait_until(holds: Callable[[], bool], *, seconds: float = 60, what: str = "it") -> None:
    """Ask again and again until something holds.

    Raises:
        Failed: it does not, within the time; the test has failed.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {seconds} s")
        time.sleep(0.1)
