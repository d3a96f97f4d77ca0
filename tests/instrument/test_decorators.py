"""What can be decorated, and what stays as it was."""

from __future__ import annotations

import asyncio
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


@pytest.mark.parametrize("name", ["__main__", "__mp_main__"])
def test_script_gives_its_name_to_the_paths_of_its_functions(spans: Any, name: str) -> None:
    script: dict[str, Any] = {"__name__": name, "__file__": "/pipelines/nightly.py", "step": step}
    exec("@step\ndef load(): pass", script)
    script["load"]()
    assert spans.attributes("load")["otel_runs.model.path"] == "nightly.load"


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
