"""``/runs/ID`` on the HTTP port: what ``otel-runs show`` prints, for who comes by a link from a trace."""

from __future__ import annotations

import re
import threading
from functools import partial
from html import unescape
from urllib.parse import quote

import pytest

from otel_runs import attributes as key
from otel_runs.cli.page import run_page
from otel_runs.errors import StoreUnavailableError
from otel_runs.ids import run_id_from_trace
from otel_runs.server import run_page as route
from otel_runs.server.run_page import ShowRun
from tests.programs import Programs, otel_runs_command
from tests.server.requests import new_request, new_trace
from tests.server.running import HttpAnswer, ServerProcess, serving
from tests.server.test_http import started_run
from tests.spans.otlp import TRACE, logs, otlp_span, pairs, traces

RUN = run_id_from_trace(TRACE.hex())


def text_of(page: HttpAnswer) -> str:
    """What a reader of the page sees."""
    body = re.search(r"<body>(.*)</body>", page.body.decode(), re.DOTALL)
    assert body is not None
    return unescape(re.sub(r"<[^>]*>", "", body[1]))


def words(text: str) -> list[str]:
    """Without what draws frames, trees and bars."""
    return re.findall(r"[\w.:/-]{2,}", text)


@pytest.fixture
def pages(sqlite_url: str) -> ShowRun:
    """What the command line gives the server."""
    return partial(run_page, sqlite_url)


def test_page_says_what_show_prints(programs: Programs) -> None:
    spans = new_trace()
    trace_id = spans[0].trace_id.hex()
    with ServerProcess(programs, "--db", "runs.db") as server:
        assert server.post(traces(*spans)).code == 200
        by_trace = server.request("GET", f"/runs/{trace_id}")
        by_run = server.request("GET", f"/runs/{run_id_from_trace(trace_id)}")
        assert b"GET /runs/{run_id}" in server.request("GET", "/").body, "who has no id yet is told where runs are"
    shown = programs.run(otel_runs_command("show", trace_id, "--db", "runs.db"))
    assert by_trace.code == 200
    assert by_trace.headers["content-type"] == "text/html; charset=utf-8"
    assert by_trace.body == by_run.body
    assert shown.returncode == 0
    assert set(words(shown.stdout)) <= set(words(text_of(by_trace)))
    assert f'href="http://localhost:16686/trace/{trace_id}"' in by_trace.body.decode()


def test_names_from_outside_are_text_and_nothing_runs_in_the_page(sqlite_url: str, pages: ShowRun) -> None:
    name = "<script>alert(1)</script> {0} %title% \x1b[31m"
    with serving(sqlite_url, show_run=pages) as server:
        server.post(traces(otlp_span(name=name)))
        page = server.request("GET", f"/runs/{RUN}")
    assert page.code == 200
    assert b"<script" not in page.body
    assert r"<script>alert(1)</script> {0} %title% \e[31m" in text_of(page)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


def test_page_of_a_run_that_goes_on_is_loaded_again(sqlite_url: str, pages: ShowRun) -> None:
    with serving(sqlite_url, show_run=pages) as server:
        server.post(logs(started_run()), path="/v1/logs")
        going_on = server.request("GET", f"/runs/{RUN}")
        server.post(traces(otlp_span()))
        ended = server.request("GET", f"/runs/{RUN}")
    assert b'http-equiv="refresh"' in going_on.body
    assert "running" in text_of(going_on)
    assert ended.code == 200
    assert b"refresh" not in ended.body


def test_run_that_is_not_there_is_not_found_and_says_what_may_be_asked_for(sqlite_url: str, pages: ShowRun) -> None:
    with serving(sqlite_url, show_run=pages) as server:
        answer = server.request("GET", "/runs/ffff")
    assert answer.code == 404
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body.startswith(b"No run is called 'ffff'; expected a run's id")


def test_run_is_found_by_the_id_that_its_user_gave_it(sqlite_url: str, pages: ShowRun) -> None:
    with serving(sqlite_url, show_run=pages) as server:
        server.post(traces(otlp_span(name="nightly", attributes=pairs({key.RUN_ID: "team/42 ü"}))))
        page = server.request("GET", f"/runs/{quote('team/42 ü', safe='')}")
    assert page.code == 200
    assert "team/42 ü" in text_of(page)


def test_beginning_of_several_ids_names_them(sqlite_url: str, pages: ShowRun) -> None:
    with serving(sqlite_url, show_run=pages) as server:
        for end in (1, 2):
            server.post(traces(otlp_span(trace_id=bytes([7] * 15 + [end]))))
        answer = server.request("GET", "/runs/0707")
    assert answer.code == 404
    assert answer.body.count(b"07070707-0707-0707-0707-0707070707") == 2


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:4328", 200),
        ("localhost", 200),
        ("otel-runs:4318", 200),
        ("[::1]:4318", 200),
        ("rebound.example.com", 403),
        ("127.0.0.1.example.com:4328", 403),
    ],
)
def test_name_that_may_be_somebody_elses_gets_no_page(sqlite_url: str, pages: ShowRun, host: str, code: int) -> None:
    with serving(sqlite_url, show_run=pages) as server:
        server.post(traces(otlp_span(name="nightly")))
        answer = server.request("GET", f"/runs/{RUN}", host=host)
    assert answer.code == code
    assert (b"nightly" in answer.body) is (code == 200)


def test_server_with_a_token_shows_no_run_without_it(sqlite_url: str, pages: ShowRun) -> None:
    with serving(sqlite_url, show_run=pages, token="secret") as server:
        server.post(traces(otlp_span()), authorization="Bearer secret")
        without = server.request("GET", f"/runs/{RUN}")
        wrong = server.request("GET", f"/runs/{RUN}", authorization="Bearer wrong")
        right = server.request("GET", f"/runs/{RUN}", authorization="Bearer secret")
    assert [without.code, wrong.code, right.code] == [401, 401, 200]
    assert b"otel-runs show" in without.body


def test_database_that_cannot_be_read_is_said_without_its_name(sqlite_url: str) -> None:
    def away(_run_id: str) -> str:
        raise StoreUnavailableError("db.example.com:5432 refused the connection")

    with serving(sqlite_url, show_run=away) as server:
        answer = server.request("GET", "/runs/1")
    assert answer.code == 503
    assert b"example.com" not in answer.body


def test_database_that_hangs_is_not_waited_for_and_takes_one_thread_at_most(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "_SECONDS", 0.2)
    goes_on = threading.Event()
    asked: list[str] = []

    def slow(run_id: str) -> str:
        asked.append(run_id)
        assert goes_on.wait(30)
        return "a page"

    with serving(sqlite_url, show_run=slow) as server:
        try:
            codes = [server.request("GET", f"/runs/{number}").code for number in range(3)]
            assert server.post(new_request()).code == 200
        finally:
            goes_on.set()
        monkeypatch.setattr(route, "_SECONDS", 30.0)
        after = server.request("GET", "/runs/after")
    assert codes == [503] * 3
    assert asked == ["0", "after"]
    assert (after.code, after.body) == (200, b"a page")


def test_page_is_only_read(sqlite_url: str, pages: ShowRun) -> None:
    with serving(sqlite_url, show_run=pages) as server:
        assert server.request("POST", f"/runs/{RUN}").code == 405
