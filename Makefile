# The verbs of this repository; `make` alone lists them. CI calls the same ones.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first Python there is that flytebuild supports; Debian has bases for 3.11 and 3.13.
PYTHON := $(shell for name in python3.11 python3.13 python3.12 python3.10 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# In how many processes the tests run: one more than the two processors of most machines in CI, since each waits much of
# its time for engines, or for what takes its time, such as a network that is cut. 0: in pytest's own.
WORKERS := 3
# A file's tests share fixtures; files begin in the order of tests/conftest.py. A process that dies ends the run.
PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

.PHONY: help setup check test test-contract test-wheels snapshots bench demo clean-demo proto

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## a virtual environment in .venv with flytebuild and its tools

$(STAMP): pyproject.toml
	@scripts/setup.sh $(VENV) "$(PYTHON)"
	@touch $@

check: setup ## lint, format, types and the layering of the packages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup ## the tests, those on a real engine included
	$(BIN)/python -m pytest $(PARALLEL)

test-contract: setup ## the wire protocol of every minor of flyte from 2.3 on
	FLYTE_MINORS=all $(BIN)/python -m pytest tests/contract

test-wheels: setup ## wheel layers beside steps for heavy packages; TEST_WHEELS=DIR may have torch
	TEST_WHEELS="$${TEST_WHEELS:-all}" $(BIN)/python -m pytest tests/engine/test_wheel_recipes.py

snapshots: setup ## write what users see into tests/snapshots; look at the diff
	$(BIN)/python -m pytest --write-snapshots tests/words

bench: setup ## the benchmarks, beside flyte's own code
	$(BIN)/python -m benchmarks.walk
	$(BIN)/python -m benchmarks.digests
	$(BIN)/python -m benchmarks.trees
	$(BIN)/python -m benchmarks.runtime.history
	$(BIN)/python -m benchmarks.runtime
	$(BIN)/python -m benchmarks.prestep
	$(BIN)/python -m benchmarks.builds
	$(BIN)/python -m benchmarks.wheels

demo: ## plan, build and run the example, on a machine that may have nothing
	@scripts/demo.sh

clean-demo: ## stop what `make demo` started, and remove it
	@scripts/clean-demo.sh

proto: setup ## generate flytebuild/buildkit/_pb from proto/
	@scripts/proto.sh
