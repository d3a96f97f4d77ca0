"""What ``record`` takes, and what is read off results."""

from __future__ import annotations

import datetime as dt
import functools
import sqlite3
from collections.abc import Callable, Generator
from importlib import import_module
from typing import Any

import pytest
from opentelemetry import trace

import otel_runs
from otel_runs import record, run, step
from otel_runs.counters import counters
from otel_runs.errors import InstrumentError
from otel_runs.instrument.measure import count_rows
from tests.at_once import at_once
from tests.newest import only_newest


def test_every_measure_has_its_attribute(spans: Any) -> None:
    with step("load") as load:
        load.record(rows_in=1, rows_out=2, rows_affected=0, input_tokens=4, output_tokens=5, cost_usd=0.25)
    reported = {name: value for name, value in spans.attributes("load").items() if name != "otel_runs.kind"}
    assert reported == {
        "otel_runs.rows_in": 1,
        "otel_runs.rows_out": 2,
        "otel_runs.rows_affected": 0,
        "gen_ai.usage.input_tokens": 4,
        "gen_ai.usage.output_tokens": 5,
        "otel_runs.cost_usd": 0.25,
    }


def test_recording_again_replaces(spans: Any) -> None:
    with step("load"):
        record(rows_in=1, rows_out=1)
        record(rows_in=2)
    assert spans.attributes("load")["otel_runs.rows_in"] == 2
    assert spans.attributes("load")["otel_runs.rows_out"] == 1


def test_metadata_keeps_what_attributes_hold_and_writes_the_rest_as_json(spans: Any) -> None:
    day = dt.date(2026, 1, 2)
    with step("load", metadata={"source": "s3"}):
        record(
            metadata={
                "n": 1,
                "ids": [1, 2],
                "mixed": [1, "a"],
                "nested": {"day": day},
                "day": day,
                "nothing": None,
                "empty": [],
            }
        )
    found = {
        name.removeprefix("otel_runs.metadata."): value
        for name, value in spans.attributes("load").items()
        if "metadata" in name
    }
    assert found == {
        "source": "s3",
        "n": 1,
        "ids": (1, 2),
        "mixed": '[1, "a"]',
        "nested": '{"day": "2026-01-02"}',
        "day": "2026-01-02",
        "empty": "[]",
    }


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


RING: list[object] = []
RING.append(RING)


@pytest.mark.parametrize("value", [{(1, 2): 3}, Unprintable(), RING], ids=["key", "text", "ring"])
def test_metadata_that_cannot_be_written_is_left_out_alone_and_told(
    spans: Any, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    with step("load", metadata={"odd": value, "source": "s3"}):
        record(rows_in=3, metadata={"other": value, "part": 1})
    found = spans.attributes("load")
    assert (found["otel_runs.metadata.source"], found["otel_runs.metadata.part"], found["otel_runs.rows_in"]) == (
        "s3",
        1,
        3,
    )
    assert not {"otel_runs.metadata.odd", "otel_runs.metadata.other"} & found.keys()
    assert [message.partition(" cannot")[0] for message in caplog.messages] == [
        "load: metadata 'odd'",
        "load: metadata 'other'",
    ]


@only_newest
def test_metadata_keeps_numbers_of_numpy_as_numbers(spans: Any) -> None:
    numpy = import_module("numpy")
    with step("load", metadata={"n": numpy.int64(5), "share": numpy.float32(0.5), "all": {"n": numpy.int64(5)}}):
        pass
    found = spans.attributes("load")
    assert [found[f"otel_runs.metadata.{name}"] for name in ("n", "share", "all")] == [5, 0.5, '{"n": 5}']


def test_metadata_that_is_no_mapping_is_an_error_of_the_option() -> None:
    with pytest.raises(InstrumentError, match=r"load: option metadata is \['s3'\]; expected a mapping"):
        step("load", metadata=["s3"])  # type: ignore[call-overload]  # the point of it


def test_record_goes_to_the_innermost_step_then_to_the_run(spans: Any) -> None:
    with run("nightly"):
        with step("load"):
            record(rows_in=1)
        record(rows_in=2)
    assert spans.attributes("load")["otel_runs.rows_in"] == 1
    assert spans.attributes("nightly")["otel_runs.rows_in"] == 2


def test_record_without_a_step_of_ours_goes_to_the_plain_span(spans: Any) -> None:
    with trace.get_tracer("plain").start_as_current_span("load"):
        record(rows_in=1)
    assert spans.attributes("load") == {"otel_runs.rows_in": 1}


def test_record_outside_of_everything_is_told_once_and_counted(spans: Any, caplog: pytest.LogCaptureFixture) -> None:
    before = counters.read().unrecorded
    record(rows_in=1)
    record(rows_in=1)
    assert caplog.text.count("outside of any run, step or span") == 1
    assert counters.read().unrecorded == before + 2


@pytest.mark.parametrize("value", ["many", -3, 2.5, True, 2**63, [1]])
def test_bad_count_is_left_out_told_once_and_counted(spans: Any, caplog: pytest.LogCaptureFixture, value: Any) -> None:
    before = counters.read().unrecorded
    with step("load") as load:
        for _ in range(3):
            load.record(rows_in=value, rows_out=7)
    assert "otel_runs.rows_in" not in spans.attributes("load")
    assert spans.attributes("load")["otel_runs.rows_out"] == 7
    (message,) = caplog.messages
    assert message == (
        f"load: rows_in is {value!r} ({type(value).__name__}); expected an integer from 0 to 2**63-1. "
        "Leave it out where the number is not known. (Told once; otel_runs.stats() counts.)"
    )
    assert counters.read().unrecorded == before + 3


@pytest.mark.parametrize("value", ["0.25", -0.1, float("nan"), float("inf"), True])
def test_bad_cost_is_left_out(spans: Any, caplog: pytest.LogCaptureFixture, value: Any) -> None:
    with step("load") as load:
        load.record(cost_usd=value)
    assert "otel_runs.cost_usd" not in spans.attributes("load")
    assert "expected a number of 0 or more" in caplog.text


def test_bad_value_raises_when_strict(spans: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RUNS_STRICT", "true")
    with pytest.raises(InstrumentError, match="rows_in is 'many'"), step("load") as load:
        load.record(rows_in="many")  # type: ignore[arg-type]  # the point of it


def test_unreadable_strict_setting_does_not_break_the_pipeline(
    spans: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_RUNS_STRICT", "perhaps")
    with step("load") as load:
        load.record(rows_in=-1)
    assert "OTEL_RUNS_STRICT is 'perhaps'" in caplog.text


class Table:
    """Like an Arrow table: has columns by ``len`` in some versions, rows by ``num_rows`` in all."""

    num_rows = 12

    def __len__(self) -> int:
        return 2


class Frame:
    """Like a data frame of pandas or polars."""

    def __len__(self) -> int:
        return 3


def test_rows_are_counted_in_all_that_has_rows() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (a)")
    inserted = database.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
    assert count_rows([1, 2, 3]) == 3
    assert count_rows(Frame()) == 3
    assert count_rows(Table()) == 12
    assert count_rows(inserted) == 2
    assert count_rows(database.execute("SELECT * FROM t")) is None
    assert count_rows(None) is None
    for value in ("text", b"bytes", 7, object()):
        with pytest.raises(TypeError):
            count_rows(value)
    database.close()


@only_newest
@pytest.mark.parametrize(
    ("library", "made_by"), [("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "table")]
)
def test_rows_of_real_data_frames_and_tables(library: str, made_by: str) -> None:
    assert count_rows(getattr(import_module(library), made_by)({"a": [1, 2, 3], "b": [4, 5, 6]})) == 3


def test_rows_are_read_off_arguments_and_result(spans: Any) -> None:
    class Cleaner:
        def __len__(self) -> int:
            return 99

        @step(rows_in="len", rows_out="len", rows_affected=lambda kept: len(kept) * 10)
        def clean(self, threshold: int, rows: list[int]) -> list[int]:
            return [row for row in rows if row > threshold]

    @step(rows_in=lambda first, second: len(first) + len(second))
    def merge(first: list[int], second: list[int]) -> None: ...

    Cleaner().clean(1, rows=[1, 2, 3])
    merge([1], second=[2, 3])
    cleaned = spans.attributes("Cleaner.clean")
    assert [cleaned[f"otel_runs.rows_{name}"] for name in ("in", "out", "affected")] == [3, 2, 20]
    assert spans.attributes("merge")["otel_runs.rows_in"] == 3


def test_reader_that_fails_never_breaks_the_step(spans: Any, caplog: pytest.LogCaptureFixture) -> None:
    @step(rows_out=lambda result: result["rows"], rows_affected="len")
    def load() -> int:
        return 5

    assert [load(), load()] == [5, 5]
    assert spans.all("load")[0].attributes.get("otel_runs.status") is None
    assert [message.partition(" could")[0] for message in caplog.messages] == ["load: rows_out", "load: rows_affected"]


def test_rows_of_a_failed_step_are_not_read(spans: Any) -> None:
    @step(rows_out="len")
    def load() -> list[int]:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        load()
    assert "otel_runs.rows_out" not in spans.attributes("load")


def test_run_counts_the_steps_that_ended_in_it_from_all_threads(spans: Any) -> None:
    def work() -> None:
        for _ in range(50):
            with step("load"):
                pass

    with run("nightly"):
        at_once(*(otel_runs.carry(work) for _ in range(4)))
        with run("window"), step("load"):
            pass
    assert spans.attributes("nightly")["otel_runs.steps_expected"] == 200
    assert spans.attributes("window")["otel_runs.steps_expected"] == 1


def test_run_with_a_key_does_not_say_how_many_steps_to_expect(spans: Any) -> None:
    with run("nightly", key="2026-01-02"), step("load"):
        pass
    assert "otel_runs.steps_expected" not in spans.attributes("nightly")


def test_rows_of_a_generator_are_counted_and_read_off_its_return_value(spans: Any) -> None:
    @step(rows_out="len", rows_affected=lambda result: result["changed"])
    def load() -> Generator[int, None, dict[str, int]]:
        yield 1
        yield 2
        return {"changed": 42}

    assert list(load()) == [1, 2]
    found = dict(spans.all()[0].attributes)
    assert (found["otel_runs.rows_out"], found["otel_runs.rows_affected"]) == (2, 42)


def test_rows_are_never_read_off_the_object_of_a_method(spans: Any) -> None:
    def traced(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return call

    class Table:
        def __len__(self) -> int:
            return 99

        def load(self, rows: list[int]) -> None: ...

        @step("below another", rows_in="len")
        @traced
        def replace(self, rows: list[int]) -> None: ...

    table = Table()
    table.replace([1, 2, 3])
    step("bound", rows_in="len")(table.load)([1, 2])
    step("bound, read", rows_in=lambda rows: len(rows) * 10)(table.load)([1, 2])
    assert [span.attributes["otel_runs.rows_in"] for span in spans.all()] == [3, 2, 20]
