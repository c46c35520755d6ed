# Every target makes its own virtual environment in .venv first.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint clean

.venv/demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable ".[torch]"
	touch $@

.venv/dev: .venv/demo
	$(PIP) pip
	$(PIP) --group dev
	touch $@

demo: .venv/demo
	cd tests/systems && ../../$(BIN)/freezelint --trace --verify --exit-zero
	cd tests/systems && ../../$(BIN)/freezelint run --exit-zero wasted_input_gradient.py

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -q

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .freezelint_cache
