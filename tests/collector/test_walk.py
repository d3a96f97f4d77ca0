"""docs/collector.md, walked without containers: its three servers, its pipeline, the run, its trace, and back."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.programs import Programs
from tests.project.documents import ROOT, Mark, blocks_of, same_output
from tests.servers.builds import built
from tests.servers.jaeger import spans_at
from tests.servers.missing import needed
from tests.servers.ports import free_port
from tests.servers.service import Service, is_ok, running
from tests.waiting import wait_until

SERVERS, PIPELINE, SHOWN, PAGE, BACK = [
    block.text
    for block in blocks_of(ROOT / "docs/collector.md")
    if block.mark and "tests/collector/test_walk.py" in (block.mark.value or "")
]
[SOURCE] = [block.text for block in blocks_of(ROOT / "README.md") if block.mark == Mark("file", "pipeline.py")]
RUNS_GRPC, RUNS_HTTP, COLLECTOR_HTTP = "127.0.0.1:4327", "127.0.0.1:4328", "127.0.0.1:4318"


class Line(Service):
    """A server that a line of the page starts, in a folder that looks like the clone.

    Args:
        line: of the page.
        clone: the folder.
        environ: of the terminal.
        health: the address that says whether it is ready.
    """

    def __init__(self, line: str, clone: Path, environ: Mapping[str, str], health: str) -> None:
        super().__init__()
        self._line, self._clone, self._environ, self._health = line, clone, environ, health

    def command(self) -> list[str]:
        return ["bash", "-c", f"cd {self._clone}; exec env {self._line}"]

    def environ(self) -> Mapping[str, str]:
        return self._environ

    def answers(self) -> bool:
        return is_ok(self._health)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What of a clone the page speaks of, and the programs that its reader has installed."""
    (tmp_path / "collector-config").symlink_to(ROOT / "collector-config")
    (tmp_path / "programs").mkdir()
    with needed():
        (tmp_path / "programs/otelcol-contrib").symlink_to(built("collector"))
        (tmp_path / "programs/jaeger").symlink_to(built("jaeger"))
    (tmp_path / "pipeline.py").write_text(SOURCE)
    return tmp_path


@pytest.fixture
def environ(clone: Path) -> dict[str, str]:
    """Of every terminal: the programs, and free ports instead of those of the page."""
    path = os.pathsep.join([str(Path(sys.executable).parent), str(clone / "programs"), os.environ["PATH"]])
    ports = ["COLLECTOR_OTLP_GRPC", "COLLECTOR_OTLP_HTTP", "COLLECTOR_HEALTH", "RUNS_OTLP_GRPC", "RUNS_OTLP_HTTP"]
    ports += ["JAEGER_OTLP_GRPC", "JAEGER_QUERY_HTTP", "JAEGER_QUERY_GRPC", "JAEGER_HEALTH"]
    return {name: f"127.0.0.1:{free_port()}" for name in ports} | {
        "PATH": path,
        "COLUMNS": "120",
        "COLLECTOR_METRICS_PORT": str(free_port()),
    }


@pytest.fixture
def here(environ: dict[str, str]) -> Callable[[str], str]:
    """The page's words with this test's ports."""
    ports = {RUNS_GRPC: "RUNS_OTLP_GRPC", RUNS_HTTP: "RUNS_OTLP_HTTP", COLLECTOR_HTTP: "COLLECTOR_OTLP_HTTP"}

    def replaced(text: str) -> str:
        for address, name in ports.items():
            text = text.replace(address, environ[name])
        return text

    return replaced


@pytest.fixture
def _servers(clone: Path, environ: dict[str, str], here: Callable[[str], str]) -> Iterator[None]:
    """What the three terminals run."""
    healths = {"RUNS_OTLP_HTTP": "/readyz", "JAEGER_HEALTH": "/status", "COLLECTOR_HEALTH": "/"}
    with ExitStack() as stack:
        for line, (name, path) in zip(here(SERVERS).splitlines(), healths.items(), strict=True):
            stack.enter_context(running(partial(Line, line, clone, environ, f"http://{environ[name]}{path}")))
        yield


@pytest.mark.usefixtures("_servers")
def test_run_leads_to_its_trace_and_back_as_the_page_says(
    clone: Path, environ: dict[str, str], here: Callable[[str], str]
) -> None:
    programs = Programs(clone)

    def typed(line: str) -> str:
        done = programs.run(["bash", "-euc", here(line)], environ=environ)
        return done.stdout + done.stderr

    pipeline, show = PIPELINE.splitlines()
    assert typed(pipeline) == ""
    wait_until(lambda: "Run ID" in typed(show), what="the run")
    shown = typed(show)
    assert same_output(SHOWN, shown), shown

    [address] = re.findall(r"Trace +(http\S+)", shown)
    trace_id = urlsplit(address).path.removeprefix("/trace/")
    wait_until(
        lambda: len(spans_at(f"http://{environ['JAEGER_QUERY_HTTP']}", trace_id)) == 5, what="the trace in Jaeger"
    )
    [run_id] = re.findall(r"Run ID +(\S+)", shown)
    assert run_id in typed(re.sub(r"[0-9a-f]{32}", trace_id, PAGE))
    assert typed(re.sub(r"[0-9a-f]{32}", trace_id, BACK)) == shown


def test_links_of_jaegers_page_lead_where_the_page_of_a_run_is() -> None:
    patterns = json.loads((ROOT / "collector-config/jaeger-ui.json").read_text())["linkPatterns"]
    addresses = {
        re.sub(r"#\{.*?\}|[0-9a-f]{32}", "ID", text) for text in [PAGE.split()[-1], *(each["url"] for each in patterns)]
    }
    assert addresses == {f"http://{RUNS_HTTP}/runs/ID"}
