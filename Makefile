# Two commands matter: `make demo` and `make test`. Each sets up what it needs in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
PARALLEL := -n 2 --dist loadscope

# Compiled code is kept, in .venv alone: tests and demo start hundreds of Python processes, and each that has to
# compile its imports first takes three times as long to be there.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/bytecode

.PHONY: help demo test test-slow check format lint types imports bench docs lock clean

help:  ## Say what can be done
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml requirements.lock
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv 2>/dev/null || true
	@if [ -x $(BIN)/uv ]; then \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements.lock && \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .; \
	else \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .; \
	fi
	@touch $(STAMP)

demo: $(STAMP)  ## Run the whole loop on real data: release, detect, roll back, promote
	@$(BIN)/python examples/demo.py

test: $(STAMP)  ## Run every test but the slow ones
	@$(BIN)/python -m pytest -q -m "not slow" $(PARALLEL)

test-slow: $(STAMP)  ## Run the slow tests
	@$(BIN)/python -m pytest -q -m slow $(PARALLEL)

format: $(STAMP)  ## Rewrite the code in its one format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: $(STAMP)  ## Format and lint, changing nothing
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: $(STAMP)  ## Strict types
	@$(BIN)/mypy

imports: $(STAMP)  ## Import contracts
	@$(BIN)/lint-imports

check: lint types imports test  ## Everything that must be green before a change lands: format, lint, types, imports, tests

bench: $(STAMP)  ## Measure; prints ratios
	@$(BIN)/python bench/run.py

docs: $(STAMP)  ## Write the generated pages of docs/ again
	@$(BIN)/python docs/generate.py

lock: $(STAMP)  ## Resolve the dependencies again into requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --group demo --universal --generate-hashes --no-header --no-annotate --quiet -o requirements.lock

clean:  ## Remove what was set up
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
