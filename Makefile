# fila_lab: `make` alone says what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCK ?= constraints.txt
QUIET ?= -qq
PIP := $(BIN)/python -m pip --disable-pip-version-check
BUDGET ?= small
BENCH ?=
MUTANTS ?=

.PHONY: help setup lock compare towers bench bench-gpu simulate test test-slow test-studies test-gpu test-oldest reports notebooks mutants reference docs lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv and install the lab into it (other targets do it themselves when it is missing)

$(STAMP): pyproject.toml $(LOCK)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fila_lab needs Python 3.11 or newer: make setup PYTHON=python3.11"; exit 2; }
	@set -e; lock=; own=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  if [ -z "$(LOCK)" ]; then how="the newest versions"; \
	  elif grep -q "for Python $$own " $(LOCK); then how="the versions of $(LOCK)"; lock="-c $(LOCK)"; \
	  else how="the newest versions, for $(LOCK) is not of Python $$own"; fi; \
	  trap 'test $$? = 0 || echo "what pip does, step by step: make setup QUIET="' EXIT; \
	  echo "installing PyTorch into $(VENV) (minutes the first time), $$how"; \
	  $(PIP) install $(QUIET) $$lock torch==2.14.1 torchvision==0.29.1; \
	  echo "installing the lab and what it needs"; \
	  $(PIP) install $(QUIET) $$lock -e '.[dev]'
	@touch $@

lock: $(STAMP) ## write constraints.txt: the versions that .venv has now (newer ones: rm -r .venv, make setup LOCK=)
	@{ $(BIN)/python -c 'import platform, sys; print("# Exact versions of everything that `make setup` installs, for Python %d.%d" % sys.version_info[:2], \
	  "(made on %s, %s); `make lock` writes this file." % (platform.system(), platform.machine()))'; \
	  echo '# `make setup` follows it where .venv has that Python, and takes the newest versions that pyproject.toml allows under any other.'; \
	  $(PIP) freeze --all --exclude-editable | grep -v '^pip=='; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt
	@touch $(STAMP)

compare: $(STAMP) ## compare fusion methods in minutes: run the small budget, print the table, write the report (BUDGET=full for verdicts)
	$(BIN)/fila-lab run experiments/fusion_methods.yaml --budget $(BUDGET)
	$(BIN)/fila-lab report experiments/fusion_methods.yaml --budget $(BUDGET)

towers: $(STAMP) all-towers ## pretrain three tower pairs with answer models into experiments/towers (hours; DEVICE=auto, WORKERS=2); what is there is not made again

bench: $(STAMP) ## measure the encoder at paper scale against bare library calls, plain and compiled, then generation, images, files, training steps, nothing else running: ratios (BENCH='--quick' etc.)
	$(BIN)/python -m benchmarks --out runs/bench $(BENCH)
	$(BIN)/python -m benchmarks.generation --out runs/bench
	$(BIN)/python -m benchmarks.preparation --out runs/bench
	$(BIN)/python -m benchmarks.files --out runs/bench
	$(BIN)/python -m benchmarks.real_path --out runs/bench

bench-gpu: $(STAMP) ## the same on a GPU: times, memory and ratios of encoder, training step and generation (BENCH='--preset base' etc.)
	$(BIN)/python -m benchmarks.gpu --out runs/bench $(BENCH)

simulate: $(STAMP) ## how often verdicts are wrong: simulate families of known truth, write docs/explanation/verdicts_simulation.md (half an hour)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.verdicts

test: $(STAMP) ## run the tests (minutes); what takes longer: test-slow, test-studies
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

test-slow: $(STAMP) ## run the tests that take longer: long kill harness, simulations (tens of minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal -m slow

test-studies: $(STAMP) ## run every study of experiments/ at a tiny budget: plan, run, report (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m studies

test-gpu: $(STAMP) ## run the tests that need a GPU (without one they are skipped, and say so)
	$(BIN)/python -m pytest -q -rs -m gpu

test-oldest: ## run the tests with the oldest versions that pyproject.toml allows, in .venv-oldest (gigabytes to fetch; then minutes)
	@test -x $(VENV)-oldest/bin/python || $(PYTHON) -m venv $(VENV)-oldest
	@$(VENV)-oldest/bin/python tests/oldest.py > $(VENV)-oldest/constraints.txt
	@echo "installing into $(VENV)-oldest:"; sed 's/^/  /' $(VENV)-oldest/constraints.txt
	@$(VENV)-oldest/bin/python -m pip --disable-pip-version-check install $(QUIET) -c $(VENV)-oldest/constraints.txt -e '.[dev]'
	OMP_NUM_THREADS=1 $(VENV)-oldest/bin/python -m pytest -q -n 2 --dist worksteal

notebooks: $(STAMP) ## run the notebooks and keep their outputs in the files (two minutes)
	@cd notebooks && OMP_NUM_THREADS=1 ../$(BIN)/python execute.py

reports: $(STAMP) ## build pages, tables and galleries of the published studies into runs/reports, by today's rules and their own declarations (minutes)
	@for plan in experiments/results/*/plan.json; do $(BIN)/fila-lab report $$(dirname $$plan) || exit $$?; done; \
	echo; echo "reports, each a page of its own, with tables and pictures beside it:"; ls -d runs/reports/*/report.html

mutants: $(STAMP) ## put small faults into the code and see whether the tests notice (hours; MUTANTS='--room fusion --faults 60')
	$(BIN)/python -m tests.mutants $(MUTANTS)

reference: $(STAMP) ## write docs/reference/keys.md, verbs.md and python.md from what the code says
	@$(BIN)/python docs/reference.py

docs: $(STAMP) ## build the site of docs/ into build/site, strictly (installs mkdocs-material and mkdocstrings where they are missing)
	@$(BIN)/python -c 'import material, mkdocstrings' 2>/dev/null || $(PIP) install $(QUIET) -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --clean
	@echo "build/site/index.html"

lint: $(STAMP) ## style and types: ruff check, ruff format --check, mypy (a minute)
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy

clean: ## remove caches of tools (results in runs/ stay)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build

include experiments/towers/towers.mk
