"""While a batch is exported, Python looks for cycles less often; what the program itself has set stays."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.garbage import LookingSeldom
from tests.export.spans import spans_of

USUAL = (700, 10, 10)


@pytest.fixture(autouse=True)
def _usual_thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*USUAL)
    yield
    gc.set_threshold(*before)


def test_it_looks_seldom_inside_and_as_before_afterwards() -> None:
    with LookingSeldom():
        inside = gc.get_threshold()
    assert inside[0] > USUAL[0]
    assert inside[1:] == USUAL[1:]
    assert gc.get_threshold() == USUAL


def test_it_looks_as_before_after_an_error() -> None:
    with pytest.raises(ValueError, match="inside"), LookingSeldom():
        raise ValueError("inside")
    assert gc.get_threshold() == USUAL


@pytest.mark.parametrize("own", [(0, 10, 10), (100_000, 5, 5)], ids=["never", "more seldom still"])
def test_a_program_that_has_its_own_way_keeps_it(own: tuple[int, int, int]) -> None:
    gc.set_threshold(*own)
    with LookingSeldom():
        assert gc.get_threshold() == own
    assert gc.get_threshold() == own


def test_what_the_program_sets_meanwhile_stays() -> None:
    with LookingSeldom():
        gc.set_threshold(1_000, 20, 20)
    assert gc.get_threshold() == (1_000, 20, 20)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_meanwhile_looks_as_its_parent_did() -> None:
    reading, writing = os.pipe()
    with LookingSeldom():
        child = os.fork()
        if child == 0:
            os.write(writing, str(gc.get_threshold() == USUAL).encode())
            os._exit(0)
    os.waitpid(child, 0)
    found = os.read(reading, 10)
    os.close(reading)
    os.close(writing)
    assert found == b"True"


def test_a_batch_is_exported_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int, int]] = []
    exporter = RunsSpanExporter(file)
    export = exporter._export

    def looking(spans: Sequence[ReadableSpan]) -> Exception | None:
        seen.append(gc.get_threshold())
        return export(spans)

    monkeypatch.setattr(exporter, "_export", looking)
    exporter.export(spans_of("nightly"))
    exporter.shutdown()
    assert seen[0][0] > USUAL[0]
    assert gc.get_threshold() == USUAL
