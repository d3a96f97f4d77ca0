"""Attribute keys the product reads and writes, each with its source.

Keys under ``otel_runs.`` are ours and exist only where no semantic convention does. All others are the
OpenTelemetry conventions' own names (semantic-conventions v1.44; GenAI conventions since v1.42 in their own
repository). They are spelled out here, not imported: the stable names move between modules of the
``opentelemetry-semantic-conventions`` package, which is itself a beta.
"""

from __future__ import annotations

from typing import Final

# Ours: identity.
KIND: Final = "otel_runs.kind"
"""str: what the span is: ``run``, ``model``, ``step``, ``task``, ``agent``, ``llm``, ``tool`` or ``query``."""
RUN_ID: Final = "otel_runs.run.id"
"""str, up to 64 characters: an id of the user's own; kept in ``runs.external_id``."""
RUN_KEY: Final = "otel_runs.run.key"
"""str, on a span or on the resource: joins several traces or processes into one run."""
RUN_NAME: Final = "otel_runs.run.name"
"""str: the run's name, where it is not the span's."""
PARENT_RUN: Final = "otel_runs.parent.run"
"""str, a run's id: stamped on every descendant when it starts."""
PARENT_STEP: Final = "otel_runs.parent.step"
"""str, a model run's id: stamped on every descendant when it starts. A span with the stamp of its run alone is right
below the run."""

# Ours: the model that is executed.
MODEL_PATH: Final = "otel_runs.model.path"
MODEL_MATERIALIZED: Final = "otel_runs.model.materialized"
"""str: ``table``, ``view``, ``incremental`` or the user's own word."""
MODEL_CONTENT_HASH: Final = "otel_runs.model.content_hash"
MODEL_DEPENDS_ON: Final = "otel_runs.model.depends_on"
"""str[]: paths of the models this one reads."""
MODEL_OWNER: Final = "otel_runs.model.owner"
MODEL_SCHEMA: Final = "otel_runs.model.schema_name"
MODEL_TAGS: Final = "otel_runs.model.tags"
"""str[]"""

# Ours: what was done.
ROWS_IN: Final = "otel_runs.rows_in"
ROWS_OUT: Final = "otel_runs.rows_out"
ROWS_AFFECTED: Final = "otel_runs.rows_affected"
ATTEMPT: Final = "otel_runs.attempt"
"""int >= 1: which try of a step this is."""
COST_USD: Final = "otel_runs.cost_usd"
METADATA_PREFIX: Final = "otel_runs.metadata."
"""``otel_runs.metadata.<key>``: any value; kept in the row's ``metadata`` under ``<key>``."""

# Ours: how it ended.
STATUS: Final = "otel_runs.status"
STOP_REASON: Final = "otel_runs.stop_reason"
STATUS_SOURCE: Final = "otel_runs.status_source"
STEPS_EXPECTED: Final = "otel_runs.steps_expected"
"""int: how many steps of the run its process saw end."""

# Ours: what it was done with.
INPUT_FINGERPRINT: Final = "otel_runs.input_fingerprint"
CONFIG_HASH: Final = "otel_runs.config_hash"
CODE_DIRTY: Final = "otel_runs.code.dirty"
"""bool: the working tree differed from ``vcs.ref.head.revision``; ``code_ref`` then ends in ``-dirty``."""
TENANT_ID: Final = "otel_runs.tenant_id"
BACKGROUND: Final = "otel_runs.background"
"""bool: nobody waits for this run."""

# Ours: log records that tell of a span, before it has ended or instead of sending it. Their other attributes are the
# span's so far.
EVENT_RUN_STARTED: Final = "otel_runs.run.started"
"""Event name of a log record: the span of its trace and span id, a run, has started at the record's time."""
EVENT_STEP_STARTED: Final = "otel_runs.step.started"
"""Event name of a log record: the same of a step; it must name its parent."""
EVENT_RUN_HEARTBEAT: Final = "otel_runs.run.heartbeat"
"""Event name of a log record: the process of the span, a run, was alive at the record's time; ``SPAN_START`` says when
the span started."""
EVENT_SPAN_ENDED: Final = "otel_runs.span.ended"
"""Event name of a log record: the span, a run or a step that no sampler has taken, has ended at the record's time;
``SPAN_START`` says when it started."""
SPAN_START: Final = "otel_runs.span.start_ns"
"""int, on a heartbeat or an ended span's record: when the span started, in nanoseconds since the Unix epoch."""
SPAN_NAME: Final = "otel_runs.span.name"
"""str, on such a record: the span's name."""
SPAN_KIND: Final = "otel_runs.span.kind"
"""str, on such a record: ``SERVER``, ``CLIENT``, ``PRODUCER``, ``CONSUMER`` or (also if missing) ``INTERNAL``."""
SPAN_PARENT_ID: Final = "otel_runs.span.parent_id"
"""str, 16 hexadecimal digits, on such a record: the span's parent. A root span has none."""
SPAN_PARENT_IS_REMOTE: Final = "otel_runs.span.parent_is_remote"
"""bool, on such a record: the parent is a span of another process."""
SPAN_STATUS: Final = "otel_runs.span.status"
"""str, on an ended span's record: the span's status, ``OK``, ``ERROR`` or (also if missing) ``UNSET``."""
SPAN_STATUS_MESSAGE: Final = "otel_runs.span.status_message"
"""str, on an ended span's record: the description of the status."""
SPAN_EXCEPTION: Final = "otel_runs.span.exception"
"""map, on an ended span's record: ``exception.type``, ``exception.message`` and ``exception.stacktrace`` of the span's
last exception event, as far as that has them."""
PROCESS: Final = "otel_runs.process"
"""str, on ``otel_runs.run.started`` and ``otel_runs.run.heartbeat``: which process of which machine the run is in, as
``otel_runs.process`` computes it."""

# Semantic conventions: resource, code, version control, session, errors.
SERVICE_NAME: Final = "service.name"
ENVIRONMENT: Final = "deployment.environment.name"
ENVIRONMENT_OLD: Final = "deployment.environment"
CODE_FUNCTION: Final = "code.function.name"
VCS_REVISION: Final = "vcs.ref.head.revision"
SESSION_ID: Final = "session.id"
ERROR_TYPE: Final = "error.type"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
PROCESS_EXIT_CODE: Final = "process.exit.code"
EVENT_NAME: Final = "event.name"
"""str, on a log record: its event name, from senders older than the record's own field for it."""

# Semantic conventions: generative AI (development).
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER: Final = "gen_ai.provider.name"
GEN_AI_SYSTEM: Final = "gen_ai.system"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_TTFT: Final = "gen_ai.response.time_to_first_chunk"
"""float, seconds."""
GEN_AI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_PROMPT_TOKENS: Final = "gen_ai.usage.prompt_tokens"
GEN_AI_COMPLETION_TOKENS: Final = "gen_ai.usage.completion_tokens"
GEN_AI_TOTAL_TOKENS: Final = "gen_ai.usage.total_tokens"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"

# Semantic conventions: databases.
DB_RETURNED_ROWS: Final = "db.response.returned_rows"
DB_AFFECTED_ROWS: Final = "db.response.affected_rows"
DB_ROWS_AFFECTED: Final = "db.rows_affected"

# Semantic conventions: CI/CD (release candidate).
CICD_PIPELINE_RUN_ID: Final = "cicd.pipeline.run.id"
CICD_PIPELINE_RESULT: Final = "cicd.pipeline.result"
CICD_TASK_RESULT: Final = "cicd.pipeline.task.run.result"
