# All the set-up a fresh machine needs: Python 3.11 or later and make. `make quickstart` gives a first answer.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PROCESSES ?= 2
QUESTION ?= In one sentence: what is an event log?

.PHONY: help setup quickstart test check bench lock clean

help:
	@echo "make quickstart   set up, start the local stack, answer a first question with the local model"
	@echo "make test         set up and run every test (about 8 minutes on two cores)"
	@echo "make check        format, lint, types, import rules, unit tests"
	@echo "make bench        run the benchmarks, each next to its baseline"
	@echo "make lock         resolve dependencies again into requirements.lock"
	@echo "make clean        remove the virtual environment and caches (never your data in ~/.syntor)"

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11; set PYTHON=/path/to/python3.11" >&2; exit 3; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "error: $(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 3; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

setup: $(VENV)/.installed

quickstart: setup
	@$(BIN)/syntor chat "$(QUESTION)"
	@echo
	@echo "What happened, event by event:"
	@$(BIN)/syntor runs show latest --timeline
	@echo
	@echo "Next:  $(BIN)/syntor              an interactive session"
	@echo "       $(BIN)/syntor status       what is running, and where your data is"
	@echo "       $(BIN)/syntor down         stop it; nothing is lost"

test: setup
	$(BIN)/pytest -q -n $(PROCESSES) --dist loadscope --no-loadscope-reorder tests

check: setup
	tools/check

bench: setup
	$(BIN)/python -m syntor.bench

lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
