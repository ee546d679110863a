# One entry for everything. Each target first makes .venv from the committed lock.
PYTHON ?= python3
FUZZ_S ?= 60
BENCH ?= transport decision
DEMO_ARGS = $(if $(filter 1,$(KEEP)),--keep)

BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
# Names, versions and hashes for every supported Python and platform, and no index address. The dev
# lock holds the extra `dev` only: gpu, openvino, otel and train bring gigabytes (torch) or
# suit one machine, so they are installed by hand: .venv/bin/pip install -e '.[train]'.
COMPILE = .venv-lock/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --no-strip-extras --no-emit-index-url --no-annotate --upgrade \
	--custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help venv demo test soak fuzz lint format bench proto lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## make .venv from requirements-dev.lock

$(STAMP): requirements-dev.lock pyproject.toml
	@echo "Installing the locked packages into .venv (a minute or two, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## send sample requests through a real Envoy; KEEP=1 leaves it running
	@$(BIN)/python -m extauthz demo $(DEMO_ARGS)

test: $(STAMP) ## all tests but the long ones, with branch coverage
	@$(BIN)/pytest --cov=extauthz --cov=extauthz_kernels

soak: $(STAMP) ## the long tests
	@$(BIN)/pytest -m soak tests/soak

fuzz: $(STAMP) requirements-fuzz.lock ## run each fuzz target for FUZZ_S seconds (Linux)
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-fuzz.lock
	@$(BIN)/python -m fuzz --seconds $(FUZZ_S)

lint: $(STAMP) ## style, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP) ## rewrite the sources in the project's style
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: $(STAMP) ## run the benchmarks named in BENCH, e.g. make bench BENCH=gpu
	@set -e; for name in $(BENCH); do $(BIN)/python -m benchmarks.$$name; done

proto: $(STAMP) ## regenerate extauthz/protocol/_pb from protos/
	@$(BIN)/python protos/generate.py

lock: .venv-lock/bin/uv ## renew both lock files from pyproject.toml
	@$(COMPILE) --output-file requirements.lock
	@$(COMPILE) --extra dev --output-file requirements-dev.lock
	@$(COMPILE) --extra dev --extra fuzz --output-file requirements-fuzz.lock

.venv-lock/bin/uv:
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/pip -qq --disable-pip-version-check install uv==0.13.9

clean: ## remove all that was made here, .venv included
	@rm -rf .venv .venv-lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@rm -rf .coverage dist build run
	@find extauthz kernels tests benchmarks protos -name __pycache__ -type d -prune -exec rm -r {} +
