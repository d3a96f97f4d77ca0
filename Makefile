# Everything runs in environments made from the lock files in requirements/, with the hashes checked. A machine needs
# Python 3.11 or newer, pip and make. To choose the interpreter: make test PYTHON=python3.13

ifndef PYTHON
PYTHON := $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done),python3)
endif

# Options for pytest, for instance: make test ARGS='tests/store -k sqlite'
ARGS ?=
# Worker processes of the tests; each starts PostgreSQL servers of its own.
WORKERS ?= 2

SOURCES := otel_runs tests bench docs

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo servers test test-lowest test-sqlalchemy-2.0 cover check format bench bench-receiving lock clean

help: ## Show the targets
	@sed -n 's/^\([a-z0-9.-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-20s %s\n", $$1, $$2 }'

demo: .venv-run/installed ## Run the example pipeline twice and show its runs
	.venv-run/bin/otel-runs demo

servers: .venv/installed ## Build the tests' Collector, Jaeger, Kafka and Compose client, once (needs Go 1.26 and Maven)
	.venv/bin/python -m tests.servers.builds

test: .venv/installed ## Run the tests, on SQLite and on PostgreSQL 16 and 18 (started by the tests)
	.venv/bin/python -m pytest -n $(WORKERS) $(ARGS)

test-lowest: .venv-lowest/installed ## Run the tests on the lowest versions that pyproject.toml allows
	.venv-lowest/bin/python -m pytest -n $(WORKERS) $(OLDER) $(ARGS)

test-sqlalchemy-2.0: .venv-sqlalchemy-2.0/installed ## Run the tests on the newest versions, but SQLAlchemy 2.0
	.venv-sqlalchemy-2.0/bin/python -m pytest -n $(WORKERS) $(OLDER) $(ARGS)

# Older versions warn about newer Python. tests/project and tests/typing look at the source, which is the same; what is
# between the processes of tests/collector is OTLP, and what happens to those of tests/faults no version changes, nor to a
# server that is killed or overrun.
OLDER := -W default --ignore=tests/project --ignore=tests/typing --ignore=tests/collector --ignore=tests/faults \
    --ignore=tests/server/test_kill.py --ignore=tests/server/test_load.py

cover: .venv/installed ## Run the tests and show the lines that none of them reaches
	.venv/bin/python -m coverage erase
	.venv/bin/python -m coverage run -m pytest $(ARGS)
	.venv/bin/python -m coverage combine --quiet
	.venv/bin/python -m coverage report

check: .venv/installed ## Check format, lint, types, import layers and links
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/pyright --pythonpath .venv/bin/python
	.venv/bin/python -m pytest -q tests/project/test_layers.py tests/project/test_links.py

format: .venv/installed ## Format the code and repair what the linter can
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench: .venv-bench/installed ## Measure, and write bench/results.md
	.venv-bench/bin/python -m bench.run

bench-receiving: .venv-bench/installed ## Measure otel-runs serve under load, and write bench/receiving.md (needs make servers)
	.venv-bench/bin/python -m bench.receiving

UV_LOCK = env -u UV_FIND_LINKS .venv/bin/uv pip compile pyproject.toml --quiet --upgrade \
    --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
    --custom-compile-command 'make lock' --extra postgres --extra zstd --group build

lock: .venv/installed ## Renew the lock files
	$(UV_LOCK) -o requirements/run.txt
	$(UV_LOCK) -o requirements/serve.txt --extra server
	$(UV_LOCK) -o requirements/dev.txt --extra server --group test --group newest --group check
	$(UV_LOCK) -o requirements/bench.txt --extra server --group test --group bench
	@# The instrumentation packages of OpenTelemetry 1.27 import pkg_resources, on which newer setuptools warn or fail.
	echo 'setuptools<80' | $(UV_LOCK) -o requirements/lowest.txt --extra server --group test --resolution lowest-direct --constraint -
	echo 'sqlalchemy<2.1' | $(UV_LOCK) -o requirements/sqlalchemy-2.0.txt --extra server --group test --constraint -

clean: ## Remove the environments and all that the tools left behind
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* dist
	find . -name __pycache__ -prune -exec rm -rf {} +

# An environment is made again when its lock file changes; the package itself is installed again when pyproject.toml does.
# Debian's Python comes without ensurepip: there, the pip of the machine fills the environment.
ENSUREPIP = $(shell $(PYTHON) -c 'import ensurepip' 2>/dev/null && echo yes)
PIP = $(if $(ENSUREPIP),$(@D)/bin/python -m pip,$(PYTHON) -m pip --python $(@D)/bin/python) \
    --disable-pip-version-check install --quiet
define fill
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
    { echo "$(PYTHON) is not Python 3.11 or newer. Install one, or name it: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
@echo "Making $(@D) from $<"
@$(PYTHON) -m venv --clear $(if $(ENSUREPIP),,--without-pip) $(@D)
@$(PIP) --require-hashes --requirement $<
@touch $@
endef
define install
@$(PIP) --no-deps --no-build-isolation --editable .
@touch $@
endef

.venv/filled: requirements/dev.txt
	$(fill)

.venv-%/filled: requirements/%.txt
	$(fill)

.venv/installed: .venv/filled pyproject.toml
	$(install)

.venv-%/installed: .venv-%/filled pyproject.toml
	$(install)

# Not to be deleted as intermediate steps.
.PRECIOUS: .venv-%/filled .venv-%/installed
