# One command per habit; `make help` lists them. A new machine needs python3 (3.11 to 3.13), make and git.

PY ?= python3
VENV ?= .venv
# The build of PyTorch, as uv names it: auto takes the one for this machine's GPU, and cpu where there is none.
TORCH_BACKEND ?= auto
# Two processes, since most tests use one core; a file stays in one, with its fixtures. One that dies ends the
# run: pytest-xdist may wait for ever for what it had in hand.
PYTEST_ARGS ?= -n 2 --dist loadfile --max-worker-restart 0
BENCH_ARGS ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready

# uv does not read pip's settings, so a folder of wheels and an index are handed over. A wheel of PyTorch that
# fits this Python, lying in such a folder, is taken instead of asking an index for a build.
FOLDERS = $(or $(PIP_FIND_LINKS),$(shell $(PY) -m pip config get global.find-links 2>/dev/null))
LINKS = $(foreach link,$(FOLDERS),$(if $(wildcard $(link))$(findstring ://,$(link)),--find-links $(link)))
PYTHON_TAG = $(shell $(PY) -c 'import sys; print("cp%d%d" % sys.version_info[:2])' 2>/dev/null)
TORCH_WHEEL = $(firstword $(foreach folder,$(FOLDERS),$(wildcard $(folder)/torch-*-$(PYTHON_TAG)-*.whl)))
PROJECT = --constraint constraints.txt --editable '.[dev,postgresql,pretrained,umap]'

.DEFAULT_GOAL := help
.PHONY: help setup chromium demo test lint format bench bench-models bench-detection bench-scenarios docs constraints clean

help:  ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## make the virtual environment; nothing to do the second time

$(READY): pyproject.toml constraints.txt
	@$(PY) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
	  echo "aeflow needs Python 3.11, 3.12 or 3.13; $(PY) is $$($(PY) --version 2>/dev/null || echo missing)."; \
	  echo "Name another one: make PY=python3.12"; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || $(PY) -m venv --clear $(VENV) || { \
	  echo "$(PY) cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv 2>/dev/null || true
	@echo "Installing into $(VENV): half a minute to a few minutes, depending on the network."
	@if [ -x $(BIN)/uv ]; then \
	  index=$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}}; \
	  if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	  $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(LINKS) \
	    $(if $(TORCH_WHEEL),,--torch-backend $(TORCH_BACKEND)) $(PROJECT) || { \
	    echo "The packages could not be installed. Where PyTorch's own index cannot be reached, put a wheel of torch"; \
	    echo "for $(PYTHON_TAG) into a folder and name it: PIP_FIND_LINKS=/path/to/folder make setup"; exit 1; }; \
	elif [ -n "$(TORCH_WHEEL)" ] || [ "$$(uname)" != Linux ] || command -v nvidia-smi >/dev/null; then \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PROJECT); \
	else \
	  echo "uv could not be installed, and pip alone would fetch gigabytes of CUDA for a machine without a GPU."; \
	  echo "Put a CPU wheel of torch into a folder and name it: PIP_FIND_LINKS=/path/to/folder make setup"; exit 1; \
	fi
	@touch $@

demo: setup  ## the main job on real data, images and series, end to end
	$(BIN)/aeflow demo

# The tests of report and review app drive the system's browser; without one they are skipped, and say why.
chromium:
	@if ! command -v chromedriver >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing Chromium for the browser tests."; export DEBIAN_FRONTEND=noninteractive; \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver \
	    fonts-dejavu-core; } >/dev/null 2>&1 || echo "Chromium could not be installed: its tests are skipped."; \
	fi

test: setup chromium  ## all tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: setup  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## bring the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## what is measured against the machine's limit
	$(BIN)/python -m benchmarks.throughput

bench-models: setup  ## every model family on labelled real data, into docs/models.md with `make docs`
	$(BIN)/python -m benchmarks.models $(BENCH_ARGS)

bench-detection: setup  ## what the default pipelines find on labelled real data, into docs/detection.md with `make docs`
	$(BIN)/python -m benchmarks.detection $(BENCH_ARGS)

bench-scenarios: setup  ## changes planted into real nights, and what is decided on them
	$(BIN)/python -m benchmarks.scenarios $(BENCH_ARGS)

docs: setup  ## write the reference pages and the comments of configs/ anew from the code
	$(BIN)/python docs/generate.py

# Which build of PyTorch is installed differs from machine to machine; what a CUDA build needs, it pins itself.
constraints: setup  ## resolve constraints.txt anew, keeping what still fits (UPGRADE=--upgrade: the newest)
	@sed -n '/^#/p' constraints.txt > constraints.new
	@cp constraints.txt $(VENV)/constraints.resolved
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header --no-annotate \
	  $(UPGRADE) $(LINKS) --output-file $(VENV)/constraints.resolved pyproject.toml
	@sed -E '/^(#|cuda-|nvidia-|triton=)/d; s/^(torch==[0-9.]+)\+[a-z0-9]+/\1/' $(VENV)/constraints.resolved >> constraints.new
	@mv constraints.new constraints.txt

clean:  ## remove the virtual environment and what tools have cached; data in .aeflow stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
