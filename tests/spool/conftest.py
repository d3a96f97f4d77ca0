from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_runs.counters import counters


@pytest.fixture(autouse=True)
def _counters_at_zero() -> Iterator[None]:
    counters.reset()
    yield
    counters.reset()
