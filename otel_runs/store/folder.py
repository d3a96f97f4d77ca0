"""Which database is meant, settled without SQLAlchemy: a pipeline that only emits spans need not load it to know."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from otel_runs import settings
from otel_runs.errors import SettingsError

FOLDER: Final = ".otel_runs"
FILE: Final = "runs.db"
NO_DATABASE: Final = "none"
"""Instead of a database: a process that stores nothing itself, and sends its spans elsewhere."""
_PROJECT_MARKS: Final = (FOLDER, ".git", "pyproject.toml")
_RELATIVE_SQLITE: Final = re.compile(r"(sqlite(?:\+pysqlite)?:///)(?![/:?]|file:|$)(.*)", re.DOTALL)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+]+:")


def settled_url(url: str | os.PathLike[str] | None = None) -> str:
    """The same database, named so that it stays the same when the process changes its working directory.

    Args:
        url: as `database_url` takes it.

    Returns:
        A URL or an absolute path; a text that is neither comes back as it is, for `database_url` to refuse. So does
        ``none``.

    Raises:
        SettingsError: the working directory cannot be read, and the place depends on it.
    """
    if url is None:
        url = settings.read(settings.DB)
    if url is None:
        return str(default_file(FILE))
    text = os.fspath(url)
    if text == NO_DATABASE:
        return text
    relative = _RELATIVE_SQLITE.fullmatch(text)
    try:
        if relative is not None:
            path, mark, query = relative[2].partition("?")
            return f"{relative[1]}{os.path.abspath(path)}{mark}{query}"  # noqa: PTH100  resolve() would follow links
        if "://" in text or (isinstance(url, str) and _SCHEME.match(text)):
            return text
        return os.path.abspath(Path(text).expanduser())  # noqa: PTH100  as above
    except (RuntimeError, OSError) as exc:
        msg = f"path {text!r} of the run database cannot be made absolute: {exc}; give an absolute path"
        raise SettingsError(msg) from exc


def default_file(name: str) -> Path:
    """The place of a file of run history in the project one is in. Nothing is created."""
    return _project_folder() / FOLDER / name


def _project_folder() -> Path:
    """The nearest directory upwards that looks like a project; else the working directory.

    The home directory is the last one asked, and the root is never: a file there would collect the runs of everything.

    Raises:
        SettingsError: the working directory cannot be read.
    """
    try:
        here = Path.cwd()
    except OSError as exc:
        msg = (
            f"the working directory cannot be read ({exc}); name the run database by an absolute path "
            "(option --db, argument url or variable OTEL_RUNS_DB)"
        )
        raise SettingsError(msg) from exc
    for folder in _upwards(here):
        # os.path.exists, unlike Path.exists, takes a directory that may not be read for one without marks.
        if any(os.path.exists(folder / mark) for mark in _PROJECT_MARKS):  # noqa: PTH110  as above
            return folder
    return here


def _upwards(here: Path) -> list[Path]:
    chain = [folder for folder in (here, *here.parents) if folder != Path(folder.anchor)]
    try:
        home = Path.home()
    except RuntimeError:
        return chain
    return chain[: chain.index(home) + 1] if home in chain else chain
