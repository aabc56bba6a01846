# `make demo` and `make test` do all the set-up themselves; Python 3.11 or newer is all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint bench pictures clean

demo: $(INSTALLED)  ## train a U-Net on ImageNet features on scenes drawn by code, on any computer, in minutes
	$(BIN)/python train.py --config configs/demo.yaml --out runs/demo

test: $(INSTALLED)  ## run all tests, on all cores
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(INSTALLED)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)  ## measure this machine
	$(BIN)/python benchmarks/bench.py

pictures: $(INSTALLED)  ## draw the README's photographs with the bundled generator
	$(BIN)/python examples/photographs.py -o docs/colorized.png

$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("gancolor needs Python 3.11 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:  ## remove the environment
	rm -rf $(VENV)
