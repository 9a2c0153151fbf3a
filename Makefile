# `make demo` and `make test` do all of their own set-up: the environment is made in .venv on first use and renewed
# when setup.cfg or constraints.txt change. Needs Python 3.11 or newer; choose one with `make PYTHON=python3.12 test`.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check coverage docs screenshots notebooks bench bench-quick clean

VENV_PYTHON := .venv/bin/python
STAMP := .venv/installed
EXTRAS := test,dev,docs,boss,cloud
# More options for pytest: make test PYTEST_OPTIONS="-k halo"
PYTEST_OPTIONS ?=
# Files of tests go to three processes: many wait for servers and clusters that they started, so two cores are never full.
SIDE_BY_SIDE := -n 3 --dist loadfile

# The first Python that is new enough; evaluated only where the environment is made.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	"$$name" -c '$(NEW_ENOUGH)' 2>/dev/null && echo "$$name" && break; done)

help:
	@echo "make demo    predict a made volume with a made ilastik project, into ./demo-output"
	@echo "make test    run all the tests"
	@echo "make check   style, types, import direction, code in the docs, the docs themselves"
	@echo "make coverage  run all the tests and count the lines that they reach, into build/coverage"
	@echo "make docs    the documentation as pages, into build/docs"
	@echo "make screenshots  every picture of the README and the docs anew"
	@echo "make notebooks  run all notebooks and keep what they show"
	@echo "make bench   measure everything beside its peers, half an hour, into docs/performance.md; or make bench-quick"
	@echo "make clean   remove the environment, the demo's output and caches"

demo: $(STAMP)
	@.venv/bin/voxelforest demo demo-output

test: $(STAMP)
	@echo "== tests"
	@$(VENV_PYTHON) -m pytest $(SIDE_BY_SIDE) $(PYTEST_OPTIONS)

check: $(STAMP)
	@echo "== style"
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@echo "== types"
	@$(VENV_PYTHON) -m mypy
	@echo "== import direction, code in the docs"
	@$(VENV_PYTHON) -m pytest -q $(SIDE_BY_SIDE) tests/test_imports.py tests/docs
	@$(MAKE) --no-print-directory docs

# Kernels are compiled anew, since much of what makes them runs only then.
coverage: $(STAMP)
	@rm -rf build/coverage
	@COVERAGE_FILE=$(CURDIR)/build/coverage/data NUMBA_CACHE_DIR=$(CURDIR)/build/coverage/kernels $(VENV_PYTHON) -m pytest \
		$(SIDE_BY_SIDE) --cov --cov-report=term:skip-covered --cov-report=json:build/coverage/lines.json --cov-fail-under=92 \
		$(PYTEST_OPTIONS)

docs: $(STAMP)
	@echo "== documentation, into build/docs"
	@$(VENV_PYTHON) -m sphinx -q -W --keep-going -b html docs build/docs

screenshots: $(STAMP)
	@$(VENV_PYTHON) -m tests.screenshots

notebooks: $(STAMP)
	@$(VENV_PYTHON) -m tests.notebooks.execute

# vigra comes from the system, as the package python3-vigra; without it, its columns say so.
bench: .venv/peers
	@$(VENV_PYTHON) -m benchmarks --out benchmarks/results; answered=$$?; \
	$(VENV_PYTHON) -m benchmarks.report && exit $$answered

bench-quick: .venv/peers
	@$(VENV_PYTHON) -m benchmarks --size quick --out build/benchmarks; answered=$$?; \
	$(VENV_PYTHON) -m benchmarks.report --results build/benchmarks --docs build/benchmarks && exit $$answered

.venv/peers: $(STAMP)
	@$(VENV_PYTHON) -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[bench]"
	@touch $@

clean:
	rm -rf .venv demo-output build dist voxelforest.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ensurepip is what Debian leaves out of its Python; asking for it first keeps a half-made .venv from being left behind.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@python="$(PYTHON)"; \
	if [ -z "$$python" ] || ! "$$python" -c '$(NEW_ENOUGH)' 2>/dev/null; then \
		echo "VoxelForest needs Python 3.11 or newer, but '$${python:-python3}' is older or missing." >&2; \
		echo "Install one, then name it: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; \
		exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		case "$$python" in *3.*) package="$${python##*/}-venv";; *) package=python3-venv;; esac; \
		if [ "$$(id -u)" = 0 ]; then sudo=; else sudo="sudo "; fi; \
		echo "Python's venv module is missing. On Debian or Ubuntu this installs it:" >&2; \
		echo "    $${sudo}apt-get update && $${sudo}apt-get install -y $$package" >&2; \
		exit 1; \
	fi; \
	if ! $(VENV_PYTHON) -m pip --version >/dev/null 2>&1; then \
		echo "== making the environment .venv with $$("$$python" --version)"; \
		"$$python" -m venv --clear .venv; \
	fi
	@echo "== installing VoxelForest and its tested dependencies into .venv (about a minute)"
	@$(VENV_PYTHON) -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $(STAMP)
