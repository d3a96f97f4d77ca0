"""A program under examination: what only its own process can tell."""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import TYPE_CHECKING, Final

from otel_runs.amounts import many
from otel_runs.doctor.finding import Finding, some
from otel_runs.doctor.report import VARIABLE, read_reports
from otel_runs.launch.at_start import call_at_start

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_runs.doctor.report import Report


_STANDARD_ERROR: Final = 2


def findings(command: Sequence[str], *, beside_output: bool = False) -> Iterator[Finding]:
    """Run a program to its end, and tell what was wrong in it and the Python processes below it.

    Args:
        command: the program and its arguments.
        beside_output: what it prints goes to standard error; standard output is for what a machine reads.
    """
    with tempfile.TemporaryDirectory(prefix="otel-runs-") as folder:
        environ = {**os.environ, VARIABLE: folder}
        call_at_start(environ, "otel_runs.doctor.inside:look")
        try:
            code = subprocess.call(list(command), env=environ, stdout=_STANDARD_ERROR if beside_output else None)
        except OSError as exc:
            yield Finding(
                "program",
                "error",
                f"{command[0]!r} cannot be started: {exc.strerror}.",
                "Nothing of it could be looked at.",
                "Correct the command.",
            )
            return
        reports = read_reports(folder)
    if code:
        yield Finding("program", "note", f"{command[0]!r} ended with exit code {code}.", "Its own affair.", "Nothing.")
    if not reports:
        yield Finding(
            "program",
            "warning",
            f"{command[0]!r} left no report.",
            "It is not a Python program, its Python has no otel_runs, or it was killed.",
            "Name the Python that has otel_runs, and a program that ends by itself.",
        )
    for report in reports:
        yield from _of(report)


def _of(report: Report) -> Iterator[Finding]:
    yield from nowhere(report)
    yield from two_providers(report)
    yield from refused(report)
    yield from unsampled(report)
    yield from strays(report)
    yield from losses(report)


def nowhere(report: Report) -> Iterator[Finding]:
    """Spans are made, and none is stored."""
    roots = sum(seen.roots + seen.unrecorded_roots for seen in report.providers)
    if roots and not any(seen.stores_runs for seen in report.providers):
        yield Finding(
            "not-set-up",
            "error",
            f"{report.program} started {many(roots, 'root span', 'root spans')}, and no tracer provider stores runs.",
            "Its runs are not recorded by this process (a Collector may).",
            "Call otel_runs.configure(), or set OTEL_RUNS_DB.",
        )


def two_providers(report: Report) -> Iterator[Finding]:
    """Some spans go to a provider that stores runs, others to one that does not."""
    storing = [seen for seen in report.providers if seen.stores_runs]
    others = [seen for seen in report.providers if not seen.stores_runs and seen.roots]
    if storing and others:
        places = some([f"{seen.made_at} ({many(seen.roots, 'root span', 'root spans')})" for seen in others])
        yield Finding(
            "two-providers",
            "error",
            f"{report.program} has a tracer provider that stores runs (made at {storing[0].made_at}), but spans also "
            f"come from another: {places}.",
            "What the other one starts is not recorded, and is not part of the runs that are.",
            "Use one provider: set yours (trace.set_tracer_provider) before otel_runs.configure(), which joins it, or "
            "add RunsSpanExporter() to it.",
        )


def refused(report: Report) -> Iterator[Finding]:
    """A provider was set where there was one already; OpenTelemetry keeps the first."""
    if report.refused:
        yield Finding(
            "late-provider",
            "warning",
            f"{report.program} sets a tracer provider at {some(report.refused)} when one is set already.",
            "OpenTelemetry keeps the first. What was added to the later one (exporters, resource, sampler) is not "
            "used.",
            "Set the provider first and call otel_runs.configure() then: it joins the provider that is set.",
        )


def unsampled(report: Report) -> Iterator[Finding]:
    """A sampler drops root spans before anybody can record them."""
    dropped = sum(seen.unrecorded_roots for seen in report.providers)
    if dropped:
        yield Finding(
            "sampled-roots",
            "warning",
            f"In {report.program}, {many(dropped, 'root span was', 'root spans were')} dropped by a sampler.",
            "The runs that they would have been are not recorded.",
            "Let otel_runs.configure() join the provider that makes them (it records what a sampler drops, and keeps "
            "it from Jaeger), or sample in the Collector: docs/collector.md",
        )


def strays(report: Report) -> Iterator[Finding]:
    """Root spans that start in another thread while a root span is open."""
    if report.strays:
        named = some([f"{name} ({number:,})" for name, number in report.strays.items()])
        yield Finding(
            "lost-contexts",
            "warning",
            f"In {report.program} these started as runs of their own, in another thread than the run that was open: "
            f"{named}.",
            "Where they are steps of that run, their context was lost on the way into the thread. Where a server works "
            "on several requests at once, all is well.",
            "Wrap what the thread or pool calls in otel_runs.carry(), or use opentelemetry-instrumentation-threading.",
        )


def losses(report: Report) -> Iterator[Finding]:
    """Spans were lost, or storing them failed."""
    if report.lost:
        yield Finding(
            "lost-spans",
            "error",
            f"{report.program} lost {many(report.lost, 'span', 'spans')}: {report.last_error or 'its queue was full'}.",
            "What they would have said is missing from its runs.",
            "See to the database; the program's log says more.",
        )
