"""However many attributes a span has, those that make its row are kept."""

from __future__ import annotations

import pytest

from tests.programs import Programs

MANY_ATTRIBUTES = """
import otel_runs
many = {f"key{number}": number for number in range(500)}
with otel_runs.run("nightly"):
    with otel_runs.run("window") as window:
        with otel_runs.model("shop.orders") as orders:
            orders.record(rows_out=7, input_tokens=5)
            orders.record(metadata=many)
        window.record(metadata=many)
"""


def test_a_provider_of_ours_keeps_all_attributes(programs: Programs) -> None:
    done = programs.python("import otel_runs\notel_runs.configure('runs.db')\n" + MANY_ATTRIBUTES)

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows("SELECT name FROM runs ORDER BY started_at") == [("nightly",), ("window",)]
    assert programs.rows("SELECT kind, rows_out, input_tokens FROM model_runs") == [("model", 7, 5)]
    assert programs.rows("SELECT count(*) FROM runs, json_each(metadata) WHERE name = 'window'") == [(500,)]


@pytest.mark.parametrize("set_", ["orders.record(metadata=many)", "orders.span.set_attributes(many)"])
def test_a_provider_that_keeps_few_attributes_keeps_what_makes_the_rows(programs: Programs, set_: str) -> None:
    done = programs.python(
        """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
import otel_runs
trace.set_tracer_provider(TracerProvider())
otel_runs.configure("runs.db")
"""
        + MANY_ATTRIBUTES.replace("orders.record(metadata=many)", f"{set_}; orders.record(rows_out=7, input_tokens=5)")
    )

    assert done.returncode == 0
    assert programs.rows("SELECT name FROM runs ORDER BY started_at") == [("nightly",), ("window",)]
    assert programs.rows("SELECT kind, rows_out, input_tokens FROM model_runs") == [("model", 7, 5)]
    assert programs.rows("SELECT path FROM models") == [("shop.orders",)]


def test_metadata_does_not_push_out_what_was_recorded_before(programs: Programs) -> None:
    programs.python(
        """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
import otel_runs
trace.set_tracer_provider(TracerProvider())
otel_runs.configure("runs.db")
"""
        + MANY_ATTRIBUTES
    )

    assert programs.rows("SELECT kind, rows_out, input_tokens FROM model_runs") == [("model", 7, 5)]
