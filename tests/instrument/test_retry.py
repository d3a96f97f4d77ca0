"""Each try of a step is a span with its number."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from otel_runs import step
from otel_runs.errors import InstrumentError


def test_retried_coroutine_is_still_a_coroutine_function() -> None:
    @step(retries=1)
    async def load() -> None: ...

    assert inspect.iscoroutinefunction(load)


def test_each_try_is_a_span_with_its_number(spans: Any) -> None:
    waits: list[int] = []
    failures = iter([OSError("one"), OSError("two")])

    def backoff(attempt: int) -> float:
        waits.append(attempt)
        return 0.0

    @step(retries=2, retry_on=OSError, backoff=backoff)
    def load() -> str:
        for failure in failures:
            raise failure
        return "loaded"

    assert load() == "loaded"
    assert waits == [1, 2]
    tries = [(span.attributes["otel_runs.attempt"], span.attributes.get("otel_runs.status")) for span in spans.all()]
    assert tries == [(1, "failed"), (2, "failed"), (3, None)]


def test_last_failure_is_raised_and_others_are_not_retried(spans: Any) -> None:
    @step(retries=1, retry_on=OSError)
    async def load(error: Exception) -> None:
        raise error

    with pytest.raises(OSError, match="down"):
        asyncio.run(load(OSError("down")))
    with pytest.raises(KeyError):
        asyncio.run(load(KeyError("x")))
    assert [span.attributes["otel_runs.attempt"] for span in spans.all()] == [1, 2, 1]


def test_generator_cannot_be_retried() -> None:
    with pytest.raises(InstrumentError, match="a generator cannot be retried"):

        @step(retries=1)
        def items() -> Iterator[int]:
            yield 1


def test_those_who_retry_by_themselves_give_the_number(spans: Any) -> None:
    for attempt in (1, 2):
        with step("load", attempt=attempt):
            pass
    assert [span.attributes["otel_runs.attempt"] for span in spans.all()] == [1, 2]
