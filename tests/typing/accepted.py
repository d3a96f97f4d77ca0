"""Checked by mypy and pyright, never run: what is decorated keeps its type."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import TypeVar, assert_type, overload

import otel_runs
from otel_runs import carry, child_environment, model, record, run, step
from otel_runs.instrument.handles import RunHandle, StepHandle

T = TypeVar("T")


@run
def main(day: str, *, full: bool = False) -> int:
    return len(day) + full


@step(rows_out="len", retries=2, retry_on=(OSError,), backoff=0.5)
def load(paths: list[str]) -> list[str]:
    return paths


@step("first", kind="query")
def first(items: list[T]) -> T:
    return items[0]


@step
async def fetch(url: str) -> bytes:
    return url.encode()


@step(rows_out="len")
def rows(count: int) -> Generator[int, str, bool]:
    yield count
    return True


@model(path="shop.orders", depends_on=["shop.raw", load], materialized="table", tags=("daily",))
async def pages(count: int) -> AsyncGenerator[int, None]:
    yield count


@overload
def double(value: int) -> int: ...
@overload
def double(value: str) -> str: ...
@step
def double(value: int | str) -> int | str:
    return value * 2


class Loader:
    @step
    def method(self, value: int) -> str:
        return str(value)

    @step
    @staticmethod
    def static(value: int) -> str:
        return str(value)

    @step
    @classmethod
    def of_class(cls, value: int) -> str:
        return f"{cls}{value}"

    @classmethod
    @step(rows_out="len")
    def inside(cls, value: int) -> str:
        return f"{cls}{value}"


assert_type(main("2026-01-02", full=True), int)
assert_type(load(["a"]), list[str])
assert_type(first([1.5]), float)
assert_type(rows(3), Generator[int, str, bool])
assert_type(pages(3), AsyncGenerator[int, None])
assert_type(double(2), int)
assert_type(double("a"), str)
assert_type(Loader().method(1), str)
assert_type(Loader.static(1), str)
assert_type(Loader.of_class(1), str)
assert_type(Loader.inside(1), str)
assert_type(carry(main)("day", full=False), int)
assert_type(child_environment(), dict[str, str])
assert_type(otel_runs.current_run(), RunHandle | None)
assert_type(otel_runs.current_step(), StepHandle | None)

callback: Callable[[list[str]], list[str]] = load

with run("nightly", key="k", config={"a": 1}, inputs=["orders.csv", b"content"]) as nightly:
    assert_type(nightly, RunHandle)
    assert_type(nightly.id, str | None)
    with step("load") as load_step:
        assert_type(load_step, StepHandle)
        load_step.record(rows_in=1, cost_usd=0.5, metadata={"any": object()})
    record(rows_out=1)

otel_runs.instrument("shop.pipeline", run="main", steps=["load_*"])


async def awaits() -> None:
    assert_type(await fetch("u"), bytes)


def returns_from_a_block() -> int:
    with step("load"):
        return 1


def after_a_skip() -> int:
    otel_runs.skip("unchanged")
