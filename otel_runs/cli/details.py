"""What is known about one run, as lines of a name and a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.style import Style
from rich.table import Table
from rich.text import Text

from otel_runs import settings
from otel_runs.cli.output import json_text
from otel_runs.cli.statuses import status_mark, status_text, style_of
from otel_runs.cli.text import cost, count, duration, one_line
from otel_runs.ids import is_trace_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rich.console import RenderableType

    from otel_runs.cli.output import Marks
    from otel_runs.query.results import StoredRun

LOST: Final = "lost"
SIGNAL: Final = "signal:"
SILENCE_WORTH_TELLING: Final = 30.0
"""Seconds without a sign of life from which on it is told; heartbeats come every 10."""

_NAME_WIDTH = 13
_NS_PER_SECOND = 1_000_000_000


class Detail(NamedTuple):
    """One thing known about a run."""

    name: str
    value: Text


def sections(run: StoredRun, seconds: float | None, now: datetime, marks: Marks) -> Iterator[tuple[str, list[Detail]]]:
    """All that is known about a run: sections by title, without what was not reported.

    Args:
        run: the run.
        seconds: how long it took, or has taken so far.
        now: the time to measure the last sign of life against.
        marks: what draws the status.
    """
    for title, details in (
        ("", _identity(run, now, marks)),
        ("Timestamps", _times(run, seconds, now)),
        ("Metrics", _metrics(run)),
        ("Fingerprints", _fingerprints(run)),
        ("Metadata", _metadata(run.metadata)),
    ):
        known = list(details)
        if known:
            yield title, known


def grid(details: list[Detail]) -> RenderableType:
    """The details below each other, values in one column."""
    drawn = Table.grid(padding=(0, 2, 0, 0))
    drawn.add_column(min_width=_NAME_WIDTH, no_wrap=True, style="dim")
    drawn.add_column(overflow="fold")
    for detail in details:
        drawn.add_row(Text(detail.name), detail.value)
    return drawn


def trace_link(run: StoredRun) -> str | None:
    """The address of the run's trace by the template of ``OTEL_RUNS_TRACE_URL``; None where the run has no trace."""
    if not is_trace_id(run.trace_id):
        return None
    template = settings.value_or_default(settings.TRACE_URL)
    return one_line(template.replace("{trace_id}", run.trace_id).replace("{span_id}", run.root_span_id or ""))


def _identity(run: StoredRun, now: datetime, marks: Marks) -> Iterator[Detail]:
    yield Detail("Run ID", Text(one_line(run.id), style="cyan"))
    if run.external_id is not None:
        yield Detail("Your ID", Text(one_line(run.external_id)))
    if run.run_key is not None:
        yield Detail("Run key", Text(one_line(run.run_key)))
    if run.parent_run_id is not None:
        yield Detail("Nested in", Text(one_line(run.parent_run_id), style="cyan"))
    yield Detail("Status", _status(run, marks))
    ending = _ending(run, now)
    if ending:
        yield Detail("", Text(ending, style="dim"))
    yield from _texts(
        ("Environment", run.environment),
        ("Service", run.service_name),
        ("Tenant", run.tenant_id),
        ("Session", run.session_id),
        ("Background", "yes" if run.background else None),
    )
    link = trace_link(run)
    yield Detail("Trace", Text(link, style=Style(link=link)) if link else Text(one_line(run.trace_id)))


def _status(run: StoredRun, marks: Marks) -> Text:
    text = Text.assemble(status_mark(run.status, marks), " ", status_text(run.status))
    # Only what is not said already: runs usually stop for the reason that is their status, and say so themselves.
    usual_reason = "completed" if run.status == "degraded" else run.status
    reasons = (("stop reason", run.stop_reason, usual_reason), ("according to", run.status_source, "span"))
    known = ", ".join(f"{name}: {one_line(value)}" for name, value, usual in reasons if value and value != usual)
    if known:
        text.append(f"  ({known})", style="dim")
    return text


def _ending(run: StoredRun, now: datetime) -> str:
    """What a status means that is no plain word, or that somebody else than the run itself has given, or may soon."""
    if run.status == "degraded":
        return "it came to its end, but a step failed on the way"
    if run.stop_reason == LOST and run.status == "failed":
        since = f"no sign of life since {_exact_time(run.completed_at)}" if run.completed_at else "no sign of life"
        return f"{since}: presumed dead; if it ends after all, its own end stands"
    if run.stop_reason is not None and run.stop_reason.startswith(SIGNAL):
        return f"its process was ended by {one_line(run.stop_reason.removeprefix(SIGNAL))} while it ran"
    silent = 0.0 if run.heartbeat_at is None else (now - run.heartbeat_at).total_seconds()
    if run.status == "running" and silent > SILENCE_WORTH_TELLING:
        return f"no sign of life for {duration(silent)}; its process may be gone (otel-runs doctor)"
    if run.status == "running" and run.root_span_id is None and run.run_key is None:
        return "only its parts have come, not its own span; for good, if something else has set TRACEPARENT"
    return ""


def _times(run: StoredRun, seconds: float | None, now: datetime) -> Iterator[Detail]:
    yield Detail("Started", Text(_exact_time(run.started_at)))
    if run.completed_at is not None:
        yield Detail("Finished", Text(_exact_time(run.completed_at)))
    if seconds is not None:
        so_far = " so far" if run.completed_at is None else ""
        yield Detail("Duration", Text(duration(seconds) + so_far))
    if run.completed_at is None and run.heartbeat_at is not None:
        ago = duration(max(0.0, (now - run.heartbeat_at).total_seconds()))
        yield Detail("Sign of life", Text(f"{ago} ago"))


def _exact_time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03d} UTC"


def _metrics(run: StoredRun) -> Iterator[Detail]:
    if run.steps is not None:
        yield Detail("Steps", _steps(run))
    yield from _counts(("Rows In", run.rows_in), ("Rows Out", run.rows_out), ("LLM Calls", run.llm_calls))
    if run.tokens is not None:
        yield Detail("Tokens", Text(_tokens(run)))
    if run.cost_usd is not None:
        yield Detail("Cost", Text(cost(run.cost_usd)))
    if run.ttft_ns is not None:
        yield Detail("First token", Text(f"after {duration(run.ttft_ns / _NS_PER_SECOND)}"))
    yield from _counts(("Retries", run.retry_count))


def _steps(run: StoredRun) -> Text:
    text = Text(count(run.steps))
    if run.completeness == "complete":
        text.append(", all of them recorded", style="dim")
    elif run.completeness == "partial":
        missing = f", {count(run.steps_missing)} of {count(run.steps_expected)} are missing"
        text.append(missing, style=style_of("running"))
    elif run.completed_at is None:
        text.append(" so far", style="dim")
    else:
        text.append(", unknown whether that is all", style="dim")
    return text


def _tokens(run: StoredRun) -> str:
    if run.input_tokens is None and run.output_tokens is None:
        return count(run.tokens)
    return f"{count(run.tokens)} ({count(run.input_tokens)} in, {count(run.output_tokens)} out)"


def _fingerprints(run: StoredRun) -> Iterator[Detail]:
    return _texts(("Git commit", run.code_ref), ("Config", run.config_hash), ("Input", run.input_fingerprint))


def _metadata(metadata: dict[str, Any] | None) -> Iterator[Detail]:
    for key, value in sorted((metadata or {}).items()):
        yield Detail(one_line(key), Text(one_line(value) if isinstance(value, str) else json_text(value, lines=True)))


def _texts(*pairs: tuple[str, str | None]) -> Iterator[Detail]:
    for name, value in pairs:
        if value is not None:
            yield Detail(name, Text(one_line(value)))


def _counts(*pairs: tuple[str, int | None]) -> Iterator[Detail]:
    for name, value in pairs:
        if value is not None:
            yield Detail(name, Text(count(value)))
