from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_runs.counters import counters
from tests.programs import Programs


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


@pytest.fixture
def _counters_at_zero() -> Iterator[None]:
    counters.reset()
    yield
    counters.reset()
