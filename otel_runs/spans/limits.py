"""How much is read of one span that comes from outside, so that none can fill memory or the database."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from otel_runs import settings

_DEEPEST: Final = 64
"""Python calls itself once a level, and stops programs at 1,000 levels."""


class Limits(NamedTuple):
    """What is read of a span at most. The span is kept, what is over the limit is left out or cut, as SDKs do.

    Source: OpenTelemetry specification, common/attribute limits and trace/sdk.md, span limits.
    """

    attributes: int
    """Of a span, event, link or resource each: the first ones."""
    events: int
    """Of a span: the last ones, since an exception comes at the end."""
    links: int
    """Of a span: the last ones."""
    text: int
    """Characters of a text; bytes of binary data."""
    depth: int
    """Levels of lists and mappings in one value; what is deeper is None."""


def limits_from_settings(environ: Mapping[str, str] = os.environ) -> Limits:
    """The limits that the environment sets, or the default ones.

    Raises:
        SettingsError: a variable holds something else than a whole number from 0 on.
    """

    def read(setting: settings.Setting[int]) -> int:
        return settings.value(setting, environ)

    return Limits(
        attributes=read(settings.LIMIT_ATTRIBUTES),
        events=read(settings.LIMIT_EVENTS),
        links=read(settings.LIMIT_LINKS),
        text=read(settings.LIMIT_TEXT),
        depth=min(read(settings.LIMIT_DEPTH), _DEEPEST),
    )
