"""Every setting, once: environment variable, default, how it is read, meaning. Help, docs and tests read this table."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Generic, NamedTuple, TypeVar

from otel_runs.errors import SettingsError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_SECONDS: Final = 1_000_000_000
_told: Final[set[str]] = set()


class Setting(NamedTuple, Generic[T]):
    """One setting, read from the environment."""

    env: str
    default: str | None
    parse: Callable[[str], T]
    """Reads its text; raises ValueError, which says what is expected."""
    help: str


def seconds(text: str) -> float:
    """A duration in seconds, 0 to 10**9: ten times that is longer than a thread can wait."""
    with suppress(ValueError):  # what Python says of a text that is no number does not say what is expected
        if 0 <= (value := float(text)) <= _MOST_SECONDS:
            return value
    msg = f"expected a number of seconds, 0 to {_MOST_SECONDS}"
    raise ValueError(msg)


def boolean(text: str) -> bool:
    """``true`` or ``false``; 1/0, yes/no and on/off are understood too."""
    known = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if text.lower() not in known:
        msg = "expected true or false"
        raise ValueError(msg)
    return known[text.lower()]


def whole_number(text: str) -> int:
    """A whole number, 0 or more."""
    with suppress(ValueError):
        if (value := int(text)) >= 0:
            return value
    msg = "expected a whole number, 0 or more"
    raise ValueError(msg)


def link_template(text: str) -> str:
    """The template of a link to a trace: it says where the trace's id goes."""
    if "{trace_id}" not in text:
        msg = "expected {trace_id} in it"
        raise ValueError(msg)
    return text


def patterns(text: str) -> tuple[str, ...]:
    """Comma-separated patterns; empty ones are left out."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def fsync_policy(text: str) -> bool:
    """Whether to wait for the disk: ``batch`` or ``never``."""
    known = {"batch": True, "never": False}
    if text not in known:
        msg = "expected batch or never"
        raise ValueError(msg)
    return known[text]


DB: Final = Setting(
    "OTEL_RUNS_DB",
    None,
    str,
    "The run database: an SQLAlchemy URL or the path of an SQLite file. "
    "Default: .otel_runs/runs.db in the nearest directory upwards that holds .otel_runs, .git or pyproject.toml, "
    "else in the working directory. none: pipelines store nothing themselves and send spans to the OTLP endpoint only.",
)
TRACE_URL: Final = Setting(
    "OTEL_RUNS_TRACE_URL",
    "http://localhost:16686/trace/{trace_id}",
    link_template,
    "Template of the link from a run to its trace: an address in which {trace_id}, and {span_id} if you want it, are "
    "filled in.",
)
METADATA: Final = Setting(
    "OTEL_RUNS_METADATA",
    "",
    patterns,
    "Comma-separated patterns (fnmatch) of span attributes to keep in the metadata column, "
    "besides otel_runs.metadata.*; for instance 'batch.*,app.customer'. Nothing else a span carries is kept.",
)
FLUSH_TIMEOUT: Final = Setting(
    "OTEL_RUNS_FLUSH_TIMEOUT",
    "30",
    seconds,
    "Seconds that a pipeline waits at its end, at most, for its spans to be stored; only a database that hangs takes "
    "so long. OpenTelemetry's own exporters are given as long (OTEL_BSP_EXPORT_TIMEOUT): on a slow machine the first "
    "run, which loads the database parts and makes the tables, takes seconds.",
)
HEARTBEAT: Final = Setting(
    "OTEL_RUNS_HEARTBEAT",
    "10",
    seconds,
    "Seconds between two heartbeats of a run that is open (runs.heartbeat_at). 0: none; then nobody can tell a run "
    "that was killed from one that still runs.",
)
SIGNAL_TIMEOUT: Final = Setting(
    "OTEL_RUNS_SIGNAL_TIMEOUT",
    "5",
    seconds,
    "Seconds that a process which dies of SIGTERM or SIGHUP takes, at most, to end its open runs and steps and to have "
    "them stored; whatever sent the signal waits so long, too. 0: it dies at once, and nothing is ended.",
)
STRICT: Final = Setting(
    "OTEL_RUNS_STRICT",
    "false",
    boolean,
    "true: raise errors of otel_runs inside the pipeline instead of logging and counting them. For tests.",
)
LOST_AFTER: Final = Setting(
    "OTEL_RUNS_LOST_AFTER",
    "60",
    seconds,
    "Seconds without a sign of life after which otel-runs serve (0: never) and otel-runs reap declare a run lost. "
    "Choose several times OTEL_RUNS_HEARTBEAT.",
)
SPOOL: Final = Setting(
    "OTEL_RUNS_SPOOL",
    None,
    str,
    "A folder for spans that cannot be stored now, or off. Default: beside the database (runs.db-spool), of a database "
    "on a server .otel_runs/spool of the project one is in.",
)
SPOOL_FSYNC: Final = Setting(
    "OTEL_RUNS_SPOOL_FSYNC",
    "batch",
    fsync_policy,
    "When the spool waits for the disk: batch, after each batch of spans, so that they survive a power failure; or "
    "never, which survives the end of the process, however it ends.",
)
SPOOL_MAX_BYTES: Final = Setting(
    "OTEL_RUNS_SPOOL_MAX_BYTES",
    "1073741824",
    whole_number,
    "Bytes that the spool of one database may take, those in quarantine included. Above, new spans are dropped, "
    "counted and told; the oldest are kept.",
)
LIMIT_ATTRIBUTES: Final = Setting(
    "OTEL_RUNS_LIMIT_ATTRIBUTES",
    "1024",
    whole_number,
    "Attributes that are read of a span, event, link or resource that arrives as OTLP; further ones are left out.",
)
LIMIT_EVENTS: Final = Setting(
    "OTEL_RUNS_LIMIT_EVENTS",
    "1024",
    whole_number,
    "Events that are read of a span that arrives as OTLP: the last ones, since an exception comes at the end.",
)
LIMIT_LINKS: Final = Setting(
    "OTEL_RUNS_LIMIT_LINKS",
    "1024",
    whole_number,
    "Links that are read of a span that arrives as OTLP: the last ones.",
)
LIMIT_TEXT: Final = Setting(
    "OTEL_RUNS_LIMIT_TEXT",
    "131072",
    whole_number,
    "Characters that are read of a text that arrives as OTLP (bytes, of binary data); the rest is cut off. A column "
    "keeps 65536: with a lower limit, rows may be cut where those of the same spans exported in process are not.",
)
LIMIT_DEPTH: Final = Setting(
    "OTEL_RUNS_LIMIT_DEPTH",
    "32",
    whole_number,
    "Levels of lists and mappings that are read of an attribute that arrives as OTLP, 64 at most; what is deeper is "
    "null. The metadata column keeps 32.",
)
SERVER_TOKEN: Final = Setting(
    "OTEL_RUNS_SERVER_TOKEN",
    None,
    str,
    "otel-runs serve: the token that clients must send as 'Authorization: Bearer <token>'. Without one everybody is "
    "let in who reaches the port.",
)
SERVER_TOKEN_FILE: Final = Setting(
    "OTEL_RUNS_SERVER_TOKEN_FILE", None, str, "otel-runs serve: a file that holds the token, instead of the variable."
)
SERVER_REQUEST_BYTES: Final = Setting(
    "OTEL_RUNS_SERVER_REQUEST_BYTES",
    "20971520",
    whole_number,
    "otel-runs serve: the largest request, in bytes, as it is sent and after decompression. Above: 413, "
    "RESOURCE_EXHAUSTED.",
)
SERVER_QUEUE_BYTES: Final = Setting(
    "OTEL_RUNS_SERVER_QUEUE_BYTES",
    "12582912",
    whole_number,
    "otel-runs serve: bytes of requests, as they were sent, that may wait to be written. Above, clients are asked to "
    "send again (503 with Retry-After, RESOURCE_EXHAUSTED with RetryInfo).",
)
SERVER_LOG_SECONDS: Final = Setting(
    "OTEL_RUNS_SERVER_LOG_SECONDS",
    "60",
    seconds,
    "otel-runs serve: seconds between two lines in its log that say what came in since; 0 writes none.",
)

SETTINGS: Final[tuple[Setting[Any], ...]] = (
    DB,
    TRACE_URL,
    METADATA,
    FLUSH_TIMEOUT,
    HEARTBEAT,
    SIGNAL_TIMEOUT,
    STRICT,
    LOST_AFTER,
    SPOOL,
    SPOOL_FSYNC,
    SPOOL_MAX_BYTES,
    LIMIT_ATTRIBUTES,
    LIMIT_EVENTS,
    LIMIT_LINKS,
    LIMIT_TEXT,
    LIMIT_DEPTH,
    SERVER_TOKEN,
    SERVER_TOKEN_FILE,
    SERVER_REQUEST_BYTES,
    SERVER_QUEUE_BYTES,
    SERVER_LOG_SECONDS,
)


def read(setting: Setting[Any], environ: Mapping[str, str] = os.environ) -> str | None:
    """The setting's text from the environment, or its default; an empty variable counts as unset."""
    return environ.get(setting.env) or setting.default


def value(setting: Setting[T], environ: Mapping[str, str] = os.environ) -> T:
    """The setting's value.

    Raises:
        SettingsError: the variable holds a text that cannot be read.
    """
    text = read(setting, environ) or ""
    try:
        return setting.parse(text)
    except ValueError as exc:
        msg = f"{setting.env} is {text!r}: {exc}. {setting.help}"
        raise SettingsError(msg) from exc


def default_of(setting: Setting[T]) -> T:
    """The value that a setting has where nothing sets it."""
    return value(setting, {})


def value_or_default(setting: Setting[T]) -> T:
    """As ``value``, inside of pipelines: a bad one must not stop them, so it is logged, once, and the default taken."""
    try:
        return value(setting)
    except SettingsError as exc:
        if str(exc) not in _told:
            _told.add(str(exc))
            logger.error("%s Taking the default.", exc)  # noqa: TRY400  the message says it all
        return default_of(setting)


def is_strict() -> bool:
    """Whether errors of otel_runs are raised inside the pipeline (``OTEL_RUNS_STRICT``)."""
    return value_or_default(STRICT)
