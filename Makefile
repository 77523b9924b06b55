# push-sidecar: `make help` lists the targets. Everything is installed into .venv; Go and Java parts use their own caches.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What runs needs a fifth of what is developed with, so a first look installs that alone. With the developers' tools
# there already, or asked for beside it, they are what is installed.
RUNTIME := $(if $(wildcard $(READY))$(filter-out run demo clean help image,$(MAKECMDGOALS)),$(READY),$(VENV)/.runtime)
PY := $(BIN)/python
PYTEST := $(PY) -m pytest
WORKERS ?= 2
# What needs the machine for itself: load, and counts of what a load was told.
ALONE := tests/soak tests/interop/test_rollout.py

.DEFAULT_GOAL := help
.PHONY: help setup run demo test check lint type proto clients soak bench image clean lock

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(READY) ## install everything that the project needs from Python's registry, into .venv

$(READY): requirements-dev.lock
$(VENV)/.runtime: requirements.lock requirements-build.lock
# The interpreter compiles what it imports by itself; compiling all that there is takes a third of the time.
$(VENV)/.runtime: INSTALL_FLAGS := --no-compile
$(READY) $(VENV)/.runtime: pyproject.toml clients/python/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "push-sidecar needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "push-sidecar: installing $(filter %.lock,$^) into $(VENV); the first time takes about a minute"
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check $(INSTALL_FLAGS) --require-hashes \
		$(addprefix --requirement ,$(filter %.lock,$^))
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--editable clients/python --editable .
	@touch $@

run: $(RUNTIME) ## serve with the embedded simulator: no account, no configuration
	@$(PY) -m sidecar serve --simulate

demo: $(RUNTIME) ## one push of every audience and every message type, and where the time went
	@$(PY) -m sidecar.cli.demo

test: $(READY) ## run all tests: side by side what measures nothing, then the rest
	$(PYTEST) --numprocesses $(WORKERS) --no-loadscope-reorder --max-worker-restart 0 $(addprefix --ignore ,$(ALONE))
	$(PYTEST) $(ALONE)

check: lint type proto $(READY) ## all that a change must pass: format, lint, types, contract, tests with branch coverage
	$(PY) -m coverage erase
	$(MAKE) test PYTEST="$(PY) -m coverage run -m pytest"
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

lint: $(READY) ## formats and lint rules of Python and the Dockerfiles
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(BIN)/hadolint Dockerfile deploy/kubernetes/example/Dockerfile clients/go/example/traced/Dockerfile

type: $(READY) ## strict types
	$(PY) -m mypy
	$(PY) -m mypy --package bench
	$(PY) -m mypy proto/build.py docs/generate_configuration.py clients/python/example.py clients/python/interop.py \
		clients/python/traced_example.py deploy/jaeger/draw.py

proto: $(READY) ## the contract: lint, compatibility, and whether the committed stubs are fresh (needs Go)
	@if command -v go >/dev/null; then $(PY) proto/build.py lint breaking check; \
	elif [ "$$CI" = true ]; then echo "proto: Go is missing"; exit 1; \
	else echo "proto: skipped, Go 1.26 is missing (https://go.dev/dl)"; fi

clients: $(READY) ## generate the stubs that are committed (needs Go)
	$(PY) proto/build.py generate

soak: $(READY) ## the soak, chaos and fuzz tests in full; `make check` runs a tenth of them
	PUSH_SIDECAR_SOAK=1 $(PY) -m pytest tests/soak tests/fuzz tests/reliability --timeout 1800

bench: $(READY) ## compare with a naive sidecar and with Go, on this machine (needs Go)
	$(PY) -m bench.run

image: ## build the container image (needs Docker)
	@command -v docker >/dev/null || { echo "image: Docker is missing (https://docs.docker.com/get-docker)"; exit 1; }
	version=$$($(PYTHON) -c 'import sidecar; print(sidecar.__version__)') && docker build --tag push-sidecar:$$version \
		--build-arg VERSION=$$version --build-arg REVISION=$$(git rev-parse HEAD || echo unknown) \
		--build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct || stat --format=%Y CHANGELOG.md) .

lock: $(READY) ## resolve the dependencies anew into the lock files
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-package push-sidecar-client --constraint constraints.txt --custom-compile-command "make lock" \
		--extra redis pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-package push-sidecar-client --constraint constraints.txt --custom-compile-command "make lock" \
		--extra dev --extra bench pyproject.toml --output-file requirements-dev.lock
	echo 'setuptools>=77' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --constraint requirements-dev.lock --custom-compile-command "make lock" \
		- --output-file requirements-build.lock

clean: ## remove what was made here
	rm -rf $(VENV) build dist clients/*/build clients/*/dist clients/java/target *.egg-info clients/python/src/*.egg-info \
		.coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
