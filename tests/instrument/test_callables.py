"""What is no plain function: methods, objects that can be called, partials."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from otel_runs import step
from otel_runs.errors import InstrumentError


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


def test_what_is_no_function_is_refused_where_it_is_decorated() -> None:
    with pytest.raises(InstrumentError, match="expected a function or method"):
        step(type("Thing", (), {}))
    with pytest.raises(InstrumentError, match="expected one of model, step, task"):
        step(kind="job")  # type: ignore[call-overload]  # the point of it
    with pytest.raises(TypeError, match=r"step\(\) has no option rows; it has attempt, backoff"):
        step(rows="len")  # type: ignore[call-overload]  # the point of it
    with pytest.raises(InstrumentError, match="rows_out is 'count'; expected 'len' or a function"):
        step(rows_out="count")  # type: ignore[call-overload]  # the point of it


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


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_an_object_that_can_be_called_can_be_copied_and_its_copy_is_recorded(
    spans: Any, copied: Callable[[Any], Any]
) -> None:
    class Reader:
        calls = 0

        def __call__(self) -> int:
            self.calls += 1
            return self.calls

    cached = step(functools.cache(len))
    read = step(Reader())
    read()
    twice = copied(read)

    assert copied(cached) is cached
    assert [twice(), twice(), read(), read.calls] == [2, 3, 2, 2]
    assert spans.names() == ["Reader"] * 4


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
