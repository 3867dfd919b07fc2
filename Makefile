# fila_lab: `make` alone says what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUDGET ?= small
BENCH ?=
MUTANTS ?=

.PHONY: help setup compare towers bench bench-gpu simulate test test-slow test-studies test-gpu reports mutants lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv and install the lab into it (other targets do it themselves when it is missing)

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fila_lab needs Python 3.11 or newer: make setup PYTHON=python3.11"; exit 2; }
	$(BIN)/python -m pip install --quiet torch==2.14.1 torchvision==0.29.1
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

compare: $(STAMP) ## compare fusion methods in minutes: run the small budget, print the table, write the report (BUDGET=full for verdicts)
	$(BIN)/fila-lab run experiments/fusion_methods.yaml --budget $(BUDGET)
	$(BIN)/fila-lab report experiments/fusion_methods.yaml --budget $(BUDGET)

towers: $(STAMP) all-towers ## pretrain three tower pairs with answer models into runs/towers (hours; DEVICE=auto, WORKERS=2); what is there is not made again

bench: $(STAMP) ## measure the encoder at paper scale against bare library calls, plain and compiled, then generation, images, files, training steps, nothing else running: ratios (BENCH='--quick' etc.)
	$(BIN)/python -m benchmarks --out runs/bench $(BENCH)
	$(BIN)/python -m benchmarks.generation --out runs/bench
	$(BIN)/python -m benchmarks.preparation --out runs/bench
	$(BIN)/python -m benchmarks.files --out runs/bench
	$(BIN)/python -m benchmarks.real_path --out runs/bench

bench-gpu: $(STAMP) ## the same on a GPU: times, memory and ratios of encoder, training step and generation (BENCH='--preset base' etc.)
	$(BIN)/python -m benchmarks.gpu --out runs/bench $(BENCH)

simulate: $(STAMP) ## how often verdicts are wrong: simulate families of known truth, write docs/verdicts_simulation.md (half an hour)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.verdicts

test: $(STAMP) ## run the tests (minutes); what takes longer: test-slow, test-studies
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

test-slow: $(STAMP) ## run the tests that take longer: long kill harness, simulations (tens of minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal -m slow

test-studies: $(STAMP) ## run every study of experiments/ at a tiny budget: plan, run, report (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m studies

test-gpu: $(STAMP) ## run the tests that need a GPU (without one they are skipped, and say so)
	$(BIN)/python -m pytest -q -rs -m gpu

reports: $(STAMP) ## build pages, tables and galleries of the published studies into runs/reports, by today's rules and study files (minutes)
	@for plan in experiments/results/*/plan.json; do folder=$$(dirname $$plan); \
	  read -r study budget < <($(BIN)/python -c 'import json, sys; plan = json.load(open(sys.argv[1])); print(plan["study"]["name"], plan["budget"])' $$plan); \
	  $(BIN)/fila-lab report experiments/$$study.yaml --budget $$budget --out $$folder || exit $$?; \
	done; \
	echo; echo "reports, each a page of its own, with tables and pictures beside it:"; ls -d runs/reports/*/report.html

mutants: $(STAMP) ## put small faults into the code and see whether the tests notice (hours; MUTANTS='--room fusion --faults 60')
	$(BIN)/python -m tests.mutants $(MUTANTS)

lint: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

clean: ## remove caches of tools (results in runs/ stay)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build

include experiments/towers/towers.mk
