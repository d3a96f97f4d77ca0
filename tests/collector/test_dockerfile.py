"""What the ``Dockerfile`` does can be done, as far as that shows without a container engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.documents import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
BUILD, RUN = (stage for stage in re.split(r"^FROM \S+.*\n", DOCKERFILE, flags=re.MULTILINE)[1:])


@pytest.mark.timeout(300)  # it installs everything, from the network
def test_build_stage_makes_an_environment_that_serves(tmp_path: Path) -> None:
    for line in BUILD.splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "COPY":
            copy(rest.split(), tmp_path)
        elif instruction == "RUN":
            # What is in this machine's cache need not come over the network again.
            command = rest.replace("/opt/otel-runs", str(tmp_path / "opt")).replace(" --no-cache-dir", "")
            run(command, tmp_path)

    served = run(f"{tmp_path}/opt/bin/otel-runs serve --help", tmp_path)
    assert "--otlp-grpc" in served
    packages = run(
        f"{tmp_path}/opt/bin/python -I -c 'import otel_runs, psycopg, grpc; print(otel_runs.__file__)'", tmp_path
    )
    assert packages.startswith(str(tmp_path / "opt"))
    assert not (tmp_path / "opt/bin/pip").exists()


def copy(words: list[str], folder: Path) -> None:
    """``COPY``: files into a folder, one file to a name, or what is in a folder."""
    *sources, target = words
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            place = folder / target / source if target.endswith("/") else folder / target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, place)


def run(command: str, folder: Path) -> str:
    """``RUN``, where ``python`` is the interpreter below this environment: like the image's, it has pip."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    base = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    (programs / "python").write_text(f'#!/bin/sh\nexec "{base}" "$@"\n')
    (programs / "python").chmod(0o755)
    environ = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PIP_QUIET": "1",
        "PIP_NO_COMPILE": "1",
    }
    done = subprocess.run(
        ["sh", "-ec", command], cwd=folder, env=environ, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_image_has_two_stages_and_runs_as_a_user_without_rights() -> None:
    assert re.search(r"^USER 10001$", RUN, re.MULTILINE)
    assert "pip" not in RUN
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"python:3.13.9-slim-trixie"}


def test_everything_that_is_copied_is_let_through_by_dockerignore_and_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    sources = {word for words in re.findall(r"^COPY (?!--)(.*) \S+$", BUILD, re.MULTILINE) for word in words.split()}

    assert ignored[0] == "*"
    assert {pattern[1:] for pattern in ignored if pattern.startswith("!")} == sources
