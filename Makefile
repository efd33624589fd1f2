# make test | make faults | make tiers | make demo | make demo-train | make minidance-weights | make ablation | make benchmark | make gpu | make wheels | make lint | make format | make install | make docs | make clean
# PYTHON=python3.12 chooses the interpreter, VENV=path the environment. RELEASED=path is a
# checkout of the released FDTA for `make benchmark` and `make gpu`.

SHELL := /bin/bash
VENV ?= .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
INSTALL_LOG := $(VENV)/install.log
FAMILY ?= onedl
# Triton is tested once, in the default family: it takes 1 GB.
TRITON := ,triton
EXTRAS ?= $(FAMILY),tests$(if $(filter onedl,$(FAMILY)),$(TRITON))
PYTEST_ARGS ?=
# Tests run in one process for each core. A process takes 1 to 2.3 GB, so there are 6 at
# most. Each starts with a run of neighbouring files, whose fixtures are then built once;
# one that is done takes tests over from another. PYTEST_ARGS='-n 0' runs all in one.
WORKERS ?= -n logical --maxprocesses 6 --dist worksteal
# These processes already use all cores.
test: export OMP_NUM_THREADS ?= 1
# In tests threads that wait for work must not spin: on a shared machine they would take
# the core from the one they wait for. Commands let them spin for a short while
# (mmfdta/utils/threads.py), which is faster alone.
test faults: export OMP_WAIT_POLICY ?= passive

# An interpreter counts when it starts, is 3.10 to 3.12 and can make an environment.
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3.11 python3.12 python3.10 python3 python)
USABLE := import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))

.PHONY: install test faults tiers lint format demo demo-train minidance-weights ablation benchmark gpu wheels docs clean

test: install lint
	$(PY) -m pytest -m "not slow and not faults and not tiers" $(WORKERS) $(PYTEST_ARGS)

faults: install
	$(PY) -m pytest -m faults $(PYTEST_ARGS)

tiers: install
	$(PY) -m pytest -m tiers $(PYTEST_ARGS) tests/tiers

# What people read; .proselintrc.json leaves out what does not suit Markdown.
PROSE := README.md CONTRIBUTING.md CHANGELOG.md $(wildcard docs/*.md)
lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m codespell_lib
	$(PY) -m proselint check $(PROSE)

format: install
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

demo: install
	$(PY) -m mmfdta demo

demo-train: install
	$(PY) -m mmfdta demo --train

# The weights that come with mmfdta, from what demo-train leaves.
minidance-weights: install
	$(PY) tools/make_minidance_weights.py $(WEIGHTS_ARGS)

ablation: install
	$(PY) -m mmfdta ablation

benchmark: install
	$(if $(RELEASED),$(PY) -m pip install -q einops)
	$(PY) benchmarks/run_all.py $(if $(RELEASED),--released $(RELEASED)) $(BENCHMARK_ARGS)

gpu: install
	$(if $(RELEASED),$(PY) -m pip install -q einops)
	$(PY) -m mmfdta gpu-check $(if $(RELEASED),--released $(RELEASED)) $(GPU_ARGS)

# WHEELS=folder, FOR=3.12: the Python of the machine that gets them.
WHEELS ?= work_dirs/wheels
wheels: install
	PATH="$(abspath $(VENV)/bin):$$PATH" tools/make_wheels.sh $(WHEELS) $(FOR)

docs: install
	$(PY) -m pip install -q -r requirements/docs.txt
	$(PY) -m sphinx -q -W docs docs/_build
	$(PY) docs/check_site.py docs/_build

install: $(STAMP)

$(STAMP): setup.py pyproject.toml mmfdta/version.py $(wildcard requirements/*.txt)
	@python=; for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c '$(USABLE)' 2>/dev/null; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "mmfdta needs Python 3.10, 3.11 or 3.12 with venv and pip; tried: $(CANDIDATES)." >&2; \
	  echo "Install one (Debian: apt install python3-venv) or name it: make PYTHON=/path/to/python" >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV)
	@echo "Installing mmfdta[$(EXTRAS)]: about two minutes; the log is $(INSTALL_LOG)"
	@set -o pipefail; \
	$(PY) -m pip install --progress-bar off -e '.[$(EXTRAS)]' 2>&1 | tee $(INSTALL_LOG) \
	| awk '/^(Collecting|Building|Installing|Successfully)/ {print "  " $$1, $$2; fflush()}' \
	|| { tail -n 30 $(INSTALL_LOG) >&2; exit 1; }
	@$(PY) -m pip check > $(VENV)/check.log || { echo "Packages that do not fit together:" >&2; cat $(VENV)/check.log >&2; exit 1; }
	@touch $@

clean:
	rm -rf .venv .venv-openmmlab build docs/_build .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info mmfdta/.mim
