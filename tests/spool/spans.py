"""Spans for the spool's tests."""

from __future__ import annotations

import random

from otel_runs.spans.span import NO_ATTRIBUTES, Resource, Span

START = 1_760_000_000_000_000_000
SHOP = Resource({"service.name": "shop"})


def some_spans(count: int, *, seed: int = 1) -> list[Span]:
    """Root spans, a run each, with names ``run 0``, ``run 1`` and so on."""
    numbers = random.Random(seed)
    return [
        Span(
            f"{numbers.getrandbits(128):032x}",
            f"{numbers.getrandbits(64):016x}",
            None,
            f"run {number}",
            "INTERNAL",
            START,
            START + 1_000_000,
            "UNSET",
            None,
            NO_ATTRIBUTES,
            (),
            (),
            SHOP,
            "tests",
        )
        for number in range(count)
    ]


def unwritable(name: object, *, seed: int) -> Span:
    return some_spans(1, seed=seed)[0]._replace(name=name)  # type: ignore[arg-type]  # what a span should not hold


def id_of(span: Span) -> str:
    return span.span_id
