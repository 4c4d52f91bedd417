# Needs Python 3.11 to 3.13 and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DAGSTER_DISABLE_TELEMETRY ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# Stamps: an install runs again only when what it depends on has changed.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13; name one with make PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python setup.py constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e '.[aws-local,dev,infra]'
	@touch $@

# With Spark, and a Java for it: tests read the lake with it.
$(VENV)/.installed-spark: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet -c constraints.txt -e '.[aws-local,dev,infra,spark]'
	@touch $@

# With what the benchmark compares.
$(VENV)/.installed-bench: $(VENV)/.installed-spark
	$(BIN)/pip install --quiet -c constraints.txt -e '.[aws-local,bench,dev,infra,spark]'
	@touch $@

.PHONY: setup
setup: $(VENV)/.installed ## Install the package into .venv

.PHONY: demo
demo: setup ## Land sample files and run the whole pipeline on embedded parts
	$(BIN)/lake demo

.PHONY: dev
dev: setup ## Open the Dagster UI on this lake
	$(BIN)/lake dev

# A file's tests run in one process, for what they share is slow to make.
.PHONY: test
test: lint $(VENV)/.installed-spark ## Lint and test
	$(BIN)/pytest -n 4 --dist loadfile

.PHONY: test-slow
test-slow: $(VENV)/.installed-spark ## Run the tests that take minutes
	$(BIN)/pytest -m slow -n 2 --dist loadfile

.PHONY: lint
lint: $(VENV)/.installed-dev ## Check style, types and known vulnerabilities of the dependencies
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m infra.audit

.PHONY: format
format: $(VENV)/.installed-dev ## Put the code into its format
	$(BIN)/ruff check --fix --select I
	$(BIN)/ruff format

.PHONY: bench
bench: $(VENV)/.installed-bench ## Measure all that docs/performance.md and docs/ledger.md say, and draw it (QUICK=1: in minutes)
	$(BIN)/python -m bench $(if $(QUICK),--quick)

.PHONY: glue-bundle
glue-bundle: $(VENV)/.installed-dev ## Build what a Glue job installs, into dist/ (STORE=s3://… names where it will lie)
	$(BIN)/python -m infra.glue_bundle --store $(or $(STORE),s3://BUCKET/PREFIX) dist

.PHONY: synth
synth: $(VENV)/.installed-dev ## Make the CloudFormation templates of infra/ in build/cdk, and check them
	$(BIN)/python -m infra.synth build/cdk

.PHONY: browser
browser: ## Install headless Chromium for the tests of the UI (Debian or Ubuntu, as root)
	@if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver; \
	else echo "chromium and chromedriver are missing, so the tests that need them are skipped" >&2; fi

.PHONY: constraints
constraints: ## Renew constraints.txt with the newest versions that setup.py allows
	rm -rf $(VENV)-constraints
	$(PYTHON) -m venv $(VENV)-constraints
	$(VENV)-constraints/bin/pip install --quiet -e '.[aws-local,bench,dev,infra,spark]'
	{ sed -n '/^#/p' constraints.txt; $(VENV)-constraints/bin/pip freeze --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt
	rm -rf $(VENV)-constraints

.PHONY: clean
clean: ## Remove .venv, the demo's lake and what the tools leave (a running `lake dev` must be stopped first)
	rm -rf $(VENV) $(VENV)-constraints .lake build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
