# transom: the commands of this repository.  `make help` lists them.
#
# Each target does all the set-up it needs: on a machine with nothing but Debian's base, `make demo` and
# `make test` find or build a free-threaded CPython (kept in the user's cache), make .venv, build the
# package into it and then do their job.  What scripts/ holds is the long form of what stands here.
#
# Variables: TRANSOM_PYTHON   the interpreter to use instead of looking for one
#            TRANSOM_VENV     the folder of the environment (.venv), to keep those of several interpreters
#            TRANSOM_BUILD    release (default), debug, asan, tsan: how the extension is compiled (setup.py)
#            ARGS             further arguments for demo, bench and pytest

SHELL = /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

TRANSOM_BUILD ?= release
export TRANSOM_BUILD

TRANSOM_VENV ?= .venv
export TRANSOM_VENV

PY := $(TRANSOM_VENV)/bin/python
INSTALLED := $(TRANSOM_VENV)/.installed-$(TRANSOM_BUILD)
# Folders are in the list, too: their time changes when a file is removed.
SOURCES := setup.py pyproject.toml $(shell find src ext ! -name '*.pyc' ! -name __pycache__ ! -name '*.egg-info' \
             ! -path '*.egg-info/*' 2>/dev/null)

.PHONY: help
help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

.PHONY: setup
setup:  ## find or build a free-threaded CPython 3.13 and make .venv with the tools
	@sh scripts/setup.sh

.PHONY: build
build: setup  ## compile what changed and install the package into .venv
	@$(MAKE) -s --no-print-directory $(INSTALLED)

# Run by `build` in a second make, which sees what a fresh .venv contains.
$(INSTALLED): $(SOURCES)
	@sh scripts/install.sh

.PHONY: demo
demo: build  ## agents that talk to a language model that breaks, with hogs and kills, live (a minute at most)
	$(PY) -m examples.llm.demo $(ARGS)

.PHONY: demo-exchange
demo-exchange: build  ## a telephone exchange of thousands of agents, live, in the same way; needs no packages
	$(PY) -m examples.exchange $(ARGS)

.PHONY: test
test: build lint typing native-test  ## everything that must hold: lint, types, the C units, the Python suite, its races by seeds
	$(PY) -m pytest $(ARGS)
	@if [ -z "$(ARGS)" ]; then $(MAKE) -s --no-print-directory race-test; fi

.PHONY: race-test
race-test: build  ## the race tests again, each under the schedules of SEEDS (1,2,3), time being virtual
	TRANSOM_TEST_SEEDS=$${SEEDS:-1,2,3} TRANSOM_TEST_SCALE=$${SCALE:-0.02} $(PY) -m pytest -q -m race

.PHONY: lint
lint: setup  ## ruff over all Python files
	$(PY) -m ruff check .

.PHONY: typing
typing: build  ## mypy --strict and pyright on the package and the examples; the stub against the extension
	$(PY) -m mypy
	$(PY) -m pyright
	$(PY) -m mypy.stubtest transom._core

.PHONY: native-test
native-test: setup  ## the C units and models, plain and under the sanitizers; takes no interpreter
	sh tests/native.sh

.PHONY: bench
bench: build  ## the comparisons with Erlang and others on this machine
	sh scripts/bench.sh $(ARGS)

.PHONY: wheel
wheel: setup  ## sdist, the wheel built from it, repaired and tried in an empty environment
	sh scripts/wheel.sh

.PHONY: gil-test
gil-test: setup  ## the Python suite on a CPython with the GIL, where one is found
	sh scripts/gil-test.sh $(ARGS)

# The second version that is tested. Other commands for it:
#     export TRANSOM_PYTHON=$(sh scripts/build-python.sh 3.14) TRANSOM_VENV=.venv-3.14; make bench
NEXT ?= 3.14

.PHONY: next-test
next-test:  ## the Python suite on free-threaded CPython 3.14 (built once), in an environment of its own
	python=$$(sh scripts/build-python.sh $(NEXT)) && \
	    TRANSOM_PYTHON=$$python $(MAKE) -s --no-print-directory TRANSOM_VENV=.venv-$(NEXT) build
	.venv-$(NEXT)/bin/python -m pytest $(ARGS)

.PHONY: soak
soak: build  ## the stress tests for a long time (SECONDS=600 each), the races under 100 seeds, before a release
	TRANSOM_TEST_SEEDS=$$(seq -s, 1 100) TRANSOM_TEST_SCALE=0.02 $(PY) -m pytest -q -m race --timeout 0 $(ARGS)
	TRANSOM_STRESS_SECONDS=$${SECONDS:-600} $(PY) -m pytest tests/stress -m stress --timeout 0 -s $(ARGS)

.PHONY: clean
clean:  ## remove what was built; .venv and the interpreter in the cache stay
	rm -rf build dist wheelhouse src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -f .venv*/.installed-*
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean  ## clean, and .venv with it
	rm -rf .venv .venv-*
