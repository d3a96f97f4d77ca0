"""Make the pictures in docs/images: the demo runs, and its history is shown by the real commands.

Run it from the repository: ``python docs/make_pictures.py``. Ids and times are those of the moment.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

IMAGES: Final = Path(__file__).with_name("images")
WIDTH: Final = 100
"""Characters of a line in the pictures; the README shows them at about this width."""
DEMOS: Final = 2
"""How often the demo runs; each time twice."""

PICTURES: Final = {"tail": ("tail",), "show": ("show",), "models": ("models",)}
"""The name of each picture and the command it shows."""

_OTEL_RUNS: Final = Path(sys.executable).with_name("otel-runs")
# Pictures must not load anything from elsewhere when they are looked at.
_WEB_FONT: Final = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def main() -> None:
    """Make all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "runs.db")
        for _ in range(DEMOS):
            _otel_runs("demo", database=database)
        for name, command in PICTURES.items():
            svg = picture(" ".join(("otel-runs", *command)), _otel_runs(*command, database=database))
            (IMAGES / f"{name}.svg").write_text(svg, encoding="utf-8")


def picture(title: str, printed: str) -> str:
    """What a command printed on a terminal, as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in printed.splitlines():
        console.print(Text.from_ansi(line), soft_wrap=True)
    svg = console.export_svg(title=title, theme=MONOKAI, unique_id="otel-runs")
    return _WEB_FONT.sub("", svg).replace("Fira Code", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono")


def _otel_runs(*arguments: str, database: str) -> str:
    environment = {
        **os.environ,
        "OTEL_RUNS_DB": database,
        "FORCE_COLOR": "1",
        "TERM": "xterm-256color",
        "COLUMNS": str(WIDTH),
        "PYTHONIOENCODING": "utf-8",
    }
    environment.pop("NO_COLOR", None)
    done = subprocess.run(
        [_OTEL_RUNS, *arguments, *(("--db", database) if arguments == ("demo",) else ())],
        env=environment,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    main()
