# Everything that README.md promises. Needs Python 3.11 or newer, pip and make.
PYTHON ?= python3
PYTEST_ARGS ?= -n auto --maxprocesses 4
VENV := .venv
BIN := $(VENV)/bin
RUN ?= runs/quickstart

.PHONY: help quickstart install test coverage check format clean

help:
	@echo "make quickstart  build a small chat model from nothing ($(RUN))"
	@echo "make test        install what the tests need and run them"
	@echo "make coverage    the same, and which lines no test runs; slower"
	@echo "make check       format, lint, types"
	@echo "make format      let ruff format the code"

quickstart: $(VENV)/installed
	$(BIN)/groundup build quickstart --out $(RUN)
	@echo
	@echo "Talk to it:       $(BIN)/groundup chat $(RUN)"
	@echo "Read the report:  $(RUN)/report.html"

install: $(VENV)/installed

test: $(VENV)/installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

coverage: $(VENV)/installed-test
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

check: $(VENV)/installed-check
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy

format: $(VENV)/installed-check
	$(BIN)/ruff format src tests bench
	$(BIN)/ruff check --fix src tests bench

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .coverage

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("groundup needs Python 3.11 to 3.13; set PYTHON=python3.12, say" if not (3, 11) <= sys.version_info < (3, 14) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/installed-check: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[check]'
	@touch $@
