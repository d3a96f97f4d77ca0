"""A pipeline that knows nothing of otel_runs, and what is stored of it."""

from __future__ import annotations

from tests.programs import Programs

PLAIN = """
from opentelemetry import trace
tracer = trace.get_tracer("plain")
with tracer.start_as_current_span("nightly"):
    with tracer.start_as_current_span("load"):
        pass
"""


def runs_and_steps(programs: Programs) -> list[tuple[str, str]]:
    return programs.rows("SELECT r.name, m.name FROM runs r LEFT JOIN model_runs m ON m.run_id = r.id ORDER BY 1, 2")
