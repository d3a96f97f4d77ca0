"""``otel-runs replay`` to an OTLP endpoint: what pipelines that store nothing themselves could not send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest
from packaging.version import Version

from otel_runs.spool.spool import Spool
from otel_runs.spool.status import Status, status
from tests.programs import Programs, otel_runs_command
from tests.servers.serve import Serve
from tests.spool.spans import some_spans
from tests.stored_names import names_in

PIPELINE = """
import otel_runs
from opentelemetry import trace
otel_runs.configure("none")
with trace.get_tracer("t").start_as_current_span("early"):
    with trace.get_tracer("t").start_as_current_span("step"):
        pass
"""


class Spooled:
    """A server that is not started yet, and a pipeline that has ended."""

    def __init__(self, programs: Programs, protocol: str) -> None:
        self.server = Serve(f"sqlite:///{programs.database}")
        self.endpoint = self.server.http if protocol == "http/protobuf" else f"http://{self.server.grpc}"
        self._programs = programs
        self._protocol = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        variables = {"OTEL_RUNS_DB": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint}
        self.variables: Mapping[str, str] = self._protocol | variables
        (programs.folder / ".otel_runs").mkdir()
        # Longer than an attempt: what the end of a process spools while it is being sent may be spooled twice.
        done = programs.python(PIPELINE, environ={**self.variables, "OTEL_RUNS_FLUSH_TIMEOUT": "20"})
        assert done.returncode == 0, done.stderr
        [self.folder] = (programs.folder / ".otel_runs" / "spool").iterdir()

    @property
    def status(self) -> Status:
        return status(self.folder)

    @property
    def called(self) -> Path:
        """The spool's folder, as the programs may call it."""
        return self.folder.relative_to(self._programs.folder)

    def replay(self, *options: str, environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        done = self._programs.run(
            otel_runs_command("replay", *options), environ=self._protocol if environ is None else environ
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def spooled(programs: Programs, request: pytest.FixtureRequest) -> Iterator[Spooled]:
    made = Spooled(programs, getattr(request, "param", "http/protobuf"))
    yield made
    made.server.stop()


GRPC: Final = pytest.param(
    "grpc",
    marks=pytest.mark.skipif(
        Version(version("opentelemetry-exporter-otlp-proto-grpc")) < Version("1.35"),
        reason="this exporter tries a dead endpoint for a minute, whatever its timeout says",
    ),
)


@pytest.mark.parametrize("spooled", ["http/protobuf", GRPC], indirect=True)
def test_what_waits_for_an_endpoint_is_sent_when_it_has_come_up(spooled: Spooled, programs: Programs) -> None:
    code, printed, errors = spooled.replay("--otlp-endpoint", spooled.endpoint)
    assert (code, printed) == (1, "")
    assert f"the OTLP endpoint {spooled.endpoint} takes no spans now" in errors
    assert str(spooled.folder) in errors
    assert (spooled.status.spans, spooled.status.quarantined) == (2, 0)

    spooled.server.start()

    assert spooled.replay("--otlp-endpoint", spooled.endpoint) == (
        0,
        f"Stored 2 spans from 1 file of the spool {spooled.called}.\n",
        "",
    )
    assert names_in(programs.database) == ["early", "step"]
    assert spooled.status.files == 0
    again = spooled.replay("--otlp-endpoint", spooled.endpoint)
    assert again == (0, f"Stored 0 spans from 0 files of the spool {spooled.called}.\n", "")


def test_variables_of_a_pipeline_that_stores_nothing_name_the_endpoint(spooled: Spooled, programs: Programs) -> None:
    code, _, errors = spooled.replay(environ=spooled.variables)
    assert (code, "the OTLP endpoint of the standard variables takes no spans now" in errors) == (1, True)
    another = Spool(spooled.folder, max_bytes=10**7, sync=False)
    another.append(some_spans(3))
    another.rotate()
    (spooled.folder / "20260101T000000.000000-1-abcd.jsonl").write_text("no JSON\n")
    spooled.server.start()

    code, printed, errors = spooled.replay(environ=spooled.variables)

    assert code == 1
    assert printed == f"Stored 5 spans from 3 files of the spool {spooled.called}. Put 1 span or line in quarantine.\n"
    assert str(spooled.folder / "quarantine") in errors
    assert {"early", "step"} < set(names_in(programs.database))
    assert (spooled.status.files, spooled.status.quarantined) == (0, 1)


@pytest.mark.parametrize("options", [("replay", "--db", "runs.db"), ("--db", "runs.db", "replay")])
def test_two_destinations_are_one_too_many(options: tuple[str, ...], tmp_path: Path) -> None:
    done = Programs(tmp_path).run([*otel_runs_command(*options), "--otlp-endpoint", "http://localhost:4318"])
    assert (done.returncode, "name two destinations" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []
