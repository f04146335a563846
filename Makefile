PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo

.PHONY: demo test lint clean

demo: .venv/installed  ## the main job, from simulated scans to runs/demo/report.html
	rm -rf $(DEMO)
	$(BIN)/datagen phantom --config demo --out $(DEMO)/cohort
	$(BIN)/datagen build --config demo --masks $(DEMO)/cohort --masks $(DEMO)/cohort/all_lesions.csv --out $(DEMO)/pairs.h5
	$(BIN)/datagen inspect $(DEMO)/pairs.h5 --out $(DEMO)/pairs
	$(BIN)/metricnet train --config demo --pairs $(DEMO)/pairs.h5 --out $(DEMO)/estimator
	$(BIN)/metricnet evaluate --config demo --estimator $(DEMO)/estimator --pairs $(DEMO)/pairs.h5 --out $(DEMO)/agreement
	$(BIN)/segnet train --config demo --cohort $(DEMO)/cohort --estimator $(DEMO)/estimator --out $(DEMO)/network
	$(BIN)/segnet predict --model $(DEMO)/network --cohort $(DEMO)/cohort --split test --out $(DEMO)/predictions/network
	$(BIN)/segnet predict --baseline subtraction --cohort $(DEMO)/cohort --split test --out $(DEMO)/predictions/subtraction
	$(BIN)/segnet evaluate --truth $(DEMO)/cohort --split test --prediction $(DEMO)/predictions/network --prediction $(DEMO)/predictions/subtraction --rule overlap --rule msseg2 --out $(DEMO)/scores
	$(BIN)/segnet report $(DEMO)/network --scores $(DEMO)/scores --out $(DEMO)/report.html

test: lint  ## lint, types, import contracts, tests with branch coverage
	$(BIN)/coverage erase
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --cov --cov-report=term --durations=10

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
