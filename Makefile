# Two commands do everything on a fresh machine with Python 3.11 and make: `make run` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps

.PHONY: help setup run test quick check lint bench crash-test lock clean

help:            ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: .venv/dev ## make the virtual environment .venv with everything that development needs

.venv/run: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("choreo needs Python 3.11 or later; try: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else 0'
	@echo "setting up .venv, once"
	@$(PYTHON) -m venv .venv
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

.venv/dev: .venv/run requirements-dev.txt
	@echo "installing what the tests, linters and benchmarks need, once"
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

run: .venv/run ## run the sample sagas through the node: replies on stdout, the trace beside them on stderr
	@$(BIN)/python main.py --trace --trace-format console < docs/samples/sagas.jsonl
	@echo 'Next: . $(BIN)/activate && choreo lesson 1' >&2

test: .venv/dev ## run all tests, on all cores
	@$(BIN)/python -m pytest -n auto --dist worksteal

quick: .venv/dev ## run the tests of a day's work: without whole explorations, crashes and long inputs
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

lint: .venv/dev ## ruff, ruff format, mypy --strict and the import direction
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/test_imports.py

check: lint test ## lint, then test

bench: .venv/dev ## measure against the targets; prints a table and writes benchmarks/results.json
	@$(BIN)/python -m benchmarks

crash-test: .venv/dev ## kill the durable node 400 times under load, and hold its journal against what it promised
	@$(BIN)/python -m tests.crash

COMPILE = uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate
GROUPS_OF = $(PYTHON) -c 'import sys, tomllib; p = tomllib.load(open("pyproject.toml", "rb")); print(*p["project"]["dependencies"], *(d for g in sys.argv[1:] for d in p["dependency-groups"][g]), sep="\n")'

lock: ## pin all dependencies anew, with hashes (needs uv)
	@for lock in "requirements build" "requirements-dev build dev"; do set -- $$lock; file=$$1; shift; \
	  { sed -n 1p $$file.txt; $(GROUPS_OF) "$$@" | $(COMPILE) -; } > $$file.new && mv $$file.new $$file.txt || exit 1; done

clean: ## remove the virtual environment and all caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -prune -exec rm -rf {} +
