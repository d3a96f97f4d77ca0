"""What is over a limit is left out or cut; the span is kept."""

from __future__ import annotations

from typing import Any

import pytest

from otel_runs.errors import SettingsError
from otel_runs.mapping import coerce
from otel_runs.spans.limits import limits_from_settings
from tests.spans.otlp import DECODERS, LIMITS, SPAN, TRACE, only, otlp_span, pairs, traces


def nested(levels: int, *, mapping: bool) -> Any:
    """A value of so many levels of lists or mappings, with a text inside."""
    value: Any = "innermost"
    for _ in range(levels):
        value = {"a": value} if mapping else (value,)
    return value


def levels_of(value: Any) -> int:
    """How many levels of lists or mappings there are around the innermost text or None."""
    levels = 0
    while isinstance(value, (tuple, dict)):
        [value] = value.values() if isinstance(value, dict) else value
        levels += 1
    return levels


@pytest.mark.parametrize("inlet", DECODERS)
def test_first_attributes_are_kept_of_span_event_link_and_resource(inlet: str) -> None:
    many = {f"a{number}": number for number in range(5)}
    attributes = pairs(many)
    span = otlp_span(
        attributes=attributes,
        events=[{"name": "x", "attributes": attributes}],
        links=[{"trace_id": TRACE, "span_id": SPAN, "attributes": attributes}],
    )
    found = only(DECODERS[inlet](traces(span, resource=many), LIMITS._replace(attributes=2)))
    for kept in (found, found.resource, found.events[0], found.links[0]):
        assert kept.attributes == {"a0": 0, "a1": 1}


@pytest.mark.parametrize("inlet", DECODERS)
def test_last_events_and_links_are_kept(inlet: str) -> None:
    span = otlp_span(
        events=[{"name": str(number)} for number in range(5)],
        links=[{"trace_id": TRACE, "span_id": bytes([number] * 8)} for number in range(5)],
    )
    found = only(DECODERS[inlet](traces(span), LIMITS._replace(events=2, links=1)))
    assert [event.name for event in found.events] == ["3", "4"]
    assert [link.span_id for link in found.links] == ["04" * 8]


@pytest.mark.parametrize("inlet", DECODERS)
def test_limits_of_zero_leave_everything_out_but_the_span(inlet: str) -> None:
    span = otlp_span(attributes=pairs({"a": 1}), events=[{"name": "x"}], links=[{"trace_id": TRACE}])
    found = only(DECODERS[inlet](traces(span), LIMITS._replace(attributes=0, events=0, links=0, text=0)))
    assert (found.name, found.attributes, len(found.events), len(found.links)) == ("", {}, 0, 0)


@pytest.mark.parametrize("inlet", DECODERS)
def test_long_texts_are_cut_wherever_they_stand(inlet: str) -> None:
    long = "\U0001f600" * 20
    attributes = {"text": long, "list": [long], "mapping": {"a": long}, "bytes": b"x" * 20, "short": "abc"}
    span = otlp_span(
        name=long, status={"code": 2, "message": long}, attributes=pairs(attributes), events=[{"name": long}]
    )
    found = only(DECODERS[inlet](traces(span), LIMITS._replace(text=7)))
    cut = "\U0001f600" * 7
    assert found.attributes == {"text": cut, "list": (cut,), "mapping": {"a": cut}, "bytes": b"x" * 7, "short": "abc"}
    assert (found.name, found.status_message, found.events[0].name) == (cut, cut, cut)


@pytest.mark.parametrize("inlet", DECODERS)
@pytest.mark.parametrize("mapping", [False, True])
@pytest.mark.parametrize(("levels", "kept"), [(0, 0), (1, 1), (3, 3), (4, 3), (20, 3)])
def test_value_below_the_deepest_level_is_null(inlet: str, levels: int, kept: int, *, mapping: bool) -> None:
    span = otlp_span(attributes=pairs({"x": nested(levels, mapping=mapping)}))
    found = only(DECODERS[inlet](traces(span), LIMITS._replace(depth=3))).attributes["x"]
    assert levels_of(found) == kept
    expected = nested(levels, mapping=mapping) if levels <= 3 else None
    assert expected is None or found == expected


def test_metadata_keeps_as_many_levels_in_process_as_over_otlp() -> None:
    deep = nested(40, mapping=False)
    assert (
        levels_of(only(DECODERS["json"](traces(otlp_span(attributes=pairs({"x": deep}))), LIMITS)).attributes["x"])
        == 32
    )
    kept, levels = coerce.plain(deep), 0
    while isinstance(kept, list):
        [kept] = kept
        levels += 1
    assert levels == 32


def test_text_that_a_column_cuts_is_longer_than_what_a_column_keeps_so_that_the_cut_is_marked() -> None:
    assert LIMITS.text > coerce.TEXT_LENGTH


@pytest.mark.parametrize("name", ["ATTRIBUTES", "EVENTS", "LINKS", "TEXT", "DEPTH"])
def test_every_limit_is_a_setting(name: str) -> None:
    limits = limits_from_settings({f"OTEL_RUNS_LIMIT_{name}": "7"})
    assert limits == LIMITS._replace(**{name.lower(): 7})


@pytest.mark.parametrize("text", ["many", "-1", "1.5"])
def test_limit_that_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=f"OTEL_RUNS_LIMIT_TEXT is '{text}'"):
        limits_from_settings({"OTEL_RUNS_LIMIT_TEXT": text})


def test_depth_is_never_more_than_python_can_follow() -> None:
    limits = limits_from_settings({"OTEL_RUNS_LIMIT_DEPTH": "1000000"})
    deep = otlp_span(attributes=pairs({"x": nested(40, mapping=False)}))
    assert levels_of(only(DECODERS["json"](traces(deep), limits)).attributes["x"]) == 40
    assert limits.depth == 64
