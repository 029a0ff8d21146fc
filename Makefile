# Each target makes .venv itself, and makes it anew when the dependencies change. ARGS goes through to the command.
.PHONY: help serve test check bench
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin

# uv where there is one: the same environment, sooner.
ifneq ($(shell command -v uv 2>/dev/null),)
VENV := uv venv --quiet --clear --python $(PYTHON) .venv
INSTALL := uv pip install --quiet --python $(BIN)/python
else
VENV := $(PYTHON) -m venv --clear .venv
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: .venv/.base  ## Serve the demo agent on one SQLite file, reattach.db
	$(BIN)/reattach serve --agents reattach.adapters.agents.demo:agents --database sqlite:///reattach.db $(ARGS)

test: .venv/.tools  ## Run the tests
	$(BIN)/python -m pytest $(ARGS)

check: .venv/.tools  ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: .venv/.tools  ## Measure what the documentation claims
	$(BIN)/python -m tests.benchmarks $(ARGS)

# Serving needs no test tools, so they are a second layer.
.venv/.base: pyproject.toml constraints.txt
	$(VENV)
	$(INSTALL) --constraint constraints.txt --editable .
	@touch $@

.venv/.tools: .venv/.base
	$(INSTALL) --constraint constraints.txt --editable '.[test,check]'
	@touch $@
