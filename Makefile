# Two commands matter: `make run` and `make test`. Both set up what they need first (`make setup`).
SHELL := /bin/bash
PYTHON := .venv/bin/python
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup run test test-full bench lint audit clean

help:
	@echo "make run        a whole call centre on this machine, with a demo campaign"
	@echo "make run NODES=2   the same with two dialers and two Asterisk nodes"
	@echo "make test       what CI runs: lint, types, layers, tests"
	@echo "make test-full  the long tests too"
	@echo "make bench [NAME=originate]   measurements, one JSON object a line"
	@echo "make audit      the dependencies: lock files whole, known vulnerabilities"
	@echo "make bench NAME=soak [MINUTES=60] [RATE=150]   does anything grow or drift?"
	@echo "make bench NAME=pacing [QUICK=1]   pacing policies on simulated centres, into results/pacing"
	@echo "make bench NAME=predictive   a predictive campaign on the real Asterisk beside the simulator, 25 minutes"
	@echo "make lint | setup | clean"

setup:
	@deploy/setup.sh

# NODES=2: so many dialers and Asterisk nodes, on a PostgreSQL and a Redis of their own.
run: setup
	@DIALER_DEMO_NODES=$${DIALER_DEMO_NODES:-$(NODES)} exec $(PYTHON) -m tests.lab.demo

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

test: setup lint
	$(PYTHON) -m pytest -q -m "not full"
	@echo "make test: all good"

test-full: setup lint
	$(PYTHON) -m pytest -q --least-faults 500
	@echo "make test-full: all good"

bench: setup
	@MINUTES=$(MINUTES) RATE=$(RATE) exec $(PYTHON) -m tests.bench $(NAME)

# 3: vulnerability data cannot be reached from here; nothing is known then.
audit:
	$(PYTHON) deploy/audit.py

clean:
	rm -rf .venv .lab .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache results dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
