"""From the spool to where its spans were meant to go.

To store a span again changes nothing, so a replay may stop anywhere and begin anew, and two at once do no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Final, NamedTuple

from otel_runs.errors import DecodeError
from otel_runs.spans.from_otlp_json import json_from_bytes, spans_from_document, started_spans_from_document
from otel_runs.spans.limits import Limits
from otel_runs.spans.span import Span
from otel_runs.spool.files import LockedFile
from otel_runs.spool.spool import Quarantined, Spool

logger = logging.getLogger(__name__)

Save = Callable[[Sequence[Span]], Sequence[Quarantined]]
"""Stores spans so that they are on the disk when it returns, and returns those that never can be."""

_BATCH: Final = 2_000
_UNLIMITED: Final = Limits(2**31, 2**31, 2**31, 2**31, 64)
"""What is read is what was written: the same rows as without the detour."""


class Replayed(NamedTuple):
    """What a replay did."""

    files: int = 0
    """Files replayed to their end, and deleted."""
    spans: int = 0
    """Ended spans stored; one that stands there twice counts twice."""
    started: int = 0
    """Log records stored, each of which tells of a span that has started."""
    quarantined: int = 0
    """Spans and lines that can never be stored."""

    def __add__(self, other: object) -> Replayed:
        """Both together."""
        if not isinstance(other, Replayed):
            return NotImplemented
        return Replayed(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class UnreadableError(DecodeError):
    """The disk does not give a file back. The other files are not concerned."""


class _Portion(NamedTuple):
    """What is stored at once."""

    spans: list[Span]
    bad: list[Quarantined]


def replay(spool: Spool, save: Save, *, is_over: Callable[[], bool] = lambda: False) -> Iterator[Replayed]:
    """Store what waits in the spool, the oldest files first, and delete each file that is stored whole.

    Args:
        spool: of the destination that ``save`` writes to.
        save: an error of it ends the replay; nothing is deleted then.
        is_over: asked before each portion; True ends the replay there.

    Yields:
        What was done since, after each portion.
    """
    with closing(spool.waiting_files()) as waiting:
        for file in waiting:
            bad: list[Quarantined] = []
            try:
                for portion in _portions(file):
                    if is_over():
                        return
                    refused = save(portion.spans) if portion.spans else ()
                    bad += [*portion.bad, *refused]
                    never = {id(each.what) for each in refused}
                    stored = [span for span in portion.spans if id(span) not in never]
                    started = sum(span.end_ns is None for span in stored)
                    yield Replayed(spans=len(stored) - started, started=started)
            except UnreadableError as exc:
                logger.error("%s", exc)  # noqa: TRY400  the message says it all
                continue
            if bad and not spool.quarantine(bad):
                continue  # no room: it stays, and is asked again another time
            try:
                file.delete()
            except OSError as exc:  # another user's folder; Windows, while its process writes it
                logger.error("%s is stored, but cannot be deleted: %s.", file.path, exc)  # noqa: TRY400  as above
                continue
            yield Replayed(files=1, quarantined=len(bad))


def _lines(file: LockedFile) -> Iterator[bytes]:
    try:
        yield from file.lines()
    except OSError as exc:
        msg = f"{file.path} of the spool cannot be read and is left as it is: {exc}."
        raise UnreadableError(msg) from exc


def _portions(file: LockedFile) -> Iterator[_Portion]:
    portion = _Portion([], [])
    for line in _lines(file):
        if not line.strip():
            continue
        try:
            document = json_from_bytes(line)
            found = spans_from_document(document, _UNLIMITED), started_spans_from_document(document, _UNLIMITED)
        except DecodeError as exc:
            why = f"{exc}" if line.endswith(b"\n") else f"The line was cut off when it was written: {exc}"
            portion.bad.append(Quarantined(line, why))
            continue
        for decoded in found:
            portion.spans.extend(decoded.spans)
            if decoded.refused:
                portion.bad.append(Quarantined(line, " ".join(decoded.refused)))
        if len(portion.spans) >= _BATCH:
            yield portion
            portion = _Portion([], [])
    yield portion
