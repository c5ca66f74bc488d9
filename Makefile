# Each target starts from a fresh clone: the environment is built once, into .venv, and again only
# when its lock file changes. On a GPU node say LOCK=gpu: `make smoke LOCK=gpu`.
LOCK ?= cpu
PYTHON ?= $(shell command -v python3.11 || command -v python3)

VENV := .venv
STAMP := $(VENV)/installed-$(LOCK)
PIP := $(VENV)/bin/python -m pip install -qq --disable-pip-version-check
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=1200

.PHONY: env smoke test lab lint

env: $(STAMP)

smoke: env
	$(VENV)/bin/metarfft run --params params/smoke.yaml

# The tests of a file stay in one process: what they share is made once. The notebooks build on each
# other. nbval cannot inject parameters, and it runs a notebook in the notebook's own folder: hence
# the variable, with a whole path. The notebooks run where a test failed too; Ctrl-C ends both.
test: env
	@trap 'exit 130' INT; tests=passed; notebooks=passed; \
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile || tests=failed; \
	METARFFT_PARAMS="$(CURDIR)/params/test.yaml" $(VENV)/bin/python -m pytest $(NBVAL) notebooks \
	    || notebooks=failed; \
	echo "tests: $$tests"; echo "notebooks: $$notebooks"; \
	[ $$tests = passed ] && [ $$notebooks = passed ]

lab: env
	$(VENV)/bin/jupyter-lab notebooks

lint: env
	$(VENV)/bin/ruff check

$(STAMP): requirements/$(LOCK).txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	    echo "Python 3.11 is needed, got '$(PYTHON)'; name one: make PYTHON=/path/to/python3.11" >&2; \
	    exit 1; }
	@echo "Building $(VENV) from $< (two to four minutes)"
	rm -rf $(VENV)
	"$(PYTHON)" -m venv $(VENV)
	$(PIP) --constraint $< torch
	$(PIP) --no-deps --requirement $<
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@
