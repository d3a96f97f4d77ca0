"""Programs that tests write and run as processes of their own, and the history that these leave."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

TIMEOUT = 60
"""Seconds that a program of a test may take."""


class Programs:
    """A folder for one test: its programs, and the run database they share (``runs.db``)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "runs.db"

    def write(self, code: str, name: str = "pipeline.py") -> Path:
        """Write a program."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(code), encoding="utf-8")
        return path

    def environ(self, given: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a program: that of the machine without settings for OpenTelemetry, and what is given."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "COV_"))}
        # From Python 3.12 on it warns where a process with threads forks: of every exporter that has one.
        kept["PYTHONWARNINGS"] = "ignore:This process:DeprecationWarning"
        # A machine that is busy with other tests may take longer for an import than the defaults allow.
        return kept | {"OTEL_RUNS_FLUSH_TIMEOUT": "60", "OTEL_RUNS_SIGNAL_TIMEOUT": "30"} | dict(given or {})

    def python(
        self, code: str, *arguments: str, environ: Mapping[str, str] | None = None, timeout: float = TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        """Write a Python program and run it."""
        return self.run([sys.executable, str(self.write(code)), *arguments], environ=environ, timeout=timeout)

    def run(
        self, command: Sequence[str], *, environ: Mapping[str, str] | None = None, timeout: float = TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run any program to its end."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ(environ),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(
        self, command: Sequence[str], *, environ: Mapping[str, str] | None = None, own_group: bool = False
    ) -> subprocess.Popen[str]:
        """Start any program, in a process group of its own if asked to; the test must end it."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environ(environ),
            process_group=0 if own_group else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the run database."""
        connection = sqlite3.connect(self.database)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


def otel_runs_command(*arguments: str) -> list[str]:
    """The command line of ``otel-runs`` in this environment."""
    return [str(Path(sys.executable).with_name("otel-runs")), *arguments]


def words_of(printed: str) -> str:
    """A message on one line, without the frame that older typer draws around it."""
    return " ".join(printed.replace("│", " ").split())
