"""A neutral span made into the SDK's, and read again, is the same span."""

from __future__ import annotations

from hypothesis import given, settings

from otel_runs.spans.from_sdk import SdkSpans
from otel_runs.spans.to_sdk import sdk_span
from tests.spans.test_otlp_same_span import sdk_spans


@settings(deadline=None, max_examples=100)
@given(sdk_spans())
def test_span_made_into_the_sdks_and_read_again_is_the_same(original: object) -> None:
    span = SdkSpans().span_from_sdk(original)  # type: ignore[arg-type]  # hypothesis does not tell
    assert SdkSpans().span_from_sdk(sdk_span(span)) == span
