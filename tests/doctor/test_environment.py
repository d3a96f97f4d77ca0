"""Each check of the variables speaks where it should, and is silent where it should not."""

from __future__ import annotations

import pytest

from otel_runs.doctor.environment import findings
from otel_runs.settings import SETTINGS, Setting, patterns


@pytest.mark.parametrize(
    ("environ", "check"),
    [
        ({"OTEL_SDK_DISABLED": "TRUE"}, "sdk-disabled"),
        ({"OTEL_RUNS_DB": "mysql://host/db"}, "bad-value"),
        ({"OTEL_RUNS_DB": "oracle://me:hunter2@db/runs"}, "bad-value"),
        ({"OTEL_RUNS_FLUSH_TIMEOUT": "soon"}, "bad-value"),
        ({"OTEL_RUNS_FLUSH_TIMEOUT": "-1"}, "bad-value"),
        ({"OTEL_RUNS_STRICT": "maybe"}, "bad-value"),
        ({"OTEL_RUNS_TRACE_URL": "http://jaeger:16686"}, "bad-value"),
        ({"OTEL_RUNS_SPOOL_FSYNC": "sometimes"}, "bad-value"),
        ({"OTEL_RUNS_LIMIT_TEXT": "1.5"}, "bad-value"),
        ({"OTEL_RUNS_LIMIT_TXT": "5"}, "unknown-setting"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_RUNS_DB": "runs.db"}, "exporter-none"),
        ({"OTEL_TRACES_EXPORTER": "otel_runs,nobody"}, "unknown-exporter"),
        ({"OTEL_TRACES_EXPORTER": "otel_runs", "OTEL_PYTHON_TRACER_PROVIDER": "other"}, "two-providers"),
        ({"OTEL_TRACES_EXPORTER": "otel_runs", "OTEL_TRACES_SAMPLER": "always_off"}, "sampled-roots"),
        ({"OTEL_TRACES_EXPORTER": "otel_runs", "OTEL_TRACES_SAMPLER": "traceidratio"}, "sampled-roots"),
        ({"OTEL_RUNS_DB": "none"}, "no-way-out"),
        ({"OTEL_RUNS_LOST_AFTER": "20"}, "impatient-reaper"),
        ({"OTEL_RUNS_HEARTBEAT": "30"}, "impatient-reaper"),
        ({"OTEL_PROPAGATORS": "b3"}, "no-trace-context"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:hunter2@localhost:4317/"}, "endpoint-protocol"),
    ],
)
def test_trouble_is_found_with_what_it_means_and_what_to_do(environ: dict[str, str], check: str) -> None:
    (found,) = findings(environ)
    assert found.check == check
    assert found.severity != "note"
    assert found.means
    assert found.do
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"PATH": "/bin", "OTEL_SDK_DISABLED": "false", "OTEL_RUNS_DB": "", "OTEL_TRACES_EXPORTER": ""},
        {"OTEL_RUNS_DB": "postgresql://me@db/runs", "OTEL_RUNS_STRICT": "yes", "OTEL_RUNS_FLUSH_TIMEOUT": "0.5"},
        {"OTEL_RUNS_DB": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"},
        {"OTEL_RUNS_LOST_AFTER": "0"},
        {"OTEL_RUNS_HEARTBEAT": "0"},
        {"OTEL_TRACES_EXPORTER": "otel_runs,otlp", "OTEL_TRACES_SAMPLER": "parentbased_always_on"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {"OTEL_PROPAGATORS": "b3, tracecontext"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_PYTHON_TRACER_PROVIDER": "other"},
        {setting.env: setting.default or "" for setting in SETTINGS},
    ],
)
def test_nothing_is_said_where_all_is_well(environ: dict[str, str]) -> None:
    assert list(findings(environ)) == []


@pytest.mark.parametrize(
    "setting", [each for each in SETTINGS if each.parse not in {str, patterns}], ids=lambda each: each.env
)
def test_value_that_the_reader_of_a_setting_refuses_is_found(setting: Setting[object]) -> None:
    (found,) = findings({setting.env: "no such value"})
    assert found.check == "bad-value"
    assert setting.env in found.found


def test_unknown_setting_is_told_with_the_one_that_is_meant() -> None:
    (near,) = findings({"OTEL_RUNS_LIMIT_TXT": "5"})
    (far,) = findings({"OTEL_RUNS_XYZZY": "5"})
    assert ("OTEL_RUNS_LIMIT_TEXT" in near.do, "docs/settings.md" in far.do) == (True, True)
