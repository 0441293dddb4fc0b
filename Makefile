# Two commands matter: `make demo` and `make test`. Both make `.venv` first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK_ARGS := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet

# Quiet, offline, and patient with a slow machine.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS := 120

.DEFAULT_GOAL := help
.PHONY: help env env-oracle demo test test-long test-all test-lowest coverage lint check bench docs site lock clean

help:  ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(VENV)/.stamp $(VENV)/.stamp-native  ## Make .venv from requirements.lock (hash-checked), and the native core

# uv comes from the lock file too; where it cannot reach the registry, pip does the same work slower.
$(VENV)/.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed, %s is %s; try: make env PYTHON=python3.12" % (sys.executable, sys.version.split()[0]))'
	$(PYTHON) -m venv --clear $(VENV)
	@awk '/^uv==/ {on=1; print; next} on && /^ +--hash/ {print; next} {on=0}' requirements.lock > $(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(VENV)/uv.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements.lock \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q segtools flows
	@touch $@

# Where there is no compiler, NumPy does its work.
$(VENV)/.stamp-native: $(wildcard segtools/native/*.[ch]) segtools/native/build.py $(VENV)/.stamp
	$(BIN)/python -m segtools.native.build
	@touch $@

env-oracle: env $(VENV)/.stamp-oracle  ## Add the peers (dcmqi, SimpleITK, atheris) for side-by-side runs

$(VENV)/.stamp-oracle: requirements-oracle.lock $(VENV)/.stamp
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements-oracle.lock \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-oracle.lock
	@touch $@

demo: env  ## The whole pipeline on a phantom archive served from a loopback S3
	$(BIN)/idcseg demo

# Many tests wait for a server or a child, so more of them than cores run at a time.
PYTEST := $(BIN)/python -m pytest -n 4 --dist loadgroup

test: env  ## The tests, offline: every behaviour, in minutes
	$(PYTEST) -m "not slow"

# As many as cores: the long ones compute, and servers at length are sensitive to load.
test-long: env  ## The long tests: many kills, real servers at length, sweeps
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m slow

test-all: test test-long  ## All tests, none twice

coverage: env  ## Lines and branches that `make test` runs, in the library and the flows
	$(PYTEST) -m "not slow" --cov=segtools --cov=flows --cov-branch --cov-report=term:skip-covered

test-lowest: $(VENV)/.stamp  ## The short tests with the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear $(VENV)-lowest
	$(BIN)/uv pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct --editable '.[dask,demo,s3,idc]' --group dev
	$(VENV)-lowest/bin/python -m pytest -n 4 --dist loadgroup -m "not slow"

lint: env  ## Lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test-all  ## What CI runs

bench: env env-oracle  ## Us and the peers, side by side
	$(BIN)/python -m benchmarks

docs: env  ## Rewrite the generated pages under docs/
	$(BIN)/python -m flows.reference

site: $(VENV)/.stamp-docs  ## Build the documentation site into site/, offline; tutorials are run
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/.stamp-docs: requirements-docs.lock $(VENV)/.stamp
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements-docs.lock
	@touch $@

lock: env  ## Refresh the lock files
	$(BIN)/uv pip compile $(LOCK_ARGS) pyproject.toml --all-extras --group dev --output-file requirements.lock
	$(BIN)/uv pip compile $(LOCK_ARGS) pyproject.toml --group oracle --constraint requirements.lock --output-file requirements-oracle.lock
	$(BIN)/uv pip compile $(LOCK_ARGS) pyproject.toml --group docs --constraint requirements.lock --output-file requirements-docs.lock

clean:  ## Remove what the targets made
	rm -rf $(VENV) $(VENV)-lowest demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
