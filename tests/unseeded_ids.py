"""Ids of spans in tests by property."""

from __future__ import annotations

import secrets

from opentelemetry.sdk.trace.id_generator import IdGenerator


class UnseededIds(IdGenerator):
    """Hypothesis starts the random numbers anew for each example, and the SDK's ids with them."""

    def generate_trace_id(self) -> int:
        return secrets.randbits(128) or 1

    def generate_span_id(self) -> int:
        return secrets.randbits(64) or 1
