"""Every file of ``collector-config/`` is one that a real Collector takes, safe by default, and explained."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.servers.builds import built
from tests.servers.collector import CONFIGS, validate
from tests.servers.missing import needed

WHOLE = ["local.yaml", "production.yaml", "kafka.yaml"]
ADDED = ["filter-noise.yaml", "redact-prompts.yaml"]
ADDED_TO_PRODUCTION = ["secure-inlet.yaml"]
JAEGER = ["jaeger.yaml"]
DEFAULT = re.compile(r"\$\{env:(?P<name>[A-Z_]+):-(?P<default>[^}]*)\}")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """What has no default that a test's machine could have: files that hold secrets."""
    token = tmp_path / "token"
    token.write_text("token\n")
    return {"RUNS_TOKEN_FILE": str(token), "COLLECTOR_TOKEN_FILE": str(token), "COLLECTOR_STORAGE": str(tmp_path)}


@pytest.fixture(autouse=True, scope="module")
def _servers() -> None:
    with needed():
        built("collector")
        built("jaeger")


@pytest.mark.parametrize(
    "files",
    [
        *([name] for name in WHOLE),
        *([whole, added] for whole in WHOLE for added in ADDED),
        *([whole, *ADDED] for whole in WHOLE),
        *(["production.yaml", added] for added in ADDED_TO_PRODUCTION),
    ],
    ids="+".join,
)
def test_collector_takes_the_file(files: list[str], environ: dict[str, str]) -> None:
    done = validate(*files, environ=environ)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_collector_does_not_take_a_file_with_an_unknown_setting(tmp_path: Path, environ: dict[str, str]) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((CONFIGS / "local.yaml").read_text().replace("limit_mib", "limit_mb"))
    done = validate(str(wrong), environ=environ)

    assert done.returncode == 1
    assert "limit_mb" in done.stderr


def test_jaeger_takes_its_file() -> None:
    command = [str(built("jaeger")), "validate", f"--config={CONFIGS / 'jaeger.yaml'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_every_file_is_tested_here_and_explained_in_the_readme() -> None:
    files = {path.name for path in CONFIGS.iterdir()}
    readme = (CONFIGS / "README.md").read_text(encoding="utf-8")

    assert {name for name in files if name.endswith(".yaml")} == {*WHOLE, *ADDED, *ADDED_TO_PRODUCTION, *JAEGER}
    assert {name for name in files - {"README.md"} if f"`{name}`" not in readme} == set()


@pytest.mark.parametrize("name", [*WHOLE, *JAEGER])
def test_file_listens_on_loopback_and_calls_loopback_unless_told_otherwise(name: str) -> None:
    text = (CONFIGS / name).read_text(encoding="utf-8")
    endpoints = re.findall(r"^\s*(?:endpoint|host|brokers): (.+?)(?: #.*)?$", text, re.MULTILINE)

    assert endpoints
    for endpoint in endpoints:
        default = DEFAULT.search(endpoint)
        assert default, f"{endpoint} cannot be set from outside"
        assert default["default"].removeprefix("https://").startswith("127.0.0.1")


def test_no_file_holds_a_secret() -> None:
    for path in CONFIGS.glob("*.yaml"):
        secrets = re.findall(r"^\s*(?:token|password|api_key|filename): (.+)$", path.read_text(), re.MULTILINE)
        assert [secret for secret in secrets if not secret.startswith("${env:")] == []


@pytest.mark.parametrize("name", [*WHOLE, *ADDED_TO_PRODUCTION, *JAEGER])
def test_readme_names_every_variable_with_its_default(name: str) -> None:
    readme = (CONFIGS / "README.md").read_text(encoding="utf-8")
    variables = {match["name"]: match["default"] for match in DEFAULT.finditer((CONFIGS / name).read_text())}

    assert variables
    assert [
        f"| `{key}` | `{value}` |" for key, value in variables.items() if f"| `{key}` | `{value}` |" not in readme
    ] == []


def test_links_of_jaegers_page_use_only_what_a_span_has() -> None:
    patterns = json.loads((CONFIGS / "jaeger-ui.json").read_text())["linkPatterns"]
    for pattern in patterns:
        allowed = {"traceID"} if pattern["type"] == "traces" else {pattern["key"]}
        assert set(re.findall(r"#\{([^}]+)\}", pattern["url"])) == allowed
