"""Identity: how the ids of rows are computed from traces. Nothing here asks a database.

A trace id is 32, a span id 16 lower-case hexadecimal digits; row ids are UUIDs as text.
"""

from __future__ import annotations

import re
import uuid
from functools import lru_cache

_RUN_KEYS = uuid.UUID("6f1f5c0a-6d5b-5f0b-9d0e-0f2b8f3c7a11")
_MODEL_PATHS = uuid.UUID("a3a5e1de-5b0c-5c59-8a5c-4a0b6d3c9f22")

_PADDING = "0" * 16

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")


def run_id_from_trace(trace_id: str) -> str:
    """The id of a trace's root run: the trace id written as a UUID."""
    return f"{trace_id[:8]}-{trace_id[8:12]}-{trace_id[12:16]}-{trace_id[16:20]}-{trace_id[20:]}"


def row_id_from_span(trace_id: str, span_id: str) -> str:
    """The id of a model run or nested run: the first 8 bytes of the trace id, then the span id, as a UUID."""
    return f"{_prefix_of_trace(trace_id)}-{span_id[:4]}-{span_id[4:]}"


@lru_cache(maxsize=1024)  # the spans of a trace come together
def _prefix_of_trace(trace_id: str) -> str:
    return f"{trace_id[:8]}-{trace_id[8:12]}-{trace_id[12:16]}"


def run_id_from_key(key: str) -> str:
    """The id of a run that carries a key: the UUIDv5 of the key."""
    return str(uuid.uuid5(_RUN_KEYS, key))


def model_id_from_path(path: str) -> str:
    """The id of a model: the UUIDv5 of its path."""
    return str(uuid.uuid5(_MODEL_PATHS, path))


def trace_prefix(row_id: str) -> str:
    """The part of a row id (18 characters) that all rows of one trace share."""
    return row_id[:18]


def is_padded(trace_id: str) -> bool:
    """Whether a trace id is one of 64 bits with zeros before it: all such ids have the same first 8 bytes."""
    return trace_id.startswith(_PADDING)


def is_trace_id(text: str) -> bool:
    """Whether the text is a valid, non-zero trace id (W3C Trace Context, 3.2.2.3)."""
    return _TRACE_ID.fullmatch(text) is not None and text != "0" * 32


def is_span_id(text: str) -> bool:
    """Whether the text is a valid, non-zero span id (W3C Trace Context, 3.2.2.4)."""
    return _SPAN_ID.fullmatch(text) is not None and text != "0" * 16
