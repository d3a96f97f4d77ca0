"""A generator's span is current while the generator runs, and only then."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any

import pytest

from otel_runs import current_step, step


def test_spans_of_the_consumer_are_not_below_the_generator(spans: Any) -> None:
    @step
    def items() -> Generator[int]:
        with step("inside"):
            yield 1

    with step("consumer"):
        for _ in items():
            with step("outside"):
                pass
    assert spans.parent("inside") == "items"
    assert spans.parent("outside") == "consumer"
    assert spans.parent("items") == "consumer"


def test_interleaved_generators_keep_their_own_children(spans: Any) -> None:
    @step
    def items(name: str) -> Generator[str]:
        for number in range(2):
            with step(f"{name}{number}"):
                pass
            yield name

    decorated = {name: step(name)(items.__wrapped__)(name) for name in "ab"}  # type: ignore[attr-defined]  # wrapt's
    assert list(zip(decorated["a"], decorated["b"], strict=True)) == [("a", "b"), ("a", "b")]
    assert [spans.parent(name) for name in ("a0", "a1", "b0", "b1")] == ["a", "a", "b", "b"]
    assert current_step() is None


def test_send_throw_and_return_value_pass_through(spans: Any) -> None:
    @step
    def echo() -> Generator[str, str, int]:
        received = "first"
        count = 0
        while received != "stop":
            try:
                received = yield received
            except KeyError as exc:
                received = f"caught {exc}"
            count += 1
        return count

    def consumer() -> Generator[str, str, None]:
        result = yield from echo()
        yield f"returned {result}"

    generator = consumer()
    assert next(generator) == "first"
    assert generator.send("second") == "second"
    assert generator.throw(KeyError("x")) == "caught 'x'"
    assert generator.send("stop") == "returned 3"
    assert spans.one("echo").attributes.get("otel_runs.status") is None


def test_thrown_exception_that_is_not_caught_ends_the_step(spans: Any) -> None:
    @step
    def items() -> Generator[int]:
        yield 1

    generator = items()
    next(generator)
    with pytest.raises(KeyError):
        generator.throw(KeyError("x"))
    assert spans.attributes("items")["error.type"] == "KeyError"


def test_rows_of_a_generator_can_be_read_off_its_return_value(spans: Any) -> None:
    @step(rows_out=lambda result: result["rows"])
    def items() -> Generator[int, None, dict[str, int]]:
        yield 1
        return {"rows": 1000}

    list(items())
    assert spans.attributes("items")["otel_runs.rows_out"] == 1000


def test_async_generator_does_all_the_same(spans: Any) -> None:
    @step(rows_out="len")
    async def echo() -> AsyncGenerator[str, str]:
        received = "first"
        while received != "stop":
            with step("inside"):
                await asyncio.sleep(0)
            try:
                received = yield received
            except KeyError as exc:
                received = f"caught {exc}"

    async def main() -> None:
        with step("consumer"):
            generator = echo()
            assert await generator.__anext__() == "first"
            with step("outside"):
                assert await generator.asend("second") == "second"
            assert await generator.athrow(KeyError("x")) == "caught 'x'"
            with pytest.raises(StopAsyncIteration):
                await generator.asend("stop")

    asyncio.run(main())
    assert {span.parent.span_id for span in spans.all("inside")} == {spans.one("echo").context.span_id}
    assert spans.parent("outside") == "consumer"
    assert spans.attributes("echo")["otel_runs.rows_out"] == 3


def test_async_generators_in_turns_in_several_tasks_keep_their_own_children(spans: Any) -> None:
    async def items(name: str) -> AsyncGenerator[str]:
        for number in range(3):
            with step(f"{name}{number}"):
                await asyncio.sleep(0)
            yield name

    async def consume(name: str) -> None:
        async for _ in step(name)(items)(name):
            assert current_step() is None
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(consume("a"), consume("b"), consume("c"))

    asyncio.run(main())
    for name in "abc":
        assert [spans.parent(f"{name}{number}") for number in range(3)] == [name] * 3


def test_async_generator_that_is_closed_runs_its_clean_up_inside(spans: Any) -> None:
    seen = []

    @step
    async def items() -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            seen.append(current_step())

    async def main() -> None:
        generator = items()
        await generator.__anext__()
        await generator.aclose()

    asyncio.run(main())
    assert seen != [None]
    assert spans.attributes("items")["otel_runs.stop_reason"] == "closed"


def test_generators_leave_nothing_to_do_at_the_exit_for_each_of_them(spans: Any) -> None:
    @step
    def items() -> Iterator[int]:
        yield 1

    list(items())
    before = atexit._ncallbacks()  # there is no public way to ask
    for _ in range(20):
        list(items())

    assert len(spans.names()) == 21
    assert atexit._ncallbacks() == before
