# Every target first makes the environment, if it is missing or older than pyproject.toml.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
# Those that take a minute and need no data.
QUICK_BENCHMARKS := benchmarks/dispersion.py

.DEFAULT_GOAL := help
.PHONY: setup demo test test-long test-all check format bench docs help

setup: $(STAMP)  ## make the environment in .venv

demo: $(STAMP)  ## draw scenes, find and search people in them; the report is demo/report.html
	$(BIN)/fdps demo -o demo

test: $(STAMP)  ## run the fast tests, in two processes of 4 GB and a thread each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-long: $(STAMP)  ## run the tests that take some seconds each, most of them in processes of their own
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m long

test-all: $(STAMP)  ## run every test, the slow ones too
	$(BIN)/python -m pytest -m ""

check: $(STAMP)  ## lint, formatting and types; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(STAMP)  ## format and mend what the linter can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(STAMP)  ## run the quick benchmarks and print what they measured
	@for script in $(QUICK_BENCHMARKS); do \
		echo "== $$script"; $(BIN)/python $$script || exit 1; done

docs: $(STAMP)  ## regenerate docs/reference and the README's table, build the pages in site/
	$(BIN)/python docs/generate_reference.py
	$(BIN)/python docs/generate_results.py
	$(BIN)/mkdocs build --strict --quiet

help:  ## print this
	@sed -n 's/^\([a-z-]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

$(STAMP): pyproject.toml
ifeq ($(UV),)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable '.[dev]'
else
	$(UV) venv --allow-existing $(VENV)
	$(UV) pip install --python $(BIN)/python --editable '.[dev]'
endif
	@touch $@
