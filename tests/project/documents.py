"""The project's Markdown files, and what is in them: code blocks with their orders, links, headings.

A block is run unless the line above it says otherwise. These comments are invisible on a page and plain in its source:

    <!-- not run: it needs a Jaeger -->           with the reason
    <!-- file: pipeline.py -->                    the block is saved under this name, for the blocks below
    <!-- output -->                               what the block above prints; see ``same_output``

A page that begins in a folder with the demo's history says so anywhere: ``<!-- begins with the demo's history -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DEMO_MARK = "<!-- begins with the demo's history -->"

_FENCE = re.compile(r"(?P<fence>```+|~~~+)[ ]*(?P<language>[^\s`]*)")
_MARK = re.compile(r"<!-- (?P<word>not run|file|output)(?:: (?P<value>.+?))? -->")
_LINK = re.compile(r"""!?\[[^\]]*\]\(<?(?P<target>[^)\s>]+)[^)]*\)|(?:src|href|srcset)="(?P<attribute>[^"]+)\"""")
_REFERENCE = re.compile(r"^\[[^\]]+\]:\s+(?P<target>\S+)", re.MULTILINE)
_HEADING = re.compile(r"#{1,6}[ ]+(?P<title>.+?)[ ]*#*")
_ANCHOR = re.compile(r"""<a (?:id|name)="([^"]+)\"""")


class Mark(NamedTuple):
    """What the comment above a block says of it."""

    word: str
    value: str | None


class Block(NamedTuple):
    """One fenced block of a page."""

    language: str
    text: str
    line: int
    """Of its fence, counted from 1."""
    mark: Mark | None


def pages() -> list[Path]:
    """Every Markdown file that belongs to the project."""
    folders = [ROOT, *(ROOT / name for name in ("docs", "collector-config", "otel_runs", "bench", "tests"))]
    found = [page for folder in folders for page in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))]
    return sorted(found)


def blocks_of(page: Path) -> list[Block]:
    """The page's fenced blocks, in order."""
    return [part for part in _parts(page) if isinstance(part, Block)]


def links_of(page: Path) -> list[str]:
    """Targets of the page's links and images, outside of code."""
    text = re.sub(r"`[^`\n]*`", "", _prose_of(page))
    found = [match["target"] or match["attribute"] for match in _LINK.finditer(text)]
    return found + [match["target"] for match in _REFERENCE.finditer(text)]


def anchors_of(page: Path) -> set[str]:
    """What a link to this page can have behind its ``#``: GitHub's form of the headings, and named anchors."""
    prose = _prose_of(page)
    anchors: set[str] = set(_ANCHOR.findall(prose))
    for match in filter(None, map(_HEADING.fullmatch, prose.splitlines())):
        slug = _slug(match["title"])
        number = sum(1 for anchor in anchors if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", anchor))
        anchors.add(f"{slug}-{number}" if number else slug)
    return anchors


def _slug(title: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def _prose_of(page: Path) -> str:
    return "\n".join(part for part in _parts(page) if isinstance(part, str))


def _parts(page: Path) -> Iterator[str | Block]:
    """The page's lines; a fenced block comes as one part."""
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    above = ""
    for number, line in lines:
        opening = _FENCE.match(line.strip())
        if opening is None:
            above = line.strip() or above
            yield line
            continue
        indent = len(line) - len(line.lstrip())
        inside = []
        for _, text in lines:
            if text.strip() == opening["fence"]:
                break
            inside.append(text[indent:] + "\n")
        else:
            msg = f"{page}:{number}: the block does not end"
            raise ValueError(msg)
        mark = _MARK.fullmatch(above)
        above = ""
        yield Block(opening["language"], "".join(inside), number, Mark(mark["word"], mark["value"]) if mark else None)


def same_output(promised: str, printed: str) -> bool:
    """Whether a command printed what a page promises.

    A line of three dots stands for any lines. Words with a digit in them (times, ids, sizes) are taken as equal, so are
    bars and rules of any length, and any amount of white space: they differ from run to run.
    """
    parts = [_settled(part) for part in re.split(r"^\s*(?:\.\.\.|…)\s*$", promised, flags=re.MULTILINE)]
    return re.fullmatch(".*".join(re.escape(part) for part in parts), _settled(printed), re.DOTALL) is not None


def _settled(text: str) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"[^\s│┃]*\d[^\s│┃]*", "0", text)
    text = re.sub(r"[▏▎▍▌▋▊▉█▁▂▃▄▅▆▇░▒▓━─╸╺╶╴═]+", "━", text)
    return re.sub(r"\s+", " ", text).strip()
