"""Runs of agents: a root span that invokes an agent, with what such platforms keep of a run."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from otel_runs import attributes as key
from otel_runs.spans.span import Resource, Span
from otel_runs.store.engine import Database
from tests.ingest.stored import save, stored_run
from tests.ingest.traces import SECOND, START, run_id, span

REQUEST = {
    key.GEN_AI_OPERATION: "invoke_agent",
    key.GEN_AI_AGENT_NAME: "support",
    key.GEN_AI_TTFT: 0.35,
    key.TENANT_ID: "acme",
    key.BACKGROUND: True,
    "gen_ai.request.temperature": 0.2,
    "gen_ai.request.max_tokens": 500,
    f"{key.METADATA_PREFIX}project": "helpdesk",
}


def invocation(status: str | None = None, **more: str) -> Span:
    """An agent that answered for 100 seconds."""
    words = {} if status is None else {key.STATUS: status}
    resource = Resource({key.SERVICE_NAME: "agents"})
    return span(0, name="invoke_agent support", attributes={**REQUEST, **words, **more}, resource=resource)


def test_run_of_an_agent_has_an_id_its_agent_and_a_status(database: Database) -> None:
    save(database, [invocation()])
    run = stored_run(database, run_id())
    assert str(uuid.UUID(run["id"])) == run["id"]
    assert (run["name"], run["service_name"], run["status"]) == ("invoke_agent support", "agents", "completed")


def test_run_of_an_agent_keeps_settings_that_were_asked_for_metadata_and_stop_reason(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RUNS_METADATA", "gen_ai.request.*, gen_ai.agent.*")
    save(database, [invocation(**{key.STOP_REASON: "max_steps"})])
    run = stored_run(database, run_id())
    assert run["stop_reason"] == "max_steps"
    assert run["metadata"] == {
        "project": "helpdesk",
        "gen_ai.agent.name": "support",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.max_tokens": 500,
    }


def test_run_of_an_agent_has_first_token_whole_time_organization_and_project(database: Database) -> None:
    save(database, [invocation()])
    run = stored_run(database, run_id())
    assert (run["ttft_ns"], run["duration_ns"]) == (350_000_000, 100 * SECOND)
    assert (run["tenant_id"], run["metadata"]["project"], run["background"]) == ("acme", "helpdesk", True)


@pytest.mark.parametrize(
    ("word", "status", "reason"),
    [(None, "completed", "completed"), ("failed", "failed", "error"), ("cancelled", "cancelled", "cancelled")],
)
def test_end_sets_the_time_of_completion_and_has_a_stop_reason(
    database: Database, word: str | None, status: str, reason: str
) -> None:
    save(database, [span(0, open_=True)])
    running = stored_run(database, run_id())
    assert (running["status"], running["completed_at"], running["stop_reason"]) == ("running", None, None)
    save(database, [invocation(word)])
    ended = stored_run(database, run_id())
    assert (ended["status"], ended["stop_reason"]) == (status, reason)
    assert ended["completed_at"] == datetime.fromtimestamp(START // SECOND + 100, UTC)
