"""The page about instrumentation runs as it stands, and knows every option."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from otel_runs.instrument.options import RunOptions, StepOptions

PAGE = (Path(__file__).parents[2] / "docs" / "instrumentation.md").read_text()


def test_python_blocks_run_one_after_the_other(tmp_path: Path) -> None:
    program = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    (tmp_path / "page.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (tmp_path / "runs.db").exists()


def test_every_option_is_in_the_table() -> None:
    table = "".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `"))
    for option in (*RunOptions.__annotations__, *StepOptions.__annotations__):
        assert f"`{option}`" in table, option
