"""The exception tree. Every error of this package is an ``OtelRunsError``.

Messages say what was wrong, the value, what is allowed, and what to do.
"""

from __future__ import annotations


class OtelRunsError(Exception):
    """Base of all errors raised by otel_runs."""


class SettingsError(OtelRunsError):
    """A setting holds a value that cannot be used."""


class InstrumentError(OtelRunsError):
    """A run, a step or a record is declared or used in a way that cannot be recorded."""


class MappingError(OtelRunsError):
    """A span holds a known attribute with a value that cannot be read."""


class DecodeError(OtelRunsError):
    """A request, file or line is not what it should be, and nothing of it can be read. Sending it again is no use."""


class StoreError(OtelRunsError):
    """The run database could not be read or written."""


class StoreUnavailableError(StoreError):
    """The run database cannot be reached now (down, locked, full); trying again later may succeed."""


class StoreAccessError(StoreError):
    """The run database refuses us: missing permission, wrong password, read-only file."""


class SchemaError(StoreError):
    """The database is not one of ours, or is of a version this package cannot use."""


class NotFoundError(OtelRunsError):
    """Nothing has the id, name or prefix asked for."""


class AmbiguousIdError(OtelRunsError):
    """A prefix fits more than one run; ``candidates`` holds the ids of some of them."""

    def __init__(self, message: str, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates


class TransitionError(OtelRunsError):
    """A run cannot go from its state to the state asked for."""
