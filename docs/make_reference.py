"""Write docs/cli.md and docs/settings.md from the commands and the table of settings.

Run it after changing a command or a setting: ``python docs/make_reference.py``. A test compares the result.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer

from otel_runs.cli.app import app
from otel_runs.cli.exits import EXIT_CODES
from otel_runs.cli.usage import argument_usage
from otel_runs.query import results
from otel_runs.settings import SETTINGS

HERE = Path(__file__).parent

INTRODUCTION = """\
# The command line

<!-- Written by docs/make_reference.py from the commands themselves; change them, not this file. -->

`otel-runs` reads the run history; only `exec`, `import`, `replay`, `serve`, `reap`, `demo` and `db upgrade` write to
it. The history is, in this order, the database of a command's `--db`, of `otel-runs --db`, of the variable
`OTEL_RUNS_DB`, or `.otel_runs/runs.db` of the project you are in ([settings](settings.md)).

On a terminal, listings are tables fitted to its width. In a file or pipe they are plain columns, every one of them and
nothing cut off, without colours. `NO_COLOR`, `FORCE_COLOR` and `COLUMNS` are minded. Times are UTC. `-` is NULL: nobody
reported it; `0` is zero. Characters in names and errors that would act on the terminal are shown instead, such as `\\e`
for the escape character. Metadata that somebody wrote by hand and that is no JSON object is shown under the name
`metadata`; text that is no JSON is kept so when more of its run is stored.

![otel-runs models: a table of models with runs, success, average and slowest time and last status](images/models.svg)

Ids are shown by their first 8 characters; `show` takes any beginning of an id that fits one run. A nested run's id
begins like that of the run it is in, so lists show the beginning of its span id instead, and `show` takes this, too.

Results go to standard output, hints and errors to standard error. `otel-runs --install-completion` sets up your shell
to complete commands, options, ids, statuses, and names that a shell takes without quotes.

## Exit codes

"""

JSON_INTRODUCTION = """\
## JSON

`--json` prints UTF-8. `tail` prints an array of runs, oldest first; `models` an array of models; both print `[]` where
there is no history yet. `tail --follow` prints a run as one line each time it appears or changes; `watch` prints
[lines of its own](watch.md#what-the-words-mean). `show` prints one run
with more fields: `nested_runs` (an array of runs, at any depth), `model_runs` (an array of model runs, those of nested
runs among them) and how many `--limit` left out: `hidden_runs`, `hidden_model_runs` and, of these, `hidden_failures`.
`reap` prints an object of three arrays of runs, `lost`, `spared` and `heard`, each run with `id`, `trace_id`, `name`,
`heartbeat_at` and the `reason`.

Fields are always all there; `null` is "not reported". Times are ISO 8601 in UTC with microseconds,
`2026-01-09T14:23:15.000000Z`. [The tables](sql.md) say what the fields mean. New fields may be added; none is renamed
or removed.

"""

JSON_TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "datetime": "time",
    "dict[str, Any]": "object",
}


class Command(NamedTuple):
    """A command with the words that call it."""

    words: str
    command: Any
    """A click command; typer may carry its own copy of click, so the type is not named."""


def commands() -> Iterator[Command]:
    """Every command, depth first, the whole first."""
    yield from _below(Command("otel-runs", typer.main.get_command(app)))


def _below(parent: Command) -> Iterator[Command]:
    yield parent
    for name, command in getattr(parent.command, "commands", {}).items():
        yield from _below(Command(f"{parent.words} {name}", command))


def cli_page() -> str:
    """The whole of docs/cli.md."""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in EXIT_CODES.items())
    parts = [INTRODUCTION, f"| Code | Meaning |\n|---|---|\n{codes}\n`exec` ends with the exit code of its program.\n"]
    parts += [_command_section(command) for command in commands()]
    parts += ["\n", JSON_INTRODUCTION]
    parts += [
        _fields_table("A run", results.StoredRun),
        _fields_table("A model run", results.StoredModelRun),
        _fields_table("A model", results.ModelStatistics),
    ]
    return "".join(parts).rstrip() + "\n"


def _command_section(command: Command) -> str:
    arguments = [parameter for parameter in command.command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.command.params if parameter.param_type_name == "option"]
    usage = " ".join([f"`{command.words} [OPTIONS]", *(argument_usage(argument) for argument in arguments)]) + "`"
    if hasattr(command.command, "commands"):
        usage = f"`{command.words} [OPTIONS] COMMAND`"
    text = f"\n## {command.words}\n\n{usage}\n\n{_paragraphs(command.command.help)}\n"
    rows = [f"| `{argument_usage(argument)}` | {_cell(argument.help)} |\n" for argument in arguments]
    rows += [f"| {_option_usage(option)} | {_cell(option.help)} |\n" for option in options]
    if rows:
        text += "\n| Option | Meaning |\n|---|---|\n" + "".join(rows)
    return text


def _option_usage(option: Any) -> str:
    value = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
    return ", ".join(f"`{name}{value}`" for name in (*option.opts, *option.secondary_opts))


def _paragraphs(text: str | None) -> str:
    return inspect.cleandoc(text or "").replace("`", "").replace("\f", "")


def _cell(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").replace("|", "\\|").replace("*", "\\*")


def _fields_table(title: str, type_: Any) -> str:
    # NamedTuple keeps annotations as forward references.
    hints = {name: hint.__forward_arg__ for name, hint in inspect.get_annotations(type_).items()}
    rows = "".join(f"| `{name}` | {_json_type(hints[name])} |\n" for name in type_._fields)
    return f"### {title}\n\n| Field | Type |\n|---|---|\n{rows}\n"


def _json_type(annotation: str) -> str:
    base, _, optional = annotation.partition(" | ")
    return JSON_TYPES[base] + (" or null" if optional else "")


def settings_page() -> str:
    """The whole of docs/settings.md."""
    rows = "".join(
        f"| `{setting.env}` | {f'`{setting.default}`' if setting.default else ''} | {_cell(setting.help)} |\n"
        for setting in SETTINGS
    )
    return f"""\
# Settings

<!-- Written by docs/make_reference.py from otel_runs/settings.py; change that, not this file. -->

Read from the environment; an empty variable counts as unset. OpenTelemetry's own variables (`OTEL_SERVICE_NAME`,
`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_ENDPOINT` and so on) mean what they mean everywhere.

| Variable | Default | Meaning |
|---|---|---|
{rows}"""


PAGES = {HERE / "cli.md": cli_page, HERE / "settings.md": settings_page}
"""Each page and what writes it."""


def main() -> None:
    """Write the pages."""
    for path, page in PAGES.items():
        path.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
