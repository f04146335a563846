PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo

.PHONY: demo test lint clean

demo: .venv/installed  ## the main job, from simulated scans to runs/demo/report.html
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/demo.py --out $(DEMO)

test: lint  ## lint, types, import contracts, tests with branch coverage
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -q --cov --cov-report=term --durations=10

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist runs/demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
