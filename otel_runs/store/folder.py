"""Which database is meant, settled without SQLAlchemy: a pipeline that only emits spans need not load it to know."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

from otel_runs import settings
from otel_runs.errors import SettingsError

FOLDER: Final = ".otel_runs"
FILE: Final = "runs.db"
NO_DATABASE: Final = "none"
"""Instead of a database: a process that stores nothing itself, and sends its spans elsewhere."""
_PROJECT_MARKS: Final = (FOLDER, ".git", "pyproject.toml")
MEMORY: Final = ":memory:"
"""SQLite's name of a database that is no file."""
_SQLITE_URL: Final = re.compile(r"sqlite(?:\+pysqlite)?:///(?!file:)([^?]+)(?:\?(.*))?", re.DOTALL)
_NO_PATH: Final = re.compile(
    r"""
    [A-Za-z][A-Za-z0-9+]+:                           # sqlite:runs.db
    | (?: [^/\\:]{2,}: | [^/\\:]:(?![/\\]) ) .* @   # ada:password@host/history, but not C:\runs@home.db
    | \s* \w*password \s* =                         # what libpq takes: password=x host=db
    | \s* \w+ \s* = .* \s \w+ \s* =                  # host=db dbname=history
    """,
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)


def settled_url(url: str | os.PathLike[str] | None = None) -> str:
    """The same database, named so that it stays the same when the process changes its working directory.

    Args:
        url: as `database_url` takes it.

    Returns:
        An absolute path or a URL; a text that is neither comes back as it is, for `database_url` to refuse. So does
        ``none``.

    Raises:
        SettingsError: the working directory cannot be read, and the place depends on it.
    """
    if url is None or url == "":
        url = settings.read(settings.DB)
    if url is None:
        return str(default_file(FILE))
    text = os.fspath(url)
    sqlite = sqlite_file(text)
    if sqlite is not None:
        path = absolute(sqlite.path)
        # A path where one can say it: of a URL others may read percent signs in another way.
        return f"sqlite:///{_quoted(path)}?{sqlite.query}" if sqlite.query else path
    if text in {NO_DATABASE, MEMORY} or "://" in text or (isinstance(url, str) and is_no_path(text)):
        return text
    return absolute(text)


class SqliteFile(NamedTuple):
    """What a URL of an SQLite file says."""

    path: str
    """As it was given, but percent-decoded."""
    query: str
    """What stands behind the question mark."""


def sqlite_file(url: str) -> SqliteFile | None:
    """Read the URL of an SQLite file; None if it is another URL, or none.

    Not SQLAlchemy's reading: its 2.1 percent-decodes the path, and 2.0 does not.
    """
    found = _SQLITE_URL.fullmatch(url)
    if found is None or unquote(found[1]) == MEMORY:
        return None
    return SqliteFile(unquote(found[1]), found[2] or "")


def _quoted(path: str) -> str:
    """The path as ``sqlite_file`` reads it; no more is quoted than must be."""
    return path.replace("%", "%25").replace("?", "%3F")


def is_no_path(text: str) -> bool:
    """Whether a text without ``://`` is meant for a URL or a connection string, though a file could be called so."""
    return _NO_PATH.match(text) is not None


def absolute(path: str | Path) -> str:
    """The path from the root; ``~`` is the home directory.

    Raises:
        SettingsError: the working directory or the home directory is not known.
    """
    try:
        return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - resolve() would follow a link that may move
    except (RuntimeError, OSError) as exc:
        msg = f"path {str(path)!r} of the run database cannot be made absolute: {exc}; give an absolute path"
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
