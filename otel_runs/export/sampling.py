"""Sampling decides what Jaeger gets, not what is recorded: spans that a sampler drops reach the run tables, too.

They are recorded with the sampled flag off. That flag travels to other processes as before, and OpenTelemetry's own
processors, in front of whatever exporter, leave such spans out.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence

from opentelemetry import context as api_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

_SUPPRESSION_KEYS = (_SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation")


class RecordingSampler(Sampler):
    """Asks another sampler, and has recorded what that one drops.

    Not the SDK's own ``AlwaysRecordSampler``: that is missing before SDK 1.40, records also where instrumentation is
    suppressed (our own writes to the database, for ever), and loses the attributes that a span starts with, because a
    sampler that drops a span hands none back.
    """

    def __init__(self, inner: Sampler) -> None:
        """Wrap the sampler that decides what is exported."""
        self._inner = inner

    def should_sample(  # noqa: PLR0917  the SDK's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,  # noqa: ARG002  as above
    ) -> SamplingResult:
        """What the other sampler says, but that nothing is dropped unless instrumentation is suppressed."""
        # Without trace_state, as the SDK and its samplers call it: that is found in the context.
        result = self._inner.should_sample(parent_context, trace_id, name, kind, attributes, links)
        if result.decision is not Decision.DROP or _is_suppressed(parent_context):
            return result
        merged = {**(attributes or {}), **result.attributes}
        return SamplingResult(Decision.RECORD_ONLY, merged, result.trace_state)

    def get_description(self) -> str:
        """The other sampler's description, in ours."""
        return f"RecordingSampler{{{self._inner.get_description()}}}"


def record_unsampled(provider: object) -> None:
    """Have a provider record what its sampler drops; also the tracers that it has made already.

    Does nothing for a provider that is not the SDK's.
    """
    inner = getattr(provider, "sampler", None)
    if (
        not isinstance(provider, TracerProvider)
        or not isinstance(inner, Sampler)
        or isinstance(inner, RecordingSampler)
    ):
        return
    provider.sampler = RecordingSampler(inner)
    for tracer in _tracers_of(provider):
        if tracer.sampler is inner:
            tracer.sampler = provider.sampler


def _tracers_of(provider: TracerProvider) -> Iterable[Tracer]:
    """The tracers that a provider has made, each of which holds the sampler by itself."""
    known = getattr(provider, "_tracers", None)
    if isinstance(known, dict):
        return list(known.values())
    # Older SDKs keep no account of them; this is asked once a process, and takes some ten milliseconds.
    ours = provider._active_span_processor  # noqa: SLF001  what a provider and its tracers share
    return [each for each in gc.get_objects() if type(each) is Tracer and each.span_processor is ours]


def _is_suppressed(parent_context: Context | None) -> bool:
    return any(api_context.get_value(key, parent_context) for key in _SUPPRESSION_KEYS)
