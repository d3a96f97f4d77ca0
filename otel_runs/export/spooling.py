"""Which spool belongs to which database, and the way back from it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlencode

from opentelemetry.sdk.trace import ReadableSpan

from otel_runs import settings
from otel_runs.spool.replay import Save
from otel_runs.spool.spool import Quarantined, Spool
from otel_runs.store.folder import default_file, settled_url, sqlite_file
from otel_runs.store.forks import OPENING_PATIENCE_SECONDS, fork_gate

ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Where spans go, unless the pipeline says it: the first that is set. Source: OpenTelemetry, protocol/exporter.md."""
SPOOL: Final = "spool"
_OFF: Final = "off"
_ENDPOINTS: Final = "otlp-"
"""How the names of endpoints' spools begin."""
_URL: Final = re.compile(r"([\w+]+)://(?:([^:/@]*)(?::(.*?))?@)?([^?@]*)(?:\?(.*))?", re.DOTALL)
_POSTGRES: Final = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
_OF_THE_PLACE: Final = frozenset({"host", "port", "dbname", "user", "service", "options"})
"""Parameters of a URL that say which database and schema it is. The others say how to get there."""
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
        SettingsError: a setting of the spool cannot be used, or the working directory cannot be read.
    """
    asked = settings.read(settings.SPOOL)
    if asked == _OFF:
        return None
    settled = settled_url(url)
    file = _sqlite_file(settled)
    if file is not None and not asked:
        return _spool_in(file.with_name(f"{file.name}-{SPOOL}"))
    return _spool_in(_parent(asked) / _name_of(settled, file))


def spool_of_endpoint(endpoint: str | None) -> Spool | None:
    """The spool of an OTLP endpoint; None if ``OTEL_RUNS_SPOOL`` is off. Nothing is created.

    Args:
        endpoint: where spans go; without it the standard variables say that.

    Raises:
        SettingsError: as `spool_of_database`.
    """
    asked = settings.read(settings.SPOOL)
    if asked == _OFF:
        return None
    url = endpoint or next((os.environ[name] for name in ENDPOINT_VARIABLES if os.environ.get(name)), "localhost")
    # Before the last @ there may be a password, in the query a token.
    place = url.partition("?")[0].partition("://")[2].rpartition("@")[2] or url.rpartition("@")[2]
    place = place.removesuffix("/v1/traces").rstrip("/")
    return _spool_in(_parent(asked) / _named(f"{_ENDPOINTS}{place}", f"otlp://{place}"))


def spools_of_endpoints() -> list[Spool]:
    """The spools of all OTLP endpoints that have one here: which these are, only the pipelines need to know.

    Raises:
        SettingsError: as `spool_of_database`.
    """
    asked = settings.read(settings.SPOOL)
    if asked == _OFF:
        return []
    return [_spool_in(folder) for folder in sorted(_parent(asked).glob(f"{_ENDPOINTS}*-*")) if folder.is_dir()]


def _parent(asked: str | None) -> Path:
    """Where the spools are that are not beside their database."""
    return Path(os.path.abspath(Path(asked).expanduser())) if asked else default_file(SPOOL)  # noqa: PTH100  links kept


def _spool_in(folder: Path) -> Spool:
    return Spool(
        folder,
        max_bytes=settings.value(settings.SPOOL_MAX_BYTES),
        sync=settings.value(settings.SPOOL_FSYNC),
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
    kept = sorted(pair for pair in parse_qsl(query) if pair[0] in _OF_THE_PLACE)
    system = "postgresql" if driver in _POSTGRES else driver
    place = place.replace(":5432/", "/", 1)
    return _named(place.rpartition("/")[2] or system, f"{system}://{user}@{place}?{urlencode(kept)}")


def _named(name: str, whole: str) -> str:
    return f"{_ODD.sub('_', name)[:_LONGEST_NAME]}-{hashlib.sha256(whole.encode()).hexdigest()[:12]}"
