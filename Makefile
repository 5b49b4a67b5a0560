# One command each: `make run` serves SRVC, `make test` proves it, `make check` is the fast half.
# Everything installs into .venv from hash-pinned lock files; nothing outside the project is touched
# (as root, PostgreSQL's data may have to: docs/adr/0007).

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help run test simulation check bench shell schema lock clean

# Many containers forbid it; compiling every module anew costs each process a quarter of its start.
# Bytecode lies in __pycache__ alone, which git ignores and `make clean` removes.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
PYTHON := $(BIN)/python
# On two cores: a third of a test is waiting for a server, a program or a page. More cores, more.
PYTEST_WORKERS ?= 3

help:
	@echo 'make run    serve SRVC on http://127.0.0.1:8000/ (HOST= and PORT= change that)'
	@echo 'make test   every check and the whole test suite, but for simulations (make simulation)'
	@echo 'make check  the fast checks: lint, types, imports, migrations'
	@echo 'make bench  the benchmarks, as ratios'
	@echo 'make shell  a Python shell with the models'
	@echo 'make schema record what migrations make, for the health checks'
	@echo 'make lock   pin the dependencies of pyproject.toml anew'
	@echo 'make clean  remove .venv and caches; data in var/ stays'

run:
	@scripts/install requirements.lock
	@exec $(PYTHON) -m srvc.launch --until-parent-dies

test:
	@scripts/install requirements-dev.lock
	@scripts/check
	@$(PYTHON) -m pytest -n $(PYTEST_WORKERS) -m 'not simulation' $(PYTEST_ARGS)

simulation:
	@scripts/install requirements-dev.lock
	@$(PYTHON) -m pytest -n $(PYTEST_WORKERS) -m simulation $(PYTEST_ARGS)

check:
	@scripts/install requirements-dev.lock
	@scripts/check

bench:
	@scripts/install requirements-dev.lock
	@exec $(PYTHON) -m benchmarks

shell:
	@scripts/install requirements.lock
	@exec $(PYTHON) manage.py shell_plus

schema:
	@scripts/install requirements-dev.lock
	@SRVC_RECORD_SCHEMA=1 $(PYTHON) -m pytest -q tests/ops/health/test_recorded_schema.py -k what_migrations_make

lock:
	@scripts/install requirements-dev.lock
	@scripts/lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
