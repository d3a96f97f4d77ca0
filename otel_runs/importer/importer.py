"""Files into the run database."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple

from otel_runs.errors import DecodeError
from otel_runs.importer.contents import Contents, contents_of
from otel_runs.importer.pieces import pieces_of
from otel_runs.importer.sources import Source, UnopenedError, decompression_errors, open_source
from otel_runs.ingest import Ingest
from otel_runs.ingest.splitting import save_splitting
from otel_runs.spans.limits import limits_from_settings
from otel_runs.spans.span import Span
from otel_runs.store.engine import Database

_BATCH: Final = 2_000
"""Spans a transaction: more are not faster, and all of them wait in memory."""


class Counts(NamedTuple):
    """What became of the files."""

    files: int = 0
    """Files read, to their end or to where they are damaged."""
    spans: int = 0
    """Spans stored; one that stands there twice counts twice."""
    started: int = 0
    """Log records of ours stored, each of which tells of a span that has started."""
    log_records: int = 0
    """Other log records, which are skipped."""
    other_signals: int = 0
    """Lines or messages of metrics or profiles, which are skipped."""
    refused: int = 0
    """Spans that cannot be kept."""
    unreadable: int = 0
    """Lines, messages or files that cannot be read."""

    @property
    def all_fine(self) -> bool:
        """Whether everything could be read."""
        return not self.refused and not self.unreadable


class Importer:
    """Reads files into one database. To read a file again changes nothing, so an import that was stopped is repeated.

    Args:
        database: open.
        on_problem: told of each span, line or file that cannot be read: where and why.
        on_progress: told how many bytes of a file have been read, now and then.

    Raises:
        SettingsError: a limit is set to what is no number.
    """

    def __init__(
        self, database: Database, on_problem: Callable[[str], None], on_progress: Callable[[int], None]
    ) -> None:
        self.counts = Counts()
        self._ingest = Ingest(database)
        self._limits = limits_from_settings()
        self._on_problem = on_problem
        self._on_progress = on_progress
        self._waiting: list[Span] = []

    def read(self, name: str) -> None:
        """Read one file and store what it holds.

        Args:
            name: its path; ``-`` is standard input.

        Raises:
            StoreError: the database did not take the spans; what was stored before stays.
        """
        try:
            with open_source(name) as source:
                self._count(files=1)
                self._read(source)
        except UnopenedError as exc:
            self._unreadable(str(exc))
        except decompression_errors() as exc:
            self._unreadable(f"{name}: reading stopped: {str(exc).rstrip('.') or type(exc).__name__}.")
        finally:
            self._save(name)

    def _read(self, source: Source) -> None:
        for piece in pieces_of(source.stream):
            where = f"{source.name}, {piece.place}" if piece.place else source.name
            self._on_progress(source.position())
            if piece.why:
                self._unreadable(f"{where}: {piece.why}")
                continue
            try:
                contents = contents_of(piece.body, self._limits, source.name)
            except UnopenedError:
                raise
            except DecodeError as exc:
                self._unreadable(f"{where}: {exc}")
                continue
            self._take(contents, where)
            if len(self._waiting) >= _BATCH:
                self._save(source.name)

    def _take(self, contents: Contents, where: str) -> None:
        traces, logs, others = contents
        refused = [*traces.refused, *logs.refused]
        for why in refused:
            self._on_problem(f"{where}: {why}")
        self._count(
            spans=len(traces.spans),
            started=len(logs.spans),
            log_records=logs.ignored,
            other_signals=others,
            refused=len(refused),
        )
        self._waiting += traces.spans
        self._waiting += logs.spans

    def _save(self, name: str) -> None:
        spans, self._waiting = self._waiting, []
        for start in range(0, len(spans), _BATCH):
            # However long it takes: nobody waits for an answer, and to read the file again would end the same way.
            for refused in save_splitting(self._ingest, spans[start : start + _BATCH], seconds=inf):
                self._count(spans=-1, refused=1)
                self._on_problem(f"{name}: {refused.reason}")

    def _unreadable(self, message: str) -> None:
        self._count(unreadable=1)
        self._on_problem(message)

    def _count(self, **more: int) -> None:
        self.counts = self.counts._replace(**{name: getattr(self.counts, name) + more[name] for name in more})
