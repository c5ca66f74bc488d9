# Each target works from a fresh clone. The environment is built once, into .venv, and again only if
# its lock file changes. On a GPU node, set LOCK=gpu: `make smoke LOCK=gpu`.
LOCK ?= cpu
PYTHON ?= $(shell command -v python3.11 || command -v python3)

VENV := .venv
STAMP := $(VENV)/installed-$(LOCK)
# Python compiles what it imports; all 30,000 files would take pip a minute. It must keep what it
# compiled, or every process compiles it again: seconds become half a minute.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-compile
# uv takes a fifth of pip's processor time, but reads no pip.conf. Where it fails, pip installs.
UV := $(VENV)/bin/uv pip install -q --python $(VENV)/bin/python
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=1200

.PHONY: env smoke test lab lint docs help

#: make env      build the environment in .venv from a lock file (LOCK=gpu on a GPU node)
#: make smoke    run every stage with a small model, from the corpus to the figures
#: make test     run the tests, and compare the notebooks with their stored outputs
#: make lab      open JupyterLab on copies of the notebooks, in work/
#: make lint     check the style of the code
#: make docs     build the documentation site into docs/_build/html
#: make help     list the targets

env: $(STAMP)

smoke: env
	$(VENV)/bin/metarfft run --params params/smoke.yaml

# Tests and notebooks run side by side, because both often wait; the second report is kept until the
# first has ended. The tests of a file run in one process, so their shared data is made only once.
# Every process computes with one thread, because together they keep the cores busy.
# The notebooks build on each other, in an outputs folder of their own, so that nothing of an earlier
# time counts as finished. Their parameters are a variable with an absolute path, because nbval cannot
# inject any and runs each notebook in the notebook's own folder.
test: env
	@results=$$(mktemp -d); trap 'rm -rf "$$results"' EXIT; trap 'exit 130' INT; \
	$(MAKE) --no-print-directory --jobs=2 RESULTS="$$results" "$$results/tests" \
	    "$$results/notebooks" && \
	cat "$$results/report" "$$results/tests" "$$results/notebooks" && \
	! grep -q failed "$$results/tests" "$$results/notebooks"

test: export OMP_NUM_THREADS ?= 1

$(RESULTS)/tests:
	@$(VENV)/bin/python -m pytest --numprocesses 3 --dist loadfile && result=passed || \
	    result=failed; echo "tests: $$result" > $@

$(RESULTS)/notebooks:
	@METARFFT_PARAMS="$(CURDIR)/params/test.yaml" METARFFT_OUTPUTS="$(RESULTS)/outputs" \
	    $(VENV)/bin/python -m pytest $(NBVAL) notebooks > $(RESULTS)/report 2>&1 \
	    && result=passed || result=failed; echo "notebooks: $$result" > $@

lab: env
	$(VENV)/bin/python -m metarfft_core.lab.start

lint: env
	$(VENV)/bin/ruff check

# The build executes and fetches nothing. A warning, such as a broken link, is an error.
docs: env
	$(VENV)/bin/python -m sphinx -E -W --keep-going -q -c docs -d docs/_build/doctrees . \
	    docs/_build/html
	@echo "The site is docs/_build/html/index.html"

help:
	@sed -n 's/^#: //p' $(firstword $(MAKEFILE_LIST))

$(STAMP): requirements/$(LOCK).txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	    echo "Python 3.11 is needed, got '$(PYTHON)'; name one: make PYTHON=/path/to/python3.11" >&2; \
	    exit 1; }
	@echo "Building $(VENV) from $< (one to four minutes)"
	rm -rf $(VENV)
	"$(PYTHON)" -m venv $(VENV)
	$(PIP) --no-deps --constraint $< torch uv
	$(UV) --no-deps --requirement $< || $(PIP) --no-deps --requirement $<
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@
