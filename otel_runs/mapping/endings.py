"""How a span ended: status, stop reason and error.

Order (a tool's word, then the span's status): ``otel_runs.status`` or a known result attribute; then span status ERROR;
else success. An exception event alone is no failure: tools that retry inside one span leave them behind.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from otel_runs import attributes as key
from otel_runs.mapping import coerce
from otel_runs.records import ModelRunStatus, RunStatus
from otel_runs.spans.span import Span

_STATUS_OF_WORD: Final[dict[str, ModelRunStatus]] = {
    "success": "success",
    "completed": "success",
    "degraded": "success",
    "failure": "failed",
    "failed": "failed",
    "error": "failed",
    "timeout": "failed",
    "skip": "skipped",
    "skipped": "skipped",
    "cancellation": "cancelled",
    "cancelled": "cancelled",
    "pending": "pending",
    "running": "running",
}
"""Our own statuses, and the values of ``cicd.pipeline.result`` (CI/CD semantic conventions)."""

_RUN_STATUS: Final[dict[ModelRunStatus, RunStatus]] = {
    "pending": "created",
    "running": "running",
    "success": "completed",
    "failed": "failed",
    "skipped": "completed",
    "cancelled": "cancelled",
}

_REASON: Final[dict[ModelRunStatus, str | None]] = {
    "pending": None,
    "running": None,
    "success": "completed",
    "failed": "error",
    "skipped": "skipped",
    "cancelled": "cancelled",
}


class Ending(NamedTuple):
    """How a span ended, or that it has not."""

    status: ModelRunStatus
    stop_reason: str | None
    error: str | None
    error_type: str | None

    @property
    def run_status(self) -> RunStatus:
        """The same, as the status of a run."""
        return _RUN_STATUS[self.status]


_SUCCESS: Final = Ending("success", "completed", None, None)


def ending_from_span(span: Span, columns: dict[str, Any]) -> Ending:
    """How the span ended.

    Args:
        span: finished, or only started (``end_ns`` None: then it is pending or running).
        columns: what read_columns found in its attributes.
    """
    word = columns["status"].lower() if "status" in columns else None
    if word is None and span.status != "ERROR" and span.end_ns is not None and "stop_reason" not in columns:
        return _SUCCESS
    told = _STATUS_OF_WORD.get(word) if word is not None else None
    if span.end_ns is None:
        return Ending("pending" if told == "pending" else "running", None, None, None)
    status = told if told not in {None, "pending", "running"} else None
    if status is None:
        status = "failed" if span.status == "ERROR" else "success"
    reason = columns.get("stop_reason") or ("timeout" if word == "timeout" else _REASON[status])
    if status in {"success", "skipped"}:
        return Ending(status, reason, None, None)
    error, error_type = _error(span, columns)
    return Ending(status, reason, error, error_type)


def _error(span: Span, columns: dict[str, Any]) -> tuple[str | None, str | None]:
    """Text (``Type: message``, then the stack trace) and type of what went wrong."""
    type_, message, stack = columns.get("error_type"), None, None
    for event in reversed(span.events):
        if event.name == "exception":
            type_ = coerce.name(event.attributes.get(key.EXCEPTION_TYPE)) or type_
            message = coerce.text(event.attributes.get(key.EXCEPTION_MESSAGE))
            stack = coerce.text(event.attributes.get(key.EXCEPTION_STACKTRACE))
            break
    else:
        message, stack = columns.get("exception_message"), columns.get("exception_stacktrace")
    message = message or coerce.text(span.status_message)
    head = _headline(type_, message)
    return coerce.text("\n".join(part for part in (head, stack) if part)), type_


def _headline(type_: str | None, message: str | None) -> str | None:
    if type_ is None or message is None:
        return message or type_
    # The SDK's own status descriptions begin with the type already.
    short = type_.rpartition(".")[2]
    return message if message.startswith((f"{type_}:", f"{short}:")) else f"{type_}: {message}"
