"""Which spool belongs to which database, and the way back from it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlencode

from opentelemetry.sdk.trace import ReadableSpan

from otel_runs import settings
from otel_runs.errors import SettingsError
from otel_runs.spool.files import paths_in
from otel_runs.spool.replay import Save
from otel_runs.spool.spool import Quarantined, Spool
from otel_runs.store.folder import default_file, settled_url, sqlite_file
from otel_runs.store.forks import OPENING_PATIENCE_SECONDS, fork_gate

ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Where spans go, unless the pipeline says it: the first that is set. Source: OpenTelemetry, protocol/exporter.md."""
SPOOL: Final = "spool"
_OFF: Final = frozenset({"off", "none", "false", "no", "0"})
_ON: Final = frozenset({"on", "true", "yes", "1"})
"""What is said of a switch is meant as one: nobody wants a folder called ``false``."""
_ENDPOINTS: Final = "otlp-"
"""How the names of endpoints' spools begin."""
_URL: Final = re.compile(r"([\w+]+)://(?:([^:/@]*)(?::(.*?))?@)?([^?@]*)(?:\?(.*))?", re.DOTALL)
_POSTGRES: Final = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
_OF_THE_PLACE: Final = frozenset({"host", "port", "dbname", "user", "service"})
"""Parameters of a URL that say which database it is. The others say how to get there, but for a schema in ``options``:
whose other settings may be corrected, and then the same spans are meant for the same database."""
_OPTION: Final = re.compile(r"(?:^|\s)(?:-c\s*|--)([\w-]+)=((?:\\.|[^\s\\])*)", re.DOTALL)
"""A setting among ``options``. Source: PostgreSQL, libpq, Parameter Key Words."""
_SEARCH_PATH: Final = "search_path"
_ODD: Final = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME: Final = 40


@runtime_checkable
class SpoolsSpans(Protocol):
    """An exporter that can keep spans for later, also while it exports others."""

    @property
    def is_spooling(self) -> bool:
        """Whether it has a spool."""
        ...

    def spool(self, spans: Sequence[ReadableSpan], *, patience: float | None = None) -> bool:
        """Keep spans for later; False if nothing was done, as it takes longer than ``patience`` or is turned off."""
        ...


def spool_of_database(url: str | os.PathLike[str] | None = None) -> Spool | None:
    """The spool of a run database; None if ``OTEL_RUNS_SPOOL`` is off. Nothing is created.

    Args:
        url: as ``database_url`` takes it.

    Raises:
        SettingsError: the working directory cannot be read.
    """
    if is_off():
        return None
    settled = settled_url(url)
    file = _sqlite_file(settled)
    if file is not None and not file.name:
        msg = f"run database {settled!r} names no file; expected the path of one, such as /data/runs.db."
        raise SettingsError(msg)
    if file is not None and _asked_folder() is None:
        return _spool_in(file.with_name(f"{file.name}-{SPOOL}"))
    return _spool_in(_parent() / _name_of(settled, file))


def is_same_database(one: str | os.PathLike[str] | None, other: str | os.PathLike[str] | None) -> bool:
    """Whether two arguments, as ``database_url`` takes them, name one database: its place, not the way there.

    Raises:
        SettingsError: the working directory cannot be read.
    """
    names = [_name_of(settled, _sqlite_file(settled)) for settled in (settled_url(one), settled_url(other))]
    return names[0] == names[1]


def spool_of_endpoint(endpoint: str | None) -> Spool | None:
    """The spool of an OTLP endpoint; None if ``OTEL_RUNS_SPOOL`` is off. Nothing is created.

    Args:
        endpoint: where spans go; without it the standard variables say that.

    Raises:
        SettingsError: as `spool_of_database`.
    """
    if is_off():
        return None
    url = endpoint or next((os.environ[name] for name in ENDPOINT_VARIABLES if os.environ.get(name)), "localhost")
    # Before the last @ there may be a password, in the query a token.
    place = url.partition("?")[0].partition("://")[2].rpartition("@")[2] or url.rpartition("@")[2]
    place = place.removesuffix("/v1/traces").rstrip("/")
    return _spool_in(_parent() / _named(f"{_ENDPOINTS}{place}", f"otlp://{place}"))


def spools_of_endpoints() -> list[Spool]:
    """The spools of all OTLP endpoints that have one here: which these are, only the pipelines need to know.

    Raises:
        SettingsError: as `spool_of_database`.
    """
    if is_off():
        return []
    return [_spool_in(folder) for folder in sorted(_parent().glob(f"{_ENDPOINTS}*-*")) if folder.is_dir()]


class Beside(NamedTuple):
    """A spool of another destination."""

    folder: Path
    files: int
    """Files with spans that wait there."""
    is_endpoints: bool
    """Whether they wait for an OTLP endpoint, not for a database."""


def spools_beside(spool: Spool) -> list[Beside]:
    """The spools of other destinations in which spans wait, as far as they can be read.

    Whose URL was corrected has another spool since, and nobody who looks at that one would learn of the first.
    """
    try:
        others = [folder for folder in sorted(_parent().iterdir()) if folder != spool.folder]
    except (OSError, SettingsError):  # there are none, they are another user's, or the working directory is gone
        return []
    found = (Beside(folder, _files_in(folder), folder.name.startswith(_ENDPOINTS)) for folder in others)
    return [each for each in found if each.files]


def _files_in(folder: Path) -> int:
    try:
        return len(paths_in(folder))
    except OSError:  # no folder, or another user's
        return 0


def is_off() -> bool:
    """Whether nothing is kept (``OTEL_RUNS_SPOOL``)."""
    return (settings.read(settings.SPOOL) or "").lower() in _OFF


def check_settings() -> None:
    """Read the settings of spools for a command, which ends where a pipeline goes on with the default.

    Raises:
        SettingsError: one of them cannot be used.
    """
    settings.value(settings.SPOOL_MAX_BYTES)
    settings.value(settings.SPOOL_FSYNC)


def _asked_folder() -> str | None:
    asked = settings.read(settings.SPOOL)
    return None if asked is None or asked.lower() in _ON else asked


def _parent() -> Path:
    """Where the spools are that are not beside their database."""
    asked = _asked_folder()
    return Path(os.path.abspath(Path(asked).expanduser())) if asked else default_file(SPOOL)  # noqa: PTH100  links kept


def _spool_in(folder: Path) -> Spool:
    return Spool(
        folder,
        max_bytes=settings.value_or_default(settings.SPOOL_MAX_BYTES),
        sync=settings.value_or_default(settings.SPOOL_FSYNC),
    )


@contextmanager
def into_database(url: str | os.PathLike[str] | None) -> Generator[Save]:
    """A way into a run database for a replay: what it returns from is on the disk, since the spool then forgets it.

    Raises:
        OtelRunsError: the database cannot be opened.
    """
    with fork_gate.passing(OPENING_PATIENCE_SECONDS):  # a child that is forked amid an import could never import it
        from otel_runs.ingest import Ingest
        from otel_runs.ingest.splitting import save_splitting
        from otel_runs.store.engine import open_database

    with open_database(url, synchronous="FULL") as database:
        ingest = Ingest(database)
        yield lambda spans: [Quarantined(refused.span, refused.reason) for refused in save_splitting(ingest, spans)]


def _sqlite_file(settled: str) -> Path | None:
    found = sqlite_file(settled)
    if found is not None:
        return Path(found.path)
    return Path(settled) if os.path.isabs(settled) else None  # noqa: PTH117  what is neither path nor URL stays text


def _name_of(settled: str, file: Path | None) -> str:
    """What a destination's folder is called: readable, of one destination only, and without anything secret."""
    if file is not None:
        return _named(file.name, str(file))
    found = _URL.fullmatch(settled)
    if found is None:  # not read by a parser: everything before the last @ may be a password
        return _named("database", settled.rpartition("@")[2])
    driver, user, _, place, query = found.groups(default="")
    parameters = parse_qsl(query)
    kept = sorted(pair for pair in parameters if pair[0] in _OF_THE_PLACE)
    kept += _schemas(" ".join(value for name, value in parameters if name == "options"))
    system = "postgresql" if driver in _POSTGRES else driver
    place = place.replace(":5432/", "/", 1)
    return _named(place.rpartition("/")[2] or system, f"{system}://{user}@{place}?{urlencode(kept)}")


def _schemas(options: str) -> list[tuple[str, str]]:
    """The ``search_path`` that stands among options; of several, the last one counts."""
    found = [value for name, value in _OPTION.findall(options) if name.lower().replace("-", "_") == _SEARCH_PATH]
    return [(_SEARCH_PATH, re.sub(r"[\s\\]", "", found[-1]))] if found else []


def _named(name: str, whole: str) -> str:
    return f"{_ODD.sub('_', name)[:_LONGEST_NAME]}-{hashlib.sha256(os.fsencode(whole)).hexdigest()[:12]}"
