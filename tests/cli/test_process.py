"""The command line as a process of its own: what cannot be seen from inside one."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.query.rows import Rows

OTEL_RUNS = (sys.executable, "-c", "from otel_runs.cli import main; main()")
TIMEOUT = 60


def _environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), **more}


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    if "OTEL_RUNS_DB" in os.environ:
        environment.setdefault("OTEL_RUNS_DB", os.environ["OTEL_RUNS_DB"])
    return subprocess.run(
        [*OTEL_RUNS, *arguments],
        env=_environment(**environment),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )


def test_help_loads_neither_sqlalchemy_nor_opentelemetry() -> None:
    script = (
        "import sys\n"
        "from otel_runs.cli.app import app\n"
        "try: app(['tail', '--help'], prog_name='otel-runs')\n"
        "except SystemExit: pass\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], env=_environment(), capture_output=True, text=True, timeout=TIMEOUT, check=True
    ).stdout
    loaded = set(printed.splitlines()[-1].split())
    assert "--follow" in printed
    assert not loaded & {"sqlalchemy", "alembic", "opentelemetry", "psycopg"}


def test_version_is_printed() -> None:
    from otel_runs import __version__

    assert _run("--version").stdout == f"otel-runs {__version__}\n"


def _run_in_shell(arguments: str, output: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a shell, which says where its output goes."""
    command = " ".join(f"'{word}'" for word in OTEL_RUNS)
    return subprocess.run(
        ["sh", "-c", f"{command} {arguments} {output}"],
        env=_environment(OTEL_RUNS_DB=os.environ["OTEL_RUNS_DB"]),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def test_reader_that_leaves_early_is_no_error(rows: Rows) -> None:
    for number in range(300):
        rows.run(number, name="n" * 1000)
    for arguments in ("tail -n 300", "tail -n 300 --json"):
        done = _run_in_shell(arguments, "| head -n 1")
        assert (len(done.stdout.splitlines()), done.stderr) == (1, "")


def test_terminal_that_knows_only_ascii_gets_ascii(rows: Rows) -> None:
    run = rows.run(1, name="größe 表")
    rows.model_run(run, 1, "extract", rows_in=5, rows_out=3)
    rows.model_run(run, 2, "load", starts=1)
    for arguments in (("tail",), ("show",), ("models",)):
        done = _run(*arguments, PYTHONIOENCODING="ascii", FORCE_COLOR="1", COLUMNS="100")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.isascii()
    assert "5 -> 3" in _run("show", PYTHONIOENCODING="ascii").stdout


def test_terminal_of_the_posix_locale_is_no_error(rows: Rows) -> None:
    rows.run(1, name="größe 表")
    done = _run("tail", LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr??e ?" in done.stdout


@pytest.mark.parametrize("arguments", ["tail", "tail --json", "show", "--help"])
def test_output_that_has_no_place_is_told_without_a_traceback(rows: Rows, arguments: str) -> None:
    rows.run(1)
    full = _run_in_shell(arguments, "> /dev/full")
    assert (full.returncode, len(full.stderr.splitlines())) == (1, 1)
    assert "No space left on device" in full.stderr


@pytest.mark.parametrize("arguments", ["tail", "tail --json"])
def test_closed_output_is_no_error(rows: Rows, arguments: str) -> None:
    rows.run(1)
    closed = _run_in_shell(arguments, ">&-")
    assert (closed.returncode, closed.stderr) == (0, "")


def test_json_is_utf8_whatever_the_terminal_is(rows: Rows) -> None:
    rows.run(1, name="größe 表")
    assert json.loads(_run("tail", "--json", PYTHONIOENCODING="ascii").stdout)[0]["name"] == "größe 表"


def test_follow_prints_what_is_new_or_changed_and_ctrl_c_ends_it_with_0(rows: Rows) -> None:
    rows.run(1, name="first")
    following = subprocess.Popen(
        [*OTEL_RUNS, "tail", "--follow", "--json", "--timeout", "60"],
        env=_environment(OTEL_RUNS_DB=os.environ["OTEL_RUNS_DB"]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    try:
        seen = [json.loads(following.stdout.readline())]
        rows.run(0, name="started earlier, arrived later", seconds=None)
        seen.append(json.loads(following.stdout.readline()))
        with rows.database.write() as connection:
            connection.exec_driver_sql("UPDATE runs SET status = 'failed' WHERE status = 'running'")
        seen.append(json.loads(following.stdout.readline()))
        following.send_signal(signal.SIGINT)
        rest, errors = following.communicate(timeout=TIMEOUT)
    finally:
        following.kill()
    assert [(run["name"], run["status"]) for run in seen] == [
        ("first", "completed"),
        ("started earlier, arrived later", "running"),
        ("started earlier, arrived later", "failed"),
    ]
    assert (following.returncode, rest, errors) == (0, "", "")


def test_terminal_gets_colours_and_a_file_does_not(rows: Rows) -> None:
    rows.run(1, status="failed")
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [*OTEL_RUNS, "tail"],
            env=_environment(OTEL_RUNS_DB=os.environ["OTEL_RUNS_DB"], TERM="xterm-256color", COLUMNS="100"),
            stdout=theirs,
            timeout=TIMEOUT,
            check=True,
        )
        printed = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "\x1b[31mfailed" in printed
    assert "\x1b" not in _run("tail").stdout


def test_locked_history_can_still_be_read(rows: Rows) -> None:
    rows.run(1)
    with rows.database.write():
        assert _run("tail").returncode == 0


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("tail --status ", ["created", "running", "completed", "degraded", "failed", "cancelled"]),
        ("tail --name da", ["daily_sales"]),
        ("tail --env ", ["default"]),
        ("models --sort s", ["success", "slowest"]),
        ("show 0af", ["0af76519"]),
        ("show 0af765199", []),
        ("show 0af76519-9c", ["0af76519-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    ],
)
def test_shell_is_offered_what_fits(rows: Rows, typed: str, offered: list[str]) -> None:
    rows.run(0x0AF76519)
    rows.run(0xB1FFC88A)
    done = _complete(typed, os.environ["OTEL_RUNS_DB"])
    assert (done.stdout.split(), done.stderr) == (offered, "")


def test_completion_is_silent_where_there_is_no_history_or_a_foreign_file(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    foreign.write_text("no database " * 100)
    for path in (tmp_path / "nothing.db", foreign):
        done = _complete("show ", str(path))
        assert (done.stdout.split(), done.stderr) == ([], "")


HOSTILE = (
    r"x\$(touch PWNED)",
    "x$(touch PWNED)",
    "x`touch PWNED`",
    "x;touch PWNED",
    "x'; touch PWNED; '",
    'x"; touch PWNED; "',
    "x\ntouch PWNED",
    "x\tPWNED",
    "load [/data/x]",
    "x [bold]",
    "*",
    "~root",
    "{x,y}",
    "-x",
    "=ls",
    "größe",
    "x" * 500 + " " + "y" * 500,
)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("typed", ["tail --name ", "tail --env "])
def test_shell_is_offered_only_names_that_no_shell_acts_on(rows: Rows, shell: str, typed: str) -> None:
    for number, name in enumerate((*HOSTILE, "load-1.2/x:y@z")):
        rows.run(number, name=name, environment=name)
    done = _complete(typed, os.environ["OTEL_RUNS_DB"], shell)
    offered = {
        "bash": "load-1.2/x:y@z",
        "zsh": r"""_arguments '*: :(("load-1.2/x\\:y@z"))'""",
        "fish": "load-1.2/x:y@z",
    }
    assert (done.stdout.strip(), done.stderr) == (offered[shell], "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_help_beside_an_id_holds_nothing_that_a_shell_acts_on(rows: Rows, shell: str) -> None:
    for number, name in enumerate(HOSTILE):
        rows.run(number, name=name)
    done = _complete("show ", os.environ["OTEL_RUNS_DB"], shell)
    offer = {"zsh": r'"[0-9a-f]{8}":"([\w .@%+,/=-]|\\\\:)*"', "fish": r"[0-9a-f]{8}\t[\w .:@%+,/=-]*"}[shell]
    offers = done.stdout.strip().removeprefix("_arguments '*: :((").removesuffix("))'").splitlines()
    assert len(offers) == len(HOSTILE)
    assert [one for one in offers if not re.fullmatch(offer, one, re.ASCII)] == []
    assert done.stderr == ""


def test_shell_is_offered_no_runs_nested_in_others(rows: Rows) -> None:
    rows.nested_run(rows.run(0x0AF76519), 0x0AF7651A, name="nested")
    assert _complete("show 0af", os.environ["OTEL_RUNS_DB"]).stdout.split() == ["0af76519"]


def _complete(typed: str, database: str, shell: str = "bash") -> subprocess.CompletedProcess[str]:
    words = f"otel-runs {typed}"
    return _run(
        _OTEL_RUNS_COMPLETE=f"complete_{shell}",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
        _TYPER_COMPLETE_ARGS=words,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
        OTEL_RUNS_DB=database,
        COLUMNS="80",
    )
