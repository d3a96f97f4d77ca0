"""Every way a span can end has its own status and stop reason."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

import otel_runs
from otel_runs import run, step


def _ending(spans: Any, name: str) -> tuple[str | None, str | None, StatusCode]:
    span = spans.one(name)
    attributes = span.attributes or {}
    return attributes.get("otel_runs.status"), attributes.get("otel_runs.stop_reason"), span.status.status_code


@pytest.mark.parametrize(
    ("raised", "status", "stop_reason", "code"),
    [
        (ValueError("bad"), "failed", "error", StatusCode.ERROR),
        (TimeoutError("slow"), "failed", "timeout", StatusCode.ERROR),
        (ExceptionGroup("two", [ValueError(), KeyError()]), "failed", "error", StatusCode.ERROR),
        (KeyboardInterrupt(), "cancelled", "signal:SIGINT", StatusCode.UNSET),
        (BaseExceptionGroup("trio", [KeyboardInterrupt()]), "cancelled", "signal:SIGINT", StatusCode.UNSET),
        (BaseExceptionGroup("both", [KeyboardInterrupt(), OSError()]), "failed", "error", StatusCode.ERROR),
        (
            BaseExceptionGroup("of one", [asyncio.CancelledError(), KeyboardInterrupt()]),
            "cancelled",
            "signal:SIGINT",
            StatusCode.UNSET,
        ),
        (
            BaseExceptionGroup("of none", [GeneratorExit(), asyncio.CancelledError()]),
            "cancelled",
            "closed",
            StatusCode.UNSET,
        ),
        (SystemExit(), None, None, StatusCode.UNSET),
        (SystemExit(0), None, None, StatusCode.UNSET),
        (SystemExit(3), "failed", "exit:3", StatusCode.ERROR),
        (SystemExit("no input"), "failed", "exit:1", StatusCode.ERROR),
        (asyncio.CancelledError(), "cancelled", "cancelled", StatusCode.UNSET),
        (GeneratorExit(), "cancelled", "closed", StatusCode.UNSET),
        (type("Panic", (BaseException,), {})(), "failed", "error", StatusCode.ERROR),
    ],
    ids=lambda value: repr(value) if isinstance(value, BaseException) else None,
)
@pytest.mark.parametrize("declare", [run, step])
def test_exception_gives_its_ending_and_goes_on(
    spans: Any, declare: Any, raised: BaseException, status: str | None, stop_reason: str | None, code: StatusCode
) -> None:
    def work() -> None:
        raise raised

    with pytest.raises(type(raised)) as caught:
        declare("work")(work)()
    assert caught.value is raised
    assert _ending(spans, "work") == (status, stop_reason, code)


def test_error_carries_type_message_and_stack_trace(spans: Any) -> None:
    class RejectedError(Exception): ...

    @step
    def load() -> None:
        raise RejectedError("row 7")

    with pytest.raises(RejectedError):
        load()
    span = spans.one("load")
    assert span.status.description == "RejectedError: row 7"
    assert span.attributes["error.type"].endswith("RejectedError")
    (event,) = span.events
    assert event.name == "exception"
    assert event.attributes["exception.message"] == "row 7"
    assert 'raise RejectedError("row 7")' in event.attributes["exception.stacktrace"]


def test_exit_with_a_text_keeps_the_text_as_the_error(spans: Any) -> None:
    with pytest.raises(SystemExit), step("load"):
        sys.exit("no input")
    assert spans.one("load").events[0].attributes["exception.message"] == "no input"


def test_run_that_survives_a_failed_step_ends_well_itself(spans: Any) -> None:
    with run("nightly"), pytest.raises(ValueError, match="bad"), step("load"):
        raise ValueError("bad")
    assert _ending(spans, "load")[0] == "failed"
    assert _ending(spans, "nightly") == (None, None, StatusCode.UNSET)


def test_exception_that_cannot_be_printed_still_ends_the_span(spans: Any, caplog: pytest.LogCaptureFixture) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    with pytest.raises(MuteError), step("load"):
        raise MuteError
    assert spans.names() == ["load"]
    assert "its ending could not be recorded" in caplog.text


def test_cancelled_task_is_cancelled(spans: Any) -> None:
    @step
    async def wait() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert _ending(spans, "wait") == ("cancelled", "cancelled", StatusCode.UNSET)


def test_task_that_runs_out_of_time_is_a_timeout_where_it_is_raised(spans: Any) -> None:
    @step
    async def outer() -> None:
        async with asyncio.timeout(0.01):
            await inner()

    @step
    async def inner() -> None:
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        asyncio.run(outer())
    assert _ending(spans, "inner")[:2] == ("cancelled", "cancelled")
    assert _ending(spans, "outer")[:2] == ("failed", "timeout")


def test_skip_leaves_the_innermost_step_only(spans: Any) -> None:
    @step
    def inner() -> int:
        otel_runs.skip("unchanged")

    @step
    def outer() -> str:
        assert inner() is None
        return "done"

    assert outer() == "done"
    assert _ending(spans, "inner") == ("skipped", "unchanged", StatusCode.UNSET)
    assert _ending(spans, "outer")[0] is None


def test_skip_is_not_swallowed_by_the_pipelines_own_except(spans: Any) -> None:
    reached = []
    with step("load"):
        try:
            otel_runs.skip("unchanged")
        except Exception:  # noqa: BLE001  the point of it: skip() is none
            reached.append("except")
        reached.append("after")
    assert reached == []
    assert _ending(spans, "load")[0] == "skipped"


def test_skip_in_coroutine_and_generators_ends_them(spans: Any) -> None:
    @step
    async def coroutine() -> int:
        otel_runs.skip("one")

    @step
    def items() -> Iterator[int]:
        yield 1
        otel_runs.skip("two")

    @step
    async def async_items() -> AsyncIterator[int]:
        yield 1
        otel_runs.skip("three")

    async def main() -> list[int]:
        assert await coroutine() is None
        return [item async for item in async_items()]

    assert asyncio.run(main()) == [1]
    assert list(items()) == [1]
    reasons = [_ending(spans, name)[1] for name in ("coroutine", "items", "async_items")]
    assert reasons == ["one", "two", "three"]


def test_skip_on_the_handle_marks_and_goes_on(spans: Any) -> None:
    with step("load") as load:
        load.skip("unchanged")
        load.record(rows_in=5)
    assert _ending(spans, "load")[:2] == ("skipped", "unchanged")
    assert spans.attributes("load")["otel_runs.rows_in"] == 5


def test_failure_after_a_skip_mark_is_a_failure(spans: Any) -> None:
    with pytest.raises(ValueError, match="bad"), step("load") as load:  # mark first, then fail
        load.skip("unchanged")
        raise ValueError("bad")
    assert _ending(spans, "load")[0] == "failed"


def test_generator_lasts_from_its_first_item_to_its_end(spans: Any) -> None:
    @step(rows_out="len")
    def items() -> Iterator[int]:
        yield from range(4)

    assert sum(items()) == 6
    assert _ending(spans, "items") == (None, None, StatusCode.UNSET)
    assert spans.attributes("items")["otel_runs.rows_out"] == 4


def test_generator_that_was_never_started_has_done_nothing_and_has_no_span(spans: Any) -> None:
    @step
    def items() -> Generator[int]:
        yield 1

    @step
    async def async_items() -> AsyncIterator[int]:
        yield 1

    @step
    async def coroutine() -> None: ...

    items().close()
    async_items()
    coroutine().close()
    assert spans.names() == []


def test_generator_closed_early_is_cancelled_with_what_it_yielded(spans: Any) -> None:
    closed = []

    @step(rows_out="len")
    def items() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.append(otel_runs.current_step())

    for item in items():
        if item == 2:
            break
    assert _ending(spans, "items") == ("cancelled", "closed", StatusCode.UNSET)
    assert spans.attributes("items")["otel_runs.rows_out"] == 3
    assert closed[0] is not None, "the clean-up belongs to the step"


def test_generator_that_fails_while_it_is_closed_has_failed(spans: Any) -> None:
    @step
    def items() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise OSError("cannot close")

    generator = items()
    next(generator)
    with pytest.raises(OSError, match="cannot close"):
        generator.close()  # type: ignore[attr-defined]  # declared as an Iterator
    assert _ending(spans, "items")[:2] == ("failed", "error")


def test_generator_that_is_dropped_is_closed(spans: Any) -> None:
    @step
    def items() -> Iterator[int]:
        yield 1

    generator = items()
    next(generator)
    del generator
    assert _ending(spans, "items")[:2] == ("cancelled", "closed")


def test_generator_still_open_at_exit_is_unfinished() -> None:
    program = """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
        from otel_runs import step

        provider = TracerProvider()
        line = lambda span: f"{span.name} {span.attributes.get('otel_runs.stop_reason')}\\n"
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=line)))
        trace.set_tracer_provider(provider)

        @step
        def items():
            yield 1

        held = items()
        next(held)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "items unfinished\n"


def test_async_generator_closed_by_the_event_loop_is_told_quietly(spans: Any, caplog: pytest.LogCaptureFixture) -> None:
    @step(rows_out="len")
    async def items() -> AsyncIterator[int]:
        for item in range(100):
            yield item

    held = []

    async def main() -> None:
        generator = items()
        held.append(generator)
        async for _ in generator:
            break

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert _ending(spans, "items")[:2] == ("cancelled", "closed")
    assert spans.attributes("items")["otel_runs.rows_out"] == 1
    assert caplog.text == ""


def test_coroutine_dropped_halfway_ends_quietly_and_leaves_the_context_as_it_was(
    spans: Any, caplog: pytest.LogCaptureFixture
) -> None:
    import contextvars

    class Forever:
        def __await__(self) -> Generator[None]:
            yield None

    @step
    async def wait() -> None:
        await Forever()

    coroutine = wait()
    contextvars.Context().run(coroutine.send, None)
    coroutine.close()
    assert _ending(spans, "wait")[:2] == ("cancelled", "closed")
    assert otel_runs.current_step() is None
    assert caplog.text == ""


def test_block_that_ends_in_a_copy_of_its_context_restores_there(spans: Any, caplog: pytest.LogCaptureFixture) -> None:
    import contextvars

    block = step("load")
    block.__enter__()

    def leave() -> object:
        block.__exit__(None, None, None)
        return otel_runs.current_step()

    try:
        assert contextvars.copy_context().run(leave) is None
        assert caplog.text == ""
    finally:
        from opentelemetry.context import Context, attach

        attach(Context())
