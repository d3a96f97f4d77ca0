from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from otel_runs.export.id_generator import TimeOrderedIdGenerator
from otel_runs.ids import is_span_id, is_trace_id
from tests.systems import needs_fork


@pytest.fixture
def _seeded() -> Iterator[None]:
    state = random.getstate()
    random.seed(7)
    yield
    random.setstate(state)


def test_trace_ids_begin_with_the_milliseconds_of_their_time() -> None:
    before = time.time_ns() // 1_000_000
    trace_id = TimeOrderedIdGenerator().generate_trace_id()
    after = time.time_ns() // 1_000_000

    assert (trace_id >> 96) - before % 2**32 in range(after - before + 1)


def test_milliseconds_wrap_instead_of_growing_out_of_four_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: (2**32 * 400 + 5) * 1_000_000)

    trace_id = TimeOrderedIdGenerator().generate_trace_id()

    assert trace_id >> 96 == 5
    assert is_trace_id(f"{trace_id:032x}")


def test_short_ids_of_runs_a_millisecond_apart_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    generator = TimeOrderedIdGenerator()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    first = f"{generator.generate_trace_id():032x}"
    monkeypatch.setattr(time, "time_ns", lambda: now + 1_000_000)
    second = f"{generator.generate_trace_id():032x}"

    assert first[:8] != second[:8]


@pytest.mark.usefixtures("_seeded")
def test_all_twelve_random_bytes_vary() -> None:
    generator = TimeOrderedIdGenerator()
    seen = 0
    missing = 2**96 - 1
    for _ in range(200):
        trace_id = generator.generate_trace_id()
        seen |= trace_id
        missing &= trace_id

    assert seen & (2**96 - 1) == 2**96 - 1, "a bit that is never set is not random"
    assert missing == 0, "a bit that is always set is not random"


def test_ids_are_never_zero_though_chance_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "getrandbits", lambda _bits: 0)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    generator = TimeOrderedIdGenerator()

    assert is_trace_id(f"{generator.generate_trace_id():032x}")
    assert is_span_id(f"{generator.generate_span_id():016x}")


def test_trace_ids_declare_themselves_random_for_the_w3c_flag() -> None:
    assert TimeOrderedIdGenerator().is_trace_id_random()


FORKING = """
import os
from otel_runs.export.id_generator import TimeOrderedIdGenerator

TimeOrderedIdGenerator().generate_span_id()
for _ in range(3):
    child = os.fork()
    if child == 0:
        print(f"{TimeOrderedIdGenerator().generate_span_id():016x}", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@needs_fork
def test_forked_children_do_not_repeat_each_others_ids() -> None:
    # In a process of its own: what other tests have left in this one (providers, pools) runs in its children, too.
    ended = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60, check=True)

    assert len(set(ended.stdout.split())) == 3
