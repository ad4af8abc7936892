# The commands of this project. `make rehearse` and `make test` set up everything they need on a fresh machine.
STACK ?= dev
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
# Tests that rehearse wait most of the time: two workers a core (tests/conftest.py). Those of `make unit` never wait.
SPREAD := --dist loadgroup --no-loadscope-reorder

.PHONY: help setup environment rehearse node down test test-all unit lint schema policies bench lock outdated clean
.DEFAULT_GOAL := help

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## ?/\1\t/' | expand -t 12

$(INSTALLED): requirements-dev.txt
	@test ! -L $(VENV) || { echo "$(VENV) is a link: its environment is somebody else's; remove the link first"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gpulab needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear $(VENV)
	@# The lock is complete, so pip need not look for more; it would not know the override in pyproject.toml. Few modules of
	@# the large packages are ever imported, so Python compiles each at its first import.
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --require-hashes \
	  --requirement requirements-dev.txt
	@touch $@

setup: $(INSTALLED)  ## Makes the Python environment, every tool of the rehearsal and, as root on Linux, the images of a node
	$(RUN) -m rehearsal.machine.toolchain
	$(RUN) -m rehearsal.node.setup

environment: $(INSTALLED)  ## Makes only the Python environment

rehearse: $(INSTALLED)  ## Rehearses a stack without an account: make rehearse STACK=dev JSON=FILE QUICK=1 PLUGINS=aws
	$(RUN) -m rehearsal "$(STACK)" $(if $(JSON),--json "$(JSON)") $(if $(PLUGINS),--plugins "$(PLUGINS)") $(if $(filter-out 0,$(QUICK)),--quick)

node: $(INSTALLED)  ## Rehearses a stack with real containers (Linux, as root): make node STACK=workstation, or dev
	$(RUN) -m rehearsal "$(STACK)" --node $(if $(JSON),--json "$(JSON)")

down: $(INSTALLED)  ## Ends rehearsals that were kept (python -m rehearsal STACK --keep)
	$(RUN) -m rehearsal down

# A node's containers have the machine to themselves: people wait for pages there.
test: lint setup  ## What CI runs: lint, types, unit tests, sign-in, rehearsals of dev and prod, people on a node
	$(RUN) -m pytest -n auto $(SPREAD) -m "not endurance and not node"
	$(RUN) -m pytest tests/node -m "not endurance and node"

test-all: lint setup  ## make test and the long tests of each night; SEED=NUMBER repeats a run's random choices
	SEED="$(SEED)" $(RUN) -m pytest -n auto $(SPREAD) -m "not node"
	SEED="$(SEED)" $(RUN) -m pytest tests/node -m node

unit: $(INSTALLED)  ## The tests that take seconds
	$(RUN) -m pytest -n logical $(SPREAD) tests/unit tests/policies tests/reports tests/workflows

lint: $(INSTALLED)  ## ruff and pyright; actionlint and zizmor for the workflows
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m pyright
	$(RUN) -m ci.lint

schema: $(INSTALLED)  ## Writes the JSON Schema of the stack file
	$(RUN) -m settings.schema

policies: $(INSTALLED)  ## Prints the policy pack's catalogue, and writes docs/policies.md
	$(RUN) -m policies.pack --write

bench: setup  ## Seconds and memory: of each phase of dev, of 1, 10 and 100 teams, and of the policy pack, as JSON
	$(RUN) -m rehearsal.bench.phase_times "$(STACK)" --json bench.json
	$(RUN) -m rehearsal.bench.teams --json bench-teams.json

lock: $(INSTALLED)  ## Pins the requirements again, with hashes
	$(RUN) -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
	  pyproject.toml --output-file requirements.txt
	$(RUN) -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
	  pyproject.toml --group rehearsal --group hub --group dev --constraint requirements.txt --output-file requirements-dev.txt

outdated: $(INSTALLED)  ## Each pin beside the newest that is served, security first; WRITE=1 records digests of images
	$(RUN) -m ci.outdated $(if $(filter-out 0,$(WRITE)),--write)

clean:  ## Removes the Python environment; the toolchain's cache stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
