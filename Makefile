# demo: environment, then the whole chain. test: environment, then the tests. lint: style and types.
# docs: the documentation site. Each installs only what it needs into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# Installing compiles nothing: what is imported is compiled once and kept, also where the shell asks
# Python not to write bytecode. Without it every process would compile torch and the others again.
unexport PYTHONDONTWRITEBYTECODE
# Processes that run tests: one a core, each with one thread (WORKERS=0: none but pytest itself).
WORKERS ?= $(shell env -u OMP_NUM_THREADS nproc)
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist loadfile
STYLED := src tests benchmarks scripts examples docs/conf.py docs/_extensions

.PHONY: demo test test-slow test-long lint docs fresh clean

demo: $(VENV)/.demo
	$(BIN)/climsim experiment demo

test: $(VENV)/.test
	$(TEST) -m "not slow" $(PYTEST_OPTIONS)

test-slow: $(VENV)/.test
	$(TEST) -m "slow and not long" $(PYTEST_OPTIONS)

test-long: $(VENV)/.test
	$(BIN)/python -m pytest -m long $(PYTEST_OPTIONS)

lint: $(VENV)/.lint
	$(BIN)/ruff check $(STYLED)
	$(BIN)/ruff format --check $(STYLED)
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs build/docs
	@echo "site: build/docs/index.html"

fresh:
	scripts/fresh_machine.sh

# Distributions are listed with all that they need (scripts/environment.py), so pip follows no
# requirements but torch's, which differ by machine.
$(VENV)/.demo: pyproject.toml constraints.txt requirements/demo.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "Python 3.11 or newer is needed, found %d.%d: set PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) --no-deps -r requirements/demo.txt
	$(INSTALL) --no-deps -e .
	touch $@

$(VENV)/.%: requirements/%.txt $(VENV)/.demo
	$(INSTALL) --no-deps -r $<
	touch $@

clean:
	rm -rf $(VENV) .cache build
