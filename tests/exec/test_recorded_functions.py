"""Functions that ``--step``, ``--model`` and ``--run`` name, and what libraries do where none is named."""

from __future__ import annotations

import sys

import pytest

from tests.exec.executed import exec_line, the_run
from tests.programs import Programs
from tests.systems import needs_posix_spawn

pytestmark = needs_posix_spawn


@pytest.mark.parametrize("option", ["--step", "--model", "--run"])
def test_functions_that_are_not_named_as_such_are_wrong_usage_and_start_nothing(
    programs: Programs, option: str
) -> None:
    done = programs.run(exec_line(option, "shop.load", "--", "touch", "started"))
    assert (done.returncode, "expected MODULE:PATTERN" in done.stderr) == (2, True)
    assert list(programs.folder.iterdir()) == []


def test_functions_of_the_script_become_steps(programs: Programs) -> None:
    program = programs.write(
        """
        def load_orders(): return 1
        def load_items(): raise KeyError("x")
        def other(): load_orders()
        if __name__ == "__main__":
            other()
            try: load_items()
            except KeyError: pass
        """
    )

    done = programs.run(exec_line("--step", "pipeline:load_*", "--", sys.executable, str(program)))

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows("SELECT name, status, kind FROM model_runs ORDER BY name") == [
        ("load_items", "failed", "step"),
        ("load_orders", "success", "step"),
    ]
    assert the_run(programs)[0] == "pipeline"


def test_functions_of_imported_modules_become_models_and_nested_runs(programs: Programs) -> None:
    programs.write("", "shop/__init__.py")
    programs.write("def build(): pass\ndef window(): build()", "shop/models.py")
    program = programs.write("from shop.models import window\nwindow()")

    done = programs.run(
        exec_line("--model", "shop.models:build", "--run", "shop.models:window", "--", sys.executable, str(program))
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows(
        "SELECT r.name, p.name FROM runs r LEFT JOIN runs p ON p.id = r.parent_run_id ORDER BY r.name"
    ) == [("pipeline", None), ("window", "pipeline")]
    assert programs.rows("SELECT name, kind FROM model_runs") == [("build", "model")]


def test_a_target_that_is_none_is_refused_before_anything_starts(programs: Programs) -> None:
    done = programs.run(exec_line("--step", "load_*", "--", "touch", "started"))

    assert done.returncode == 2
    assert "MODULE:PATTERN" in done.stderr
    assert not (programs.folder / "started").exists()


def test_what_libraries_do_becomes_steps_of_the_run_in_every_thread(programs: Programs) -> None:
    program = programs.write(
        """
        import sqlite3, threading
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.cursor().execute("CREATE TABLE t (x)")
        # A thread by which no instrumentation hands the context over.
        import _thread
        done = threading.Lock(); done.acquire()
        _thread.start_new_thread(lambda: (connection.cursor().execute("SELECT 1"), done.release()), ())
        done.acquire()
        """
    )

    done = programs.run(exec_line("--", sys.executable, str(program)))

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows("SELECT m.name, m.kind FROM model_runs m JOIN runs r ON r.id = m.run_id ORDER BY 1") == [
        ("CREATE", "query"),
        ("SELECT", "query"),
    ]
    assert programs.rows("SELECT count(*) FROM runs") == [(1,)]


def test_instrumentations_can_be_left_out(programs: Programs) -> None:
    program = programs.write("import sqlite3\nsqlite3.connect(':memory:').cursor().execute('SELECT 1')")

    programs.run(
        exec_line("--", sys.executable, str(program)), environ={"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "sqlite3"}
    )

    assert programs.rows("SELECT count(*) FROM model_runs") == [(0,)]
