"""Handlers: those of the pipeline's own have the say, and ours are there only where they are asked for."""

from __future__ import annotations

import signal

import pytest

from tests.export.signalled import CANCELLED, HEAD, NIGHTLY, killed, steps, the_run
from tests.programs import Programs
from tests.systems import needs_signals

pytestmark = needs_signals


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        ("def handler(number, frame): sys.exit(143)", 143),
        ("def handler(number, frame): signal.signal(number, signal.SIG_IGN); sys.exit()", 0),
        ("handler = lambda *_: sys.exit('stopped')", 1),
        ("def handler(number, frame): raise KeyboardInterrupt", -signal.SIGINT),
        ("class Stop(Exception): pass\ndef handler(number, frame): raise Stop", 1),
        ("class Stopper:\n  def stop(self, number, frame=None): sys.exit(3)\nhandler = Stopper().stop", 3),
    ],
    ids=["exit code", "exit 0", "lambda", "KeyboardInterrupt", "exception of its own", "method"],
)
def test_a_handler_of_the_pipelines_has_the_say_and_the_ending_names_the_signal(
    programs: Programs, handler: str, code: int
) -> None:
    set_it = f"{handler}\nsignal.signal(signal.SIGTERM, handler)\n"
    # Every other one is set before we are, the rest after.
    program = set_it + NIGHTLY if code in (143, 1) else NIGHTLY.replace("with run", set_it + "with run")

    died = killed(programs, program, signal.SIGTERM)

    assert died.code == code
    assert the_run(programs) == CANCELLED
    assert steps(programs) == {"done": ("success", "completed"), "load": CANCELLED}


def test_plain_spans_that_a_handler_of_the_pipelines_leaves_name_the_signal(programs: Programs) -> None:
    died = killed(
        programs,
        """
otel_runs.configure(url)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with tracer.start_as_current_span("nightly"), tracer.start_as_current_span("load"):
    ready()
""",
        signal.SIGTERM,
    )

    assert (died.code, died.stderr) == (0, "")
    assert the_run(programs) == CANCELLED
    assert steps(programs) == {"load": CANCELLED}


def test_a_handler_that_lets_the_pipeline_go_on_ends_nothing(programs: Programs) -> None:
    died = killed(
        programs,
        """
otel_runs.configure(url)
asked = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
with run("nightly"), step("load"):
    print("ready", flush=True)
    while not asked.is_set(): time.sleep(0.01)
""",
        signal.SIGTERM,
    )

    assert died.code == 0
    assert the_run(programs) == ("completed", "completed")
    assert steps(programs) == {"load": ("success", "completed")}


def test_an_exit_of_its_own_is_not_taken_for_a_signals(programs: Programs) -> None:
    programs.python(HEAD + "signal.signal(signal.SIGTERM, lambda *_: None)\n" + NIGHTLY.replace("ready()", "exit(143)"))

    assert the_run(programs) == ("failed", "exit:143")


def test_an_ignored_signal_stays_ignored(programs: Programs) -> None:
    died = killed(
        programs,
        """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
otel_runs.configure(url)
with run("nightly"):
    print("ready", flush=True)
    sys.stdin.read()  # until the signal is sent
""",
        signal.SIGHUP,
    )

    assert died.code == 0
    assert the_run(programs) == ("completed", "completed")


def test_programs_that_are_started_have_the_default(programs: Programs) -> None:
    done = programs.python(
        HEAD
        + """
import subprocess
otel_runs.configure(url)
ask = "import signal; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
subprocess.run([sys.executable, "-c", ask])
"""
    )

    assert done.stdout == "False\nTrue\n"


SET_UPS = {
    "configure": ("otel_runs.configure(url)", {}, True),
    "environment": ("with run('nightly'): pass", {"OTEL_RUNS_DB": "runs.db"}, True),
    "nobody asks": ("with run('nightly'): pass", {}, False),
    "timeout 0": ("otel_runs.configure(url)", {"OTEL_RUNS_SIGNAL_TIMEOUT": "0"}, False),
    "shut down": ("otel_runs.configure(url).shutdown(); logging.disable()", {}, False),
    "exporter": ("otel_runs.RunsSpanExporter(url)", {}, False),
    "thread": ("t = threading.Thread(target=otel_runs.configure, args=(url,)); t.start(); t.join()", {}, False),
    "blocked": ("signal.pthread_sigmask(signal.SIG_BLOCK, [15]); otel_runs.configure(url)", {}, False),
}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each of them finds: children of one program, which has imported for all and set up nothing.

    In a run: children are workers, which watch signals only there.
    """
    done = Programs(tmp_path_factory.mktemp("watched")).python(
        HEAD
        + f"""
for name, (code, environ, _) in {SET_UPS!r}.items():
    pid = os.fork()
    if pid == 0:
        os.environ.update(environ)
        exec(code)
        with run("asked"):
            print(name, signal.getsignal(15) is not signal.SIG_DFL, signal.getsignal(2).__name__, sep=": ")
        sys.exit()
    assert os.waitpid(pid, 0)[1] == 0, name
"""
    )
    assert done.stderr == ""
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", SET_UPS)
def test_signals_are_watched_only_where_the_set_up_is_asked_for(watched: dict[str, str], name: str) -> None:
    *_, expected = SET_UPS[name]
    assert watched[name] == f"{expected}: default_int_handler"
