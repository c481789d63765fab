# `make help` is the table of contents. Everything runs in this clone's own .venv.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
SIZE := PyTorch and what goes with it, 1.4 GB on disk (more with CUDA), some minutes. pip says how far it is:
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test unit test-slow chaos lint lint-deploy test-deploy format bench bench-scale bench-train clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: .venv/worker  ## five weights on real digits, a figure in a minute
	$(BIN)/ballast demo

test: .venv/dev  ## every test but the slow ones, some six minutes on two cores
	$(PYTEST) -m "not slow" $(ARGS)

unit: .venv/dev  ## the tests that need no server and no process of their own, a minute or two
	$(PYTEST) -m "not slow" --alone -rfE tests/unit $(ARGS)

test-slow: .venv/dev  ## the slow tests, a quarter of an hour
	$(PYTEST) -m slow $(ARGS)

chaos: .venv/dev  ## whatever may happen to workers, hosts, Redis and databases: what it cost, a line each
	$(PYTEST) tests/chaos $(ARGS)

lint: .venv/dev  ## ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-deploy: .venv/deploy  ## what deploy/ says, each file read by the tool that it is for
	$(BIN)/python -m pytest tests/deploy $(ARGS)

test-deploy: .venv/deploy  ## as root: images built, started and watched by a real engine; leaves nothing behind
	$(BIN)/python -m pytest -s -o timeout=3600 tests/deploy/trial_*.py $(ARGS)

format: .venv/dev  ## put the code into the house's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/dev  ## measured promises, each as a ratio or a median with its spread
	$(BIN)/python -m tests.benchmarks

bench-scale: .venv/dev  ## a hundred thousand queued, a thousand simulated workers: some minutes
	$(BIN)/python -m tests.benchmarks.scale

bench-train: .venv/dev  ## training against the loops that people write, a dozen minutes on two idle cores
	$(BIN)/python -m tests.benchmarks.training $(ARGS)

clean:  ## remove what the commands above have made
	rm -rf .venv demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# An environment is remade when what it is made from changes.
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Ballast needs Python 3.11 or newer and this is " + sys.version.split()[0] + ": try make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

.venv/worker: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing what a worker needs into .venv: $(SIZE)"
	$(INSTALL) -e '.[worker]'
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing what workers and tests need into .venv: $(SIZE)"
	$(INSTALL) -e '.[worker,dev]'
	@touch $@ .venv/worker

.venv/deploy: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing what workers, tests and checks of deploy/ need into .venv: $(SIZE)"
	$(INSTALL) -e '.[worker,dev,deploy]'
	@touch $@ .venv/dev .venv/worker
