"""The exception tree. Every error of this package is an ``OtelRunsError``.

Messages say what was wrong, the value, what is allowed, and what to do.
"""

from __future__ import annotations


class OtelRunsError(Exception):
    """Base of all errors raised by otel_runs."""


class SettingsError(OtelRunsError):
    """A setting holds a value that cannot be used."""


class MissingDriverError(SettingsError):
    """The driver of the run database is not installed: with it, the same setting is good."""


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


class StoreValueError(StoreError):
    """The run database refuses a row: its key is taken, or it cannot hold a value. Other rows are not concerned."""


class SchemaError(StoreError):
    """The database is not one of ours, or is of a version this package cannot use."""


class RequestError(OtelRunsError):
    """A request to our server that is not answered with success; ``receiver/answers.py`` has the code of each kind."""


class UnauthenticatedError(RequestError):
    """The request does not carry the server's token."""


class NotReceivedError(RequestError):
    """What the request sends is of a kind that is not received here: metrics, or an unknown path."""


class TooLargeError(RequestError):
    """The request is above the limit, as sent or after decompression."""


class UnsupportedError(RequestError):
    """The request is in a content type or compression that is not understood."""


class SlowRequestError(RequestError):
    """The request did not arrive in its time."""


class OverloadedError(RequestError):
    """The server's queue is full; the same request may be sent again soon."""


class StoppingError(RequestError):
    """The server is stopping and takes no more work; another one, or the next, will."""


class NotFoundError(OtelRunsError):
    """Nothing has the id, name or prefix asked for."""


class AmbiguousIdError(OtelRunsError):
    """A prefix fits more than one run; ``candidates`` holds the ids of some of them."""

    def __init__(self, message: str, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates
