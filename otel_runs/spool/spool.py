"""The spool of one destination: a folder of files with spans that wait to be stored, or that never can be."""

from __future__ import annotations

import base64
import logging
import os
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from otel_runs.amounts import many
from otel_runs.children import call_in_child
from otel_runs.counters import counters
from otel_runs.spans.span import Span
from otel_runs.spans.to_otlp_json import (
    Line,
    is_told,
    lines_from_spans,
    logs_from_spans,
    text_from_json,
    traces_from_spans,
)
from otel_runs.spool import files
from otel_runs.spool.files import LockedFile

logger = logging.getLogger(__name__)

QUARANTINE: Final = "quarantine"
"""The folder of what can never be stored, in that of the spool."""
QUARANTINED: Final = "otel_runs.quarantined"
"""The field of a line there that says why; OTLP JSON leaves unknown fields alone."""
LARGEST_FILE: Final = 4 * 1024 * 1024
"""Bytes. A file whose replay is interrupted is begun anew: a second of work at most."""
_DROPPED: Final = ".dropped"
_LOOK_SECONDS: Final = 1.0
"""How long a look through the folder is good for. Through 256 files it takes a millisecond, as 64 spans do."""


class Quarantined(NamedTuple):
    """Something that can never be stored, and why."""

    what: Span | bytes
    """A span, or a line that cannot be read."""
    reason: str


class Spool:
    """Keeps spans on disk for one destination. Safe from several threads, processes and forks; never raises OSError.

    Args:
        folder: of this destination alone; made when it is needed.
        max_bytes: of all its files together, the quarantine included, and those of other processes but for what they
            wrote in the last second. What does not fit is dropped, counted and told: the oldest spans are kept.
        sync: whether to wait for the disk after each batch.
    """

    def __init__(self, folder: Path, *, max_bytes: int, sync: bool) -> None:
        self.folder: Final = folder
        self.quarantine_folder: Final = folder / QUARANTINE
        self._max_bytes = max_bytes
        self._sync = sync
        self._start_unopened()
        call_in_child(self, Spool._start_unopened)

    def _start_unopened(self) -> None:
        """The state of a spool that has written nothing yet: a new one, or one in a forked child."""
        self._lock = threading.Lock()
        self._file: LockedFile | None = None
        self._room = 0
        """Bytes that fit still, by the last look through the folder and what was written here since."""
        self._next_look = 0.0
        """Of ``time.monotonic()``."""
        self._dropped = 0
        self._has_told: set[str] = set()

    def append(self, spans: Iterable[Span], *, patience: float | None = None) -> bool:
        """Keep spans for later. What does not fit is dropped, counted and told; so is what cannot be written.

        A part of them is written before the next ones are asked for: if the process is killed meanwhile, the first are
        safe.

        Args:
            spans: ended or open; read when no other thread writes any more.
            patience: seconds to wait while another thread writes; then nothing waits for the disk either.

        Returns:
            False if another thread was writing all that time: nothing was done.
        """
        if not self._lock.acquire(timeout=-1 if patience is None else patience):
            return False
        try:
            self._append(lines_from_spans(spans, self._lose), sync=self._sync and patience is None)
        finally:
            self._lock.release()
        return True

    def quarantine(self, found: Sequence[Quarantined]) -> bool:
        """Keep what can never be stored, with the reason, for people to look at. Nothing of ours ever deletes it.

        Returns:
            False if there was no room for it.
        """
        lines = [_quarantine_line(each) for each in found]
        try:
            if self.bytes() + sum(map(len, lines)) > self._max_bytes:
                raise self._full()
            with closing(files.create(self.quarantine_folder)) as file:
                file.append(b"".join(lines))
                if self._sync:
                    file.sync()
        except OSError as exc:
            self._tell_once(str(exc.errno), "Nothing can be put in quarantine: %s.", exc)
            return False
        counters.add(quarantined=sum(isinstance(each.what, Span) for each in found))
        return True

    def rotate(self) -> None:
        """Let go of the file that is being written, so that it can be replayed."""
        with self._lock:
            self._close_file()

    def waiting_files(self) -> Generator[LockedFile]:
        """The files that can be replayed now, the oldest first, locked one after the other.

        The file that this process is writing comes last, and then is written no more.
        """
        yield from self._free_files()
        if self._file is not None:
            self.rotate()
            yield from self._free_files()

    def holds_files(self) -> bool:
        """Whether anything waits here, in files of any process."""
        return bool(files.paths_in(self.folder))

    def bytes(self) -> int:
        """How much is on disk, the quarantine included."""
        return files.bytes_in(self.folder) + files.bytes_in(self.quarantine_folder)

    def _free_files(self) -> Iterator[LockedFile]:
        for path in files.paths_in(self.folder):
            try:
                file = files.take(path)
            except OSError as exc:  # another user's, for instance
                self._tell_once(str(path), "A file of the spool cannot be replayed: %s.", exc)
                continue
            if file is not None:
                with closing(file):
                    yield file

    def _append(self, lines: Iterator[Line], *, sync: bool) -> None:
        """Write lines as far as they fit, and count the ended spans in those and in the others."""
        kept = lost = 0
        try:
            self._look()
            for line in lines:
                lost = line.ended
                self._write(line, sync=sync)
                kept, lost = kept + line.ended, 0
            if sync and self._file is not None:
                self._file.sync()
        except OSError as exc:
            self._count_dropped(lost + sum(line.ended for line in lines), exc)
        finally:
            counters.add(spooled=kept)

    def _look(self) -> None:
        """See now and then what others have written and deleted."""
        self._leave_a_file_that_is_gone()
        if time.monotonic() >= self._next_look:
            self._room = self._max_bytes - self.bytes()
            self._next_look = time.monotonic() + _LOOK_SECONDS

    def _leave_a_file_that_is_gone(self) -> None:
        """What is written to a file that has no name any more, nobody would ever find."""
        file = self._file
        if file is None or file.is_in_place():
            return
        self._close_file()
        self._next_look = 0.0
        self._tell_once(
            str(file.path),
            "%s was moved or deleted while spans were being spooled to it, so those are missing, unless somebody has "
            "the file. Further ones go to a new one.",
            file.path,
        )

    def _write(self, line: Line, *, sync: bool) -> None:
        if len(line.text) > self._room:
            raise self._full()
        self._opened(sync=sync).append(line.text)
        self._room -= len(line.text)

    def _opened(self, *, sync: bool) -> LockedFile:
        if self._file is not None and self._file.size >= LARGEST_FILE:
            if sync:  # the end of the batch waits for the file that is open then
                self._file.sync()
            self._close_file()
        if self._file is None:
            self._file = files.create(self.folder)
        return self._file

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _full(self) -> OSError:
        return OSError(f"the spool {self.folder} holds {self._max_bytes} bytes (OTEL_RUNS_SPOOL_MAX_BYTES)")

    def _lose(self, span: Span, error: Exception) -> None:
        """Count a span that cannot be written: neither database nor spool can have it."""
        counters.add(failed=span.end_ns is not None)
        self._tell_once(
            f"unwritable {type(error).__name__}",
            "Span %s %r cannot be spooled, and is lost: %s: %s. More may be, which otel_runs.stats() counts.",
            span.span_id,
            span.name,
            type(error).__name__,
            error,
        )

    def _count_dropped(self, spans: int, error: OSError) -> None:
        self._dropped += spans
        if not spans:
            return  # what only told of open spans; the ends of these will tell
        counters.add(dropped=spans)
        self._tell_once(
            f"dropped {error.errno}",
            "Spans cannot be spooled: %s. %s dropped, and more may be, which otel_runs.stats() counts.",
            error,
            many(spans, "span is", "spans are"),
        )
        self._note_dropped()

    def _note_dropped(self) -> None:
        """Leave the number for whoever asks later; of a full disk, there may be room for so little."""
        try:
            files.make_folder(self.folder)
            (self.folder / f"{os.getpid()}-{id(self):x}{_DROPPED}").write_text(f"{self._dropped}\n")
        except OSError:
            return

    def _tell_once(self, what: str, message: str, *values: object) -> None:
        if what not in self._has_told:
            self._has_told.add(what)
            logger.error(message, *values)


def dropped_in(folder: Path) -> int:
    """How many spans processes have had to drop, as far as they could note it."""
    total = 0
    for path in files.paths_in(folder, _DROPPED):
        text = path.read_text().strip()
        total += int(text) if text.isdecimal() else 0
    return total


def _quarantine_line(found: Quarantined) -> bytes:
    """A line that says why, and holds the span as OTLP JSON, so that it can be imported once that is repaired."""
    why: dict[str, Any] = {"reason": found.reason}
    document: dict[str, Any] = {QUARANTINED: why}
    if isinstance(found.what, Span):
        encode = logs_from_spans if is_told(found.what) else traces_from_spans
        try:
            return text_from_json(document | encode([found.what])) + b"\n"
        except Exception:  # noqa: BLE001  it may hold anything; perhaps that is why it was refused
            why["line"] = repr(found.what)
    else:
        try:
            why["line"] = found.what.decode()
        except UnicodeDecodeError:
            why["line_base64"] = base64.b64encode(found.what).decode()
    return text_from_json(document) + b"\n"
