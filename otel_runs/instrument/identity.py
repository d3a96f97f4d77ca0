"""What a run was made with: commit, configuration, input. Read when a run starts, never at import."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from otel_runs.attributes import CODE_DIRTY, VCS_REVISION

if TYPE_CHECKING:
    from hashlib import _Hash
    from pathlib import Path

Input = str | os.PathLike[str] | bytes
"""A path of a file or folder, or the content itself."""

COMMIT_VARIABLES: Final = ("GIT_COMMIT", "GITHUB_SHA", "CI_COMMIT_SHA", "BUILD_SOURCEVERSION", "BITBUCKET_COMMIT")
"""Where Jenkins, GitHub, GitLab, Azure and Bitbucket tell the commit; asked where there is no repository."""

_GIT_TIMEOUT: Final = 2.0
"""Seconds. A slow disk must not hold up the pipeline."""
_DIRTY: Final = "-dirty"


def program_name(module: Mapping[str, Any]) -> str:
    """The name of the program: of the module that ``python -m`` runs, else of the script; ``__main__`` in a shell.

    Args:
        module: the globals of its code. ``sys.modules`` would not do: while a process of ``multiprocessing`` loads the
            script again, something else is ``__main__``.
    """
    spec = module.get("__spec__")
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    file = module.get("__file__")
    return "__main__" if file is None else os.path.splitext(os.path.basename(file))[0]  # noqa: PTH119, PTH122  # pathlib takes 7 ms to load


@cache
def code_identity() -> Mapping[str, str | bool]:
    """Attributes that tell the commit of the running code, and whether the working tree differed from it.

    Read once a process: the code that runs is what was loaded, whatever becomes of the files.

    Returns:
        Empty where neither a repository nor a variable tells. Files that git does not know make no tree dirty: a run's
        own output would.
    """
    for folder in _code_folders():
        described = _describe(folder)
        if described:
            return {VCS_REVISION: described.removesuffix(_DIRTY), CODE_DIRTY: described.endswith(_DIRTY)}
    for variable in COMMIT_VARIABLES:
        commit = os.environ.get(variable)
        if commit:
            return {VCS_REVISION: commit}
    return {}


def _code_folders() -> Iterator[Path]:
    from pathlib import Path

    file = getattr(sys.modules.get("__main__"), "__file__", None)
    # A program that is installed (pytest, airflow, otel-runs itself) is not the pipeline's code, and its environment
    # often lies in somebody's repository.
    if file is not None and not Path(file).absolute().is_relative_to(sys.prefix):
        yield Path(file).absolute().parent
    else:
        yield Path.cwd()


def _describe(folder: Path) -> str | None:
    """The commit checked out in a folder, with ``-dirty`` where tracked files differ; None if git cannot tell."""
    import subprocess

    # One process for both answers. The pattern excludes all tags, so that the commit itself is what is described.
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(  # fixed words and a folder, no shell
            command,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    return done.stdout.strip() or None


def config_hash(config: Mapping[str, object]) -> str:
    """The sha256 of a configuration as canonical JSON: keys sorted, no spaces.

    Raises:
        TypeError: it holds a value that has no one way to be written.
    """
    import hashlib
    import json

    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: object) -> Any:
    import datetime as dt
    import decimal
    import uuid

    if isinstance(value, (os.PathLike, dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, Mapping):
        return dict(value)
    msg = (
        f"config holds {value!r} ({type(value).__name__}); expected texts, numbers, booleans, None, paths, dates, "
        "and lists, sets and mappings of them"
    )
    raise TypeError(msg)


def fingerprint(inputs: Input | Sequence[Input]) -> str:
    """The sha256 of what a run reads. Of one file it is what ``sha256sum`` prints; of several, that of their hashes.

    Files are streamed, so the time is the disk's: a second for some gigabytes.

    Raises:
        OSError: a file cannot be read.
    """
    import hashlib

    if isinstance(inputs, (str, bytes, os.PathLike)):
        return _hashed(inputs).hexdigest()
    whole = hashlib.sha256()
    for item in inputs:
        whole.update(_hashed(item).digest())
    return whole.hexdigest()


def _hashed(item: Input) -> _Hash:
    import hashlib
    from pathlib import Path

    if isinstance(item, bytes):
        return hashlib.sha256(item)
    path = Path(item)
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256")
    whole = hashlib.sha256()
    for file_path in sorted(found for found in path.rglob("*") if found.is_file()):
        whole.update(file_path.relative_to(path).as_posix().encode("utf-8", "surrogateescape") + b"\0")
        whole.update(_hashed(file_path).digest())
    return whole


def source_hash(function: object) -> str | None:
    """The sha256 of a function's source text; None where there is none to read, as in a shell."""
    import hashlib
    import inspect

    try:
        source = inspect.getsource(function)  # type: ignore[arg-type]  # what has no source raises
    except (OSError, TypeError):
        return None
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
