"""What docs/setup.md shows is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_runs.export.processor import MAX_QUEUE_SIZE
from tests.programs import Programs

PAGE = Path(__file__).parents[2] / "docs" / "setup.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("program", [program for program in PROGRAMS if "otlp_endpoint" not in program])
def test_programs_of_the_page_run_without_a_word(programs: Programs, program: str) -> None:
    done = programs.python(program)

    assert (done.returncode, done.stderr) == (0, "")


def test_first_program_of_the_page_leaves_a_run_with_its_step(programs: Programs) -> None:
    programs.python(PROGRAMS[0])

    assert programs.rows("SELECT r.name, m.name FROM runs r JOIN model_runs m ON m.run_id = r.id") == [
        ("nightly", "load")
    ]


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "docs/faults.md", "docs/setup.md", "docs/spool.md"])
def test_pages_tell_how_many_spans_the_queue_holds(page: str) -> None:
    assert re.search(rf"\b{MAX_QUEUE_SIZE:,}\s+spans", (PAGE.parents[1] / page).read_text(encoding="utf-8"))
