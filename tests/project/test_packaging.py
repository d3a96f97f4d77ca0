"""What a user installs is whole: code, types, migrations, demo data, entry points."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import EntryPoint, distribution
from pathlib import Path, PurePosixPath

import pytest

from tests.project.documents import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
    )
    return folder


def package_files() -> set[str]:
    """Every file of the package in the working tree."""
    paths = (path for path in (ROOT / "otel_runs").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(ROOT)) for path in paths}


def test_wheel_holds_every_file_of_the_package_and_nothing_else(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == package_files()
    assert "otel_runs/py.typed" in names
    assert any(PurePosixPath(name).match("store/migrations/versions/*.py") for name in names)
    assert any(PurePosixPath(name).match("demo/*.csv.gz") for name in names)


def test_wheel_from_the_source_distribution_is_the_same(built: Path, tmp_path: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "dist")],
        cwd=source,
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
    )
    [again], [wheel] = (tmp_path / "dist").glob("*.whl"), built.glob("*.whl")
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(wheel) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


ENTRY_POINTS = [entry for entry in distribution("otel-runs").entry_points if entry.group != "console_scripts"]


def test_opentelemetry_finds_the_package_under_its_standard_groups() -> None:
    assert {(entry.group, entry.name) for entry in ENTRY_POINTS} >= {
        ("opentelemetry_traces_exporter", "otel_runs"),
        ("opentelemetry_id_generator", "otel_runs"),
    }


@pytest.mark.parametrize("entry", distribution("otel-runs").entry_points, ids=lambda entry: entry.name)
def test_entry_point_leads_to_something_that_can_be_called(entry: EntryPoint) -> None:
    assert callable(entry.load())
