# renewctl: `make demo` to see it, `make test` to prove it, `make check` while working on it.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WORLD  ?= happy-year
KEEP   ?=
FULL   ?=
PART   ?=
SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help install dev demo check test crash bench fuzz lint system peers prometheus3 catalogues constraints clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "renewctl needs Python 3.11 or newer; got $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: constraints.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: constraints-dev.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints-dev.txt
	@touch $@

install: $(VENV)/.runtime ## what users need: renewctl, exporter, Ansible, in .venv

dev: $(VENV)/.dev ## what developers need as well

demo: install ## a year goes by in a minute (WORLD=wrong-apple-account, KEEP=1)
	@$(BIN)/python -m renewctl.sandbox.story --world $(WORLD) $(if $(KEEP),--keep)

check: dev lint ## the fast half: lint, types, contracts, fast tests (< 2 minutes)
	TZ=Asia/Tokyo $(BIN)/python -m pytest -q -n 2 -m "not slow"

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/ansible-lint --offline --profile production -q playbooks

system:
	tests/system.sh

peers: dev ## build the real servers the tests talk to
	$(BIN)/python tests/peers/build.py

test: dev system peers lint ## everything, none skipped (installs what it needs; half an hour and more)
	rm -f .coverage .coverage.*
	TZ=UTC $(BIN)/python -m coverage run -m pytest -q -n 2 --durations=15
	$(BIN)/python -m coverage combine --quiet 2>/dev/null
	rm -f .coverage.* # of processes that tests killed
	$(BIN)/python -m coverage report

crash: dev system peers ## kill it everywhere, print the table: part of CI (FULL=1: the long run; PART=sqlite: one part)
	@$(BIN)/python -m tests.crash $(if $(FULL),--full) $(PART)

bench: dev system ## what matters against named rivals, one run (on a quiet machine)
	@$(BIN)/python -m tests.bench $(PART)

fuzz: dev ## new hostile input for every parser, led by coverage (SECONDS=60 each; PART=store: some)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/hostile/atheris.txt
	@$(BIN)/python -m tests.hostile.fuzz $(SECONDS) $(PART)

prometheus3: dev system ## build Prometheus 3.x and run its tests with it (make test uses Debian's 2.42)
	$(BIN)/python tests/peers/build.py prometheus3
	PATH="$(CURDIR)/.cache/prometheus3:$$PATH" $(BIN)/python -m pytest -q -n 2 tests/alerts tests/grafana tests/exporter/test_exporter_prometheus.py tests/web/promtool3_corpus.py

catalogues: dev ## compile the sentences after changing a .po file
	$(BIN)/python -m renewctl.messages_build

constraints: dev ## pin everything anew, with hashes
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --upgrade --no-emit-index-url --no-emit-find-links --no-header --extra exporter --extra ansible --extra postgresql --extra mysql --extra build pyproject.toml -o constraints.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra dev -c constraints.txt pyproject.toml -o constraints-dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra exporter --extra postgresql --extra mysql -c constraints.txt pyproject.toml -o playbooks/collections/ansible_collections/renewctl/mdm/roles/exporter/files/requirements.txt

clean: ## remove everything that was built
	rm -rf $(VENV) .cache .coverage* test-output
