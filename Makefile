# The whole interface: `make demo` needs Python 3.11 and nothing else; `make test` sets up what the tests need.
# No target asks a question.

SHELL := /bin/sh
VENV ?= .venv
# Which Python makes the environment; empty means the first of the system's that is 3.11 or newer.
PYTHON ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# Pinned because a plain `torch` takes the newest CUDA build, gigabytes that tests on a CPU never touch.
TORCH ?= torch==2.13.0
PYTEST_ARGS ?= -n 2 --dist loadfile
DATA ?= ../shared/data
# Simulated networks, made anew where they are not: some 20 MB and five minutes on two cores.
LAB ?= build/lab

RUNTIME := $(VENV)/.installed-runtime
FULL := $(VENV)/.installed-full

.PHONY: help demo test lint format bench lab docs model packages clean
# System packages come before the environment that may need them.
.NOTPARALLEL:
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' Makefile

demo: $(RUNTIME) ## install into .venv (no root, no apt) and judge the packaged sample
	$(BIN)/thingwarden demo

test: packages $(FULL) ## install what the tests need and run them all
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(FULL) ## formatting, linting, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(FULL) ## rewrite the sources as ruff wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(RUNTIME): pyproject.toml deploy/venv.sh
	@sh deploy/venv.sh $(VENV) $(PYTHON)
	@echo "Installing Thingwarden into $(VENV) ..."
	@$(PIP) install --quiet --editable .
	@touch $@

$(FULL): $(RUNTIME)
	@$(PIP) install --quiet "$(TORCH)" || echo "No $(TORCH) for this machine: what trains is skipped." >&2
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then train=train,; fi; \
	$(PIP) install --quiet --editable ".[$${train}bench,dev]"
	@touch $@

model: $(FULL) ## pretrain and fine-tune nano on the captures in DATA and the lab, and put it into the package
	$(BIN)/thingwarden lab corpus recipes/lab-corpus.toml --words 1500000 --out $(LAB)/train
	$(BIN)/thingwarden train recipes/nano.toml --data $(DATA) --lab $(LAB)/train

bench: $(FULL) ## the referee: accuracy against every baseline, the lab's truth to life, Zeek agreement, speed
	$(BIN)/thingwarden lab corpus recipes/lab-corpus.toml --words 1500000 --out $(LAB)/train
	$(BIN)/thingwarden lab corpus recipes/lab-weeks.toml --device-weeks 200 --out $(LAB)/weeks
	$(BIN)/thingwarden bench accuracy --data $(DATA) --lab $(LAB)/train --weeks $(LAB)/weeks
	$(BIN)/thingwarden bench weeks $(LAB)/weeks
	$(BIN)/thingwarden lab corpus recipes/lab-corpus.toml --seed 777 --networks 60 --out $(LAB)/unseen
	$(BIN)/thingwarden bench reasons $(LAB)/unseen
	$(BIN)/thingwarden lab corpus recipes/lab-corpus.toml --words 60000 --seed 20261123 --out $(LAB)/evasion
	$(BIN)/thingwarden bench evasion $(LAB)/evasion --data $(DATA) --contestant lightgbm-history
	$(BIN)/thingwarden bench early
	$(BIN)/thingwarden bench negatives
	$(BIN)/thingwarden bench growth $(LAB)/train --data $(DATA)
	$(BIN)/thingwarden bench gap --runs $(LAB)/runs --corpus $(LAB)/train --data $(DATA)
	$(BIN)/thingwarden bench signatures --data $(DATA) --runs $(LAB)/signature-runs
	$(BIN)/thingwarden bench zeek --data $(DATA)
	$(BIN)/thingwarden bench fuzz --data $(DATA)
	$(BIN)/thingwarden bench metering
	$(BIN)/thingwarden bench speed $(DATA)/iot23/CTU-IoT-Malware-Capture-34-1/conn.log.labeled.gz

lab: $(FULL) ## remake the packaged sample in network namespaces
	@sh deploy/apt.sh --required
	$(BIN)/thingwarden lab run sample --out src/thingwarden/data/sample

docs: $(FULL) ## remake the picture of the demo and check the documentation
	$(BIN)/thingwarden demo --svg docs/images/demo.svg
	$(BIN)/python -m pytest tests/docs

packages:
	@sh deploy/apt.sh

clean: ## remove the environment, caches and build products
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
