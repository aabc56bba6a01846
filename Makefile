# `make demo` and `make test` do all the set-up themselves; Python 3.11 or newer is all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
unexport PYTHONDONTWRITEBYTECODE # with it, every process would compile PyTorch again, which takes seconds

# A selection for every change: the arithmetic, the step, the options, the structure.
QUICK := tests/color tests/config tests/losses tests/metrics/test_bootstrap.py tests/data/test_tone.py tests/data/test_sampler.py \
	tests/training/test_gan_step.py tests/training/test_schedule.py tests/training/test_meter.py \
	tests/models/test_layers.py tests/models/test_patchgan.py tests/models/test_interpolation.py \
	tests/inference/test_recombine.py tests/inference/test_upsampling.py tests/evaluation/test_tables.py \
	tests/test_structure.py tests/test_docs.py

.PHONY: demo test quick lint bench site pictures clean

demo: $(INSTALLED)  ## train a U-Net on ImageNet features on scenes drawn by code, on any computer, in minutes
	$(BIN)/python train.py --config configs/demo.yaml --out runs/demo

test: $(INSTALLED)  ## run all tests, on all cores
	$(BIN)/python -m pytest -n auto --dist worksteal

quick: $(INSTALLED)  ## run a selection of the tests, in a minute
	$(BIN)/python -m pytest -q -n auto --dist worksteal $(QUICK)

lint: $(INSTALLED)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)  ## measure this machine
	$(BIN)/python benchmarks/bench.py

site: $(INSTALLED)  ## build the documentation's website into build/site; warnings, such as of broken links, are errors
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs . build/site

pictures: $(INSTALLED)  ## draw the README's photographs with the bundled generator
	$(BIN)/python examples/photographs.py -o docs/colorized.png

# --no-compile halves the time: Python compiles the few modules that it imports, at their first import.
$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("gancolor needs Python 3.11 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	touch $@

clean:  ## remove the environment
	rm -rf $(VENV)
