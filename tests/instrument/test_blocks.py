"""The decorators' names as context managers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import otel_runs
from otel_runs import run, step


def test_with_blocks_give_a_handle_and_know_their_parent(spans: Any) -> None:
    with run("nightly") as nightly, step("load") as load:
        assert otel_runs.current_run() is nightly
        assert otel_runs.current_step() is load
        load.record(rows_in=3)
    assert otel_runs.current_run() is None
    assert spans.parent("load") == "nightly"
    assert spans.attributes("load")["otel_runs.rows_in"] == 3


def test_async_with_works_too(spans: Any) -> None:
    async def main() -> None:
        async with run("nightly"), step("load"):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert spans.parent("load") == "nightly"


def test_one_declaration_can_be_open_several_times(spans: Any) -> None:
    level = step("level")

    def descend(levels: int) -> None:
        with level as handle:
            if levels:
                descend(levels - 1)
            handle.record(rows_out=levels)

    descend(2)
    assert [span.attributes["otel_runs.rows_out"] for span in spans.all("level")] == [0, 1, 2]
    assert spans.all("level")[2].parent is None


def test_concurrent_blocks_of_one_declaration_end_their_own_span(spans: Any) -> None:
    shared = step("shared")

    async def work(seconds: float) -> None:
        async with shared as handle:
            await asyncio.sleep(seconds)
            handle.record(metadata={"seconds": seconds})

    async def main() -> None:
        await asyncio.gather(work(0.02), work(0.0), work(0.01))

    asyncio.run(main())
    assert [span.attributes["otel_runs.metadata.seconds"] for span in spans.all("shared")] == [0.0, 0.01, 0.02]


def test_options_of_calls_are_told_where_a_block_has_none(spans: Any, caplog: pytest.LogCaptureFixture) -> None:
    with step("load", rows_out="len"):
        pass
    assert "a with block has none" in caplog.text
    assert spans.names() == ["load"]


def test_step_ended_before_its_handle_is_collected_at_once(spans: Any) -> None:
    import gc
    import weakref

    class Canary: ...

    gc.disable()
    try:
        with step("load") as handle:
            canary = Canary()
            handle.span.canary = canary  # type: ignore[attr-defined]  # ours alone
        gone = weakref.ref(canary)
        spans._exporter.clear()
        del handle, canary
        assert gone() is None
    finally:
        gc.enable()
