"""No page points to a file, an image or a heading that does not exist."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.project.documents import ROOT, anchors_of, links_of, pages


def dead_links(page: Path) -> list[str]:
    """Links of a page that lead nowhere. Other hosts are not asked."""
    dead = []
    for link in links_of(page):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_page_has_no_dead_link(page: Path) -> None:
    assert dead_links(page) == []


def test_dead_files_images_and_anchors_are_found_and_code_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Good news: `v_runs`\n# Again\n# Again\n"
        "[a](other.md) ![b](none.png) [c](#good-news-v_runs) [d](#bad) [e](https://example.org/x) [f](#again-1)\n"
        '<img src="none.svg"> `[g](code.md)`\n[h]: gone.md\n```text\n[i](block.md)\n```\n',
        encoding="utf-8",
    )
    assert dead_links(page) == ["other.md", "none.png", "#bad", "none.svg", "gone.md"]
