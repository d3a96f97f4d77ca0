"""What can be decorated, and what stays as it was."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import otel_runs
from otel_runs import model, run, step
from otel_runs.errors import InstrumentError


def test_function_keeps_its_result_and_becomes_a_span(spans: Any) -> None:
    @step
    def add(one: int, other: int = 2) -> int:
        return one + other

    assert add(1, other=3) == 4
    assert spans.attributes("add") == {
        "otel_runs.kind": "step",
        "otel_runs.model.path": f"{__name__}.test_function_keeps_its_result_and_becomes_a_span.add",
    }


def test_name_and_attributes_come_from_the_options(spans: Any) -> None:
    @step("load orders", kind="task", path="shop.orders", tags=["daily", "eu"], owner="data", depends_on="shop.raw")
    def load() -> None: ...

    load()
    assert spans.attributes("load orders") == {
        "otel_runs.kind": "task",
        "otel_runs.model.path": "shop.orders",
        "otel_runs.model.tags": ("daily", "eu"),
        "otel_runs.model.owner": "data",
        "otel_runs.model.depends_on": ("shop.raw",),
    }


def test_coroutine_is_current_while_it_waits(spans: Any) -> None:
    @step
    async def outer() -> str:
        await asyncio.sleep(0)
        await inner()
        return "done"

    @step
    async def inner() -> None: ...

    assert asyncio.run(outer()) == "done"
    assert spans.parent("inner") == "outer"


def test_concurrent_coroutines_do_not_become_each_others_parents(spans: Any) -> None:
    @step
    async def leaf(name: str) -> None:
        await asyncio.sleep(0)
        with step(f"below {name}"):
            await asyncio.sleep(0)

    @run
    async def main() -> None:
        await asyncio.gather(*(step(name=f"leaf {name}")(leaf.__wrapped__)(name) for name in "ab"))  # type: ignore[attr-defined]  # wrapt's

    asyncio.run(main())
    assert spans.parent("below a") == "leaf a"
    assert spans.parent("below b") == "leaf b"
    assert spans.parent("leaf a") == spans.parent("leaf b") == "main"


class Loader:
    @step
    def method(self, value: int) -> tuple[str, int]:
        return type(self).__name__, value

    @step
    @staticmethod
    def static_outside(value: int) -> int:
        return value

    @staticmethod
    @step
    def static_inside(value: int) -> int:
        return value

    @step
    @classmethod
    def class_outside(cls, value: int) -> tuple[str, int]:
        return cls.__name__, value

    @classmethod
    @step
    def class_inside(cls, value: int) -> tuple[str, int]:
        return cls.__name__, value


class SubLoader(Loader): ...


def test_methods_of_every_kind_bind_as_before(spans: Any) -> None:
    assert SubLoader().method(1) == ("SubLoader", 1)
    assert Loader.static_outside(2) == Loader().static_outside(2) == 2
    assert Loader.static_inside(3) == 3
    assert SubLoader.class_outside(4) == ("SubLoader", 4)
    assert SubLoader().class_inside(5) == ("SubLoader", 5)
    assert spans.names()[0] == "Loader.method"
    assert spans.attributes("Loader.method")["otel_runs.model.path"] == f"{__name__}.Loader.method"


@pytest.mark.filterwarnings("ignore:'asyncio.iscoroutinefunction' is deprecated")  # by Python 3.14; they still ask it
def test_frameworks_that_ask_what_a_function_is_get_the_same_answer() -> None:
    def function() -> None: ...
    async def coroutine() -> None: ...
    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    questions = (
        inspect.iscoroutinefunction,
        asyncio.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        inspect.isfunction,
        inspect.signature,
        inspect.getdoc,
        inspect.getsource,
    )
    for plain in (function, coroutine, generator, async_generator):
        decorated = step(rows_out="len")(plain)
        assert decorated is not plain
        for ask in questions:
            assert ask(decorated) == ask(plain), f"{ask.__name__}({plain.__name__})"


def test_retried_coroutine_is_still_a_coroutine_function() -> None:
    @step(retries=1)
    async def load() -> None: ...

    assert inspect.iscoroutinefunction(load)


def test_what_is_no_function_is_refused_where_it_is_decorated() -> None:
    with pytest.raises(InstrumentError, match="expected a function or method"):
        step(type("Thing", (), {}))
    with pytest.raises(InstrumentError, match="expected one of model, step, task"):
        step(kind="job")  # type: ignore[call-overload]  # the point of it
    with pytest.raises(TypeError, match=r"step\(\) has no option rows; it has attempt, backoff"):
        step(rows="len")  # type: ignore[call-overload]  # the point of it
    with pytest.raises(InstrumentError, match="rows_out is 'count'; expected 'len' or a function"):
        step(rows_out="count")  # type: ignore[call-overload]  # the point of it


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retries": 1, "retry_on": "OSError"}, "load: option retry_on is 'OSError'; expected a class of exceptions"),
        ({"retries": 1, "retry_on": [OSError]}, "option retry_on is .*; expected a class of exceptions"),
        ({"retries": 1, "retry_on": ()}, r"option retry_on is \(\); expected a class of exceptions"),
        ({"retries": 1, "retry_on": KeyboardInterrupt}, "option retry_on is .*; expected a class of exceptions"),
        ({"retries": 1, "backoff": "1"}, "option backoff is '1'; expected seconds, a number of 0 or more, or a func"),
        ({"retries": 1, "backoff": -1}, "option backoff is -1; expected seconds"),
        ({"retries": True}, "load: option retries is True; expected an integer of 0 or more"),
        ({"retries": "3"}, "option retries is '3'; expected an integer of 0 or more"),
        ({"attempt": 0}, "option attempt is 0; expected an integer of 1 or more"),
        ({"rows_in": 5}, "load: option rows_in is 5; expected 'len' or a function"),
        ({"rows_in": "many"}, "option rows_in is 'many'; expected 'len' or a function"),
    ],
    ids=str,
)
def test_a_value_that_an_option_cannot_have_is_refused_where_it_is_declared(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InstrumentError, match=message):
        step("load", **options)


def test_a_config_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(InstrumentError, match="nightly: option config is 5; expected a mapping"):
        run("nightly", config=5)  # type: ignore[call-overload]  # the point of it


def test_options_that_are_none_say_nothing(spans: Any) -> None:
    @step(retries=1, retry_on=None, backoff=None, rows_in=None, attempt=None)  # type: ignore[call-overload, untyped-decorator]  # the point of it
    def load() -> None:
        if len(spans.all()) == 0:
            raise OSError

    load()
    assert spans.names() == ["load", "load"]


def test_an_id_that_is_too_long_is_told(spans: Any, caplog: pytest.LogCaptureFixture) -> None:
    with run("nightly", id="x" * 64), run("nightly", id="y" * 65):
        pass
    assert caplog.text.count("has 65 characters; its first 64 are kept") == 1


def test_an_object_that_can_be_called_keeps_what_it_has(spans: Any) -> None:
    @step
    @functools.cache
    def loaded(table: str) -> list[str]:
        return [table]

    class Reader:
        calls = 0

        def __call__(self) -> None:
            self.calls += 1

    class Tables:
        @step
        @functools.lru_cache  # noqa: B019  for the time of a test
        def load(self, table: str) -> str:
            return table

    assert loaded("orders") is loaded("orders")
    assert loaded.cache_info().hits == 1
    loaded.cache_clear()
    assert loaded.cache_info().hits == 0
    read = step(Reader())
    read()
    read()
    assert read.calls == 2
    tables = Tables()
    assert [tables.load("orders"), Tables.load(tables, "orders")] == ["orders"] * 2
    assert Tables.load.cache_info().hits == 1
    names = [name.rpartition("<locals>.")[2] for name in spans.names()]
    assert names == ["loaded", "loaded", "Reader", "Reader", "Tables.load", "Tables.load"]


def test_an_object_that_can_be_called_is_of_the_kind_of_its_method(spans: Any) -> None:
    class Reader:
        async def __call__(self) -> None:
            msg = "down"
            raise OSError(msg)

    class Pages:
        def __call__(self) -> Iterator[int]:
            yield 1
            yield 2

    with pytest.raises(OSError, match="down"):
        asyncio.run(step("read")(Reader())())
    assert list(step("pages", rows_out="len")(Pages())()) == [1, 2]
    assert spans.attributes("read")["otel_runs.status"] == "failed"
    assert spans.attributes("pages")["otel_runs.rows_out"] == 2


def test_partials_are_called_after_their_functions(spans: Any) -> None:
    def add(one: int, other: int) -> int:
        return one + other

    def subtract(one: int, other: int) -> int:
        return one - other

    assert [step(functools.partial(each, 2))(3) for each in (add, subtract)] == [5, -1]
    paths = [span.attributes["otel_runs.model.path"].rpartition(".")[2] for span in spans.all()]
    assert paths == ["add", "subtract"]
    assert [span.name for span in spans.all()] == ["add", "subtract"]


def test_partial_is_recorded_under_its_own_kind(spans: Any) -> None:
    def add(one: int, other: int) -> int:
        return one + other

    assert step("add two")(functools.partial(add, 2))(3) == 5
    assert spans.names() == ["add two"]


def test_model_carries_the_hash_of_its_source(spans: Any) -> None:
    @model(path="shop.orders", materialized="table", schema_name="shop")
    def orders() -> None: ...

    @model(path="shop.paid", content_hash="abc", depends_on=[orders])
    def paid() -> None: ...

    orders()
    orders()
    paid()
    first, second = spans.all("orders")
    assert len(first.attributes["otel_runs.model.content_hash"]) == 64
    assert first.attributes == second.attributes
    assert first.attributes["otel_runs.model.materialized"] == "table"
    assert spans.attributes("paid")["otel_runs.model.content_hash"] == "abc"
    assert spans.attributes("paid")["otel_runs.model.depends_on"] == ("shop.orders",)


def test_one_declaration_decorates_several_functions(spans: Any) -> None:
    counted = step(rows_out="len")

    @counted
    def one() -> list[int]:
        return [1]

    @counted
    def two() -> list[int]:
        return [1, 2]

    one()
    two()
    assert [spans.attributes(name)["otel_runs.rows_out"] for name in ("one", "two")] == [1, 2]


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


@pytest.mark.parametrize("name", ["__main__", "__mp_main__"])
def test_script_gives_its_name_to_the_paths_of_its_functions(spans: Any, name: str) -> None:
    script: dict[str, Any] = {"__name__": name, "__file__": "/pipelines/nightly.py", "step": step}
    exec("@step\ndef load(): pass", script)
    script["load"]()
    assert spans.attributes("load")["otel_runs.model.path"] == "nightly.load"


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


def test_options_of_calls_are_told_where_a_block_has_none(spans: Any, caplog: pytest.LogCaptureFixture) -> None:
    with step("load", rows_out="len"):
        pass
    assert "a with block has none" in caplog.text
    assert spans.names() == ["load"]


def test_without_a_provider_nothing_changes(no_provider: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*_args: object, **_kwargs: object) -> None:
        pytest.fail("a process was started though nothing is recorded")

    monkeypatch.setattr("subprocess.run", no_git)

    @step(rows_out=lambda _result: pytest.fail("read though nothing is recorded"))
    def load() -> int:
        otel_runs.record(rows_in=-1)
        return 1

    @step
    def skipping() -> int:
        otel_runs.skip("unchanged")

    @run
    def main() -> int:
        with step("block") as handle:
            handle.record(rows_in="many")  # type: ignore[arg-type]  # the point of it
            handle.skip("nothing")
            assert handle.id is None
            otel_runs.skip("unchanged")
        assert otel_runs.current_run() is None
        assert skipping() is None
        return load()

    assert main() == 1


def test_provider_that_is_set_later_is_followed(spans: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry import trace

    @step
    def load() -> None: ...

    provider = trace._TRACER_PROVIDER
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    load()
    assert spans.names() == []
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    load()
    assert spans.names() == ["load"]


def test_broken_processor_does_not_break_the_pipeline(spans: Any, caplog: pytest.LogCaptureFixture) -> None:
    from opentelemetry.sdk.trace import SpanProcessor

    class Broken(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            raise RuntimeError("on_start")

    spans.provider.add_span_processor(Broken())

    @step
    def load() -> int:
        return 1

    assert load() == 1
    assert "load: its span could not be started: RuntimeError('on_start')" in caplog.text


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
