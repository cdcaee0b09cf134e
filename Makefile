# What a newcomer calls. Everything happens in .venv and .millrace; nothing else is touched.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
LINKS := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS))

.PHONY: demo test lint unit checks e2e e2e-pipelines e2e-one-by-one e2e-matrix e2e-lending bench up down status logs setup lock clean

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@# Compiled now: a job sees the environment read-only, so what it imports first would be compiled for every job anew.
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python $(LINKS) -r requirements.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup
	@$(BIN)/millrace demo

test: setup unit checks

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Folders whose files take longest come first: the last file of all keeps one process busy and the others idle.
unit: setup
	$(BIN)/python -m pytest -m "not e2e" --numprocesses 3 --dist loadfile --durations 15 \
	    tests/runtime tests/contracts tests/operators tests/sagemaker tests

# Beside one another: the pipelines on the local stack, the kill matrix on a live Airflow on Postgres and after it the lending
# pipeline, and, while these wait for Airflow, what needs no stack.
checks: setup
	$(MAKE) --jobs 3 --output-sync=target e2e-one-by-one e2e-pipelines lint

e2e: setup
	$(MAKE) --jobs 2 --output-sync=target e2e-one-by-one e2e-pipelines

# Only the files that have some: to collect all the others takes each process longer than some of these tests.
e2e-pipelines:
	$(BIN)/python -m pytest -m e2e --numprocesses 2 --dist loadfile --durations 10 \
	    $$(grep --recursive --files-with-matches --include 'test_*.py' 'mark\.e2e' tests | grep --invert-match 'tests/live\|test_lending')

# One after the other: a third Airflow beside the two of e2e is more than two cores carry.
e2e-one-by-one:
	$(MAKE) e2e-matrix
	$(MAKE) e2e-lending

e2e-matrix:
	$(BIN)/python -m pytest -m e2e tests/live

e2e-lending:
	$(BIN)/python -m pytest tests/e2e/test_lending.py

# Each prints ratios against a peer measured in the same run; benchmarks/README.md says what they need. About 40 minutes.
bench: setup
	$(BIN)/python -m benchmarks.parse_time
	$(BIN)/python -m benchmarks.orchestration
	$(BIN)/python -m benchmarks.waiting
	$(BIN)/python -m benchmarks.runtime_s3
	$(BIN)/python -m benchmarks.runtime_jobs
	$(BIN)/python -m benchmarks.control_plane
	$(BIN)/python -m benchmarks.gate_cost
	$(BIN)/python -m benchmarks.drift_cost

up down status: setup
	@$(BIN)/millrace $@

logs: setup
	@$(BIN)/millrace logs $(SERVICE)

# Compile requirements.txt from the ranges in pyproject.toml. The CPU build's local version is left out: which build is
# installed is the machine's choice.
lock: setup
	$(UV) pip compile --quiet --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		$(LINKS) --all-extras pyproject.toml --output-file requirements.txt
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements.txt
