# `make help` lists the targets. Needs Python 3.11 or newer, make and a package index;
# once installed, everything works offline.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# One thread a test process: several processes share the cores.
RUN := OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup demo ablate test test-slow check fmt docs pages site bench golden clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo: $(VENV)/python pyproject.toml setup.py constraints.txt
	$(PIP) -e '.[train,plot,fast]'
	@touch $@

$(VENV)/dev: $(VENV)/python pyproject.toml setup.py constraints.txt
	$(PIP) -e '.[dev]'
	@touch $@

setup: $(VENV)/dev ## Make the virtual environment with everything a developer needs

demo: $(VENV)/demo ## Ingest the shipped runs, freeze them, train NCPL, print the scores, draw a plot
	$(BIN)/ncpl-data ingest steplaw --offline --catalog $(DEMO)/catalog
	$(BIN)/ncpl-data query --catalog $(DEMO)/catalog \
	  "select split, count(*) as runs from splits group by 1 order by 2 desc"
	$(BIN)/ncpl-data snapshot --catalog $(DEMO)/catalog
	$(BIN)/ncpl-train --catalog $(DEMO)/catalog --preset demo --out $(DEMO)/bundle \
	  --plot $(DEMO)/predicted_vs_measured.png
	@echo "plot: $(DEMO)/predicted_vs_measured.png   bundle: $(DEMO)/bundle"

test: $(VENV)/dev ## Run the tests and print how much of the code they ran
	$(RUN) $(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=
	@echo "coverage: $$($(BIN)/coverage report --format=total)% of the lines"

test-slow: $(VENV)/dev ## Run the tests of minutes, then all others with the kernels of an old processor
	$(RUN) $(BIN)/python -m pytest -n 2 --dist worksteal -m slow --timeout 1200
	$(RUN) OPENBLAS_CORETYPE=Prescott ATEN_CPU_CAPABILITY=default \
	  $(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/dev .typecheck/ncpl_data ## Format, lint, import contracts, types, code that stands twice, submissions, links
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	MYPYPATH=.typecheck $(BIN)/mypy -p ncpl_data -p ncpl -p research
	$(BIN)/pylint terminal schema catalog ingest explore ncpl research
	$(BIN)/ncpl-data validate submissions
	$(RUN) $(BIN)/python -m pytest -q tests/test_links.py tests/site/test_built_site.py

# Type checkers can not follow a namespace whose parts are mapped folders; these links show them.
.typecheck/ncpl_data:
	@mkdir -p $@
	@for part in terminal schema catalog ingest explore; do ln -sfn ../../$$part $@/$$part; done

fmt: $(VENV)/dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/dev ## Write the generated pages
	$(BIN)/python -m ncpl_data.schema.describe schema/FIELDS.md
	$(BIN)/python -m ncpl_data.ingest.datapage docs/data.md

pages: $(VENV)/dev ## Run the commands of docs/, tell where they print something else (UPDATE_GOLDEN=1: write it)
	$(RUN) $(BIN)/python -m pytest -q -m slow --timeout 1200 tests/site

site: $(VENV)/dev ## Build the pages of docs/ into build/site; they open from disk
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: $(VENV)/dev ## Measure speed, each beside a stated limit; training alone takes hours (NCPL_BENCH_RUNS)
	$(RUN) $(BIN)/python -m pytest tests/bench tests/ncpl/model/test_speed.py tests/ncpl/plan/test_plan_speed.py -m bench -q -s

ablate: $(VENV)/dev ## Measure what each part of the model gives; ARGS="--bundle DIR --write"
	$(RUN) $(BIN)/python -m research.ablate $(ARGS)

golden: $(VENV)/dev ## Write the golden losses of the smoke fit anew; the change says why
	UPDATE_GOLDEN=1 $(RUN) $(BIN)/python -m pytest -q tests/ncpl/train/test_members.py

clean: ## Remove the environment and what the demo wrote
	rm -rf $(VENV) $(DEMO) .typecheck build *.egg-info
