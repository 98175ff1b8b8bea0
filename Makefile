# make demo: see it work.  make test: prove it works.  Everything they need is installed on the first run.
PYTHON ?= python3
VENV := .venv
CAPTURES_VENV := .venv-captures
CAPTURES := pydantic-ai traceai-0 traceloop litellm-proxy
CAPTURE_APPS := tests/integration/dialects/apps
BIN := $(VENV)/bin
ROOMS := storage collector analytics alerts api spanwise
TEST_PACKAGES := chromium prometheus prometheus-alertmanager fonts-dejavu-core zookeeperd
WORKERS ?= 2

.PHONY: setup demo test test-captures test-all check format bench image clean

setup: $(VENV)/.run-installed

$(VENV)/bin/python:
	@sh .ci/debian-packages python3-venv
	@echo "making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.run-installed: pyproject.toml | $(VENV)/bin/python
	@echo "installing spanwise and what it runs on (a minute on the first run)"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev-installed: pyproject.toml | $(VENV)/bin/python
	@echo "installing spanwise and the tools that test it (two minutes on the first run)"
	@$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $(VENV)/.run-installed $@

demo: setup
	@$(BIN)/spanwise demo $(DEMO_ARGS)

test: $(VENV)/.dev-installed
	@sh .ci/debian-packages $(TEST_PACKAGES)
	@echo "running the tests on $(WORKERS) workers"
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -q

# What other releases send, in environments of their own: they hold one another back
test-captures: $(CAPTURES:%=$(CAPTURES_VENV)-%/.installed) $(CAPTURE_APPS)/node_modules/.installed
	@$(MAKE) --no-print-directory VENV=$(CAPTURES_VENV) $(CAPTURES_VENV)/.captures-installed
	@$(CAPTURES_VENV)/bin/python -m pytest -q tests/integration/dialects

$(CAPTURES_VENV)/.captures-installed: pyproject.toml | $(VENV)/bin/python
	@echo "installing the packages whose spans are captured (three minutes on the first run)"
	@$(BIN)/python -m pip install --quiet --editable . --group dev --group captures
	@touch $@

$(CAPTURES_VENV)-%/.installed: pyproject.toml
	@sh .ci/debian-packages python3-venv
	@echo "making an environment for the captures of $*"
	@$(PYTHON) -m venv $(CAPTURES_VENV)-$*
	@$(CAPTURES_VENV)-$*/bin/python -m pip install --quiet --upgrade pip
	@$(CAPTURES_VENV)-$*/bin/python -m pip install --quiet --group captures-$*
	@touch $@

$(CAPTURE_APPS)/node_modules/.installed: $(CAPTURE_APPS)/package.json
	@if command -v npm >/dev/null; then cd $(CAPTURE_APPS) && npm install --silent --no-audit --no-fund --no-package-lock && touch node_modules/.installed; \
	else echo "no npm: what Vercel's SDK sends is not captured"; fi

test-all: $(VENV)/.dev-installed
	@sh .ci/debian-packages $(TEST_PACKAGES)
	@$(BIN)/python -m pytest -q -m "not bench"

check: $(VENV)/.dev-installed
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev-installed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.dev-installed
	@$(BIN)/python -m pytest -q -s -m bench tests/bench

image:
	@docker build --tag spanwise:$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) .

clean:
	rm -rf $(VENV) $(CAPTURES_VENV)* $(CAPTURE_APPS)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis artifacts
