# Two commands do everything on a fresh machine with Python 3.11 and make: `make run` and `make test`.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup run test check lint bench crash-test lock clean

help:            ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: .venv/ready ## make the virtual environment .venv

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("choreo needs Python 3.11 or later; try: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else 0'
	@echo "setting up .venv, once"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

run: .venv/ready ## run the sample sagas through the node: replies on stdout, the trace beside them on stderr
	@$(BIN)/python main.py --trace --trace-format console < docs/samples/sagas.jsonl
	@echo 'Next: $(BIN)/choreo compare book_flight book_hotel book_car --fail book_car' >&2

test: .venv/ready ## run all tests
	@$(BIN)/python -m pytest

lint: .venv/ready ## ruff, ruff format, mypy --strict and the import direction
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/test_imports.py

check: lint test ## lint, then test

bench: .venv/ready ## measure against the targets; prints a table and writes benchmarks/results.json
	@$(BIN)/python -m benchmarks

crash-test: .venv/ready ## kill the durable node 400 times under load, and hold its journal against what it promised
	@$(BIN)/python -m tests.crash

lock: ## pin all dependencies anew, with hashes (needs uv)
	@{ sed -n 1p requirements.txt; $(PYTHON) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); print(*p["project"]["dependencies"], *p["dependency-groups"]["dev"], sep="\n")' \
	  | uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate -; } > requirements.new
	@mv requirements.new requirements.txt

clean: ## remove the virtual environment and all caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -prune -exec rm -rf {} +
