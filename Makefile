# The front door. `make train EXP=mnist_disc` and `make test` need nothing set up before them.

PYTHON  ?= python3
VENV    ?= .venv
EXP     ?= iris_gen
CLUSTER ?= slurm
ARGS    ?=

BIN    := $(VENV)/bin
READY  := $(VENV)/.ugmm-ready

TARGETS := help setup train launch eval predict export report crossval ablate compare dashboard test test-slow \
  test-slurm test-wheel lint bench notebooks figures docs docs-links dist release clean
.DEFAULT_GOAL := help
.PHONY: $(TARGETS)

# `make train iris_disc` or `make train seed=1` would train something else than was meant.
GIVEN := $(foreach v,$(.VARIABLES),$(if $(filter command line,$(origin $(v))),$(v)))
STRAY := $(filter-out PYTHON VENV EXP CLUSTER ARGS RUN DATA TO,$(GIVEN)) $(filter-out $(TARGETS),$(MAKECMDGOALS))
ifneq ($(strip $(STRAY)),)
$(error do not know '$(strip $(STRAY))': an experiment goes into EXP=, its settings into ARGS="...")
endif

# What has no default is asked for before anything is installed.
OF_RUN := $(firstword $(filter eval predict export report,$(MAKECMDGOALS)))
ifneq ($(and $(OF_RUN),$(if $(strip $(RUN)),,unnamed)),)
$(error name the run folder: make $(OF_RUN) RUN=runs/...)
endif
ifneq ($(and $(filter predict,$(MAKECMDGOALS)),$(if $(strip $(DATA)),,unnamed)),)
$(error name the rows: make predict RUN=runs/... DATA=table.csv)
endif
ifneq ($(and $(filter export,$(MAKECMDGOALS)),$(if $(strip $(TO)),,unnamed)),)
$(error name the kind: make export RUN=runs/... TO=onnx, pt2 or safetensors)
endif
ifneq ($(and $(strip $(TO)),$(if $(filter export,$(MAKECMDGOALS)),,unread)),)
$(error TO= is read by make export only)
endif
ifneq ($(and $(strip $(DATA)),$(if $(filter eval predict,$(MAKECMDGOALS)),,unread)),)
$(error DATA= is read by make predict and make eval only)
endif
UNNAMED := $(and $(filter file,$(origin EXP)),$(filter crossval ablate compare dashboard,$(MAKECMDGOALS)))
ifneq ($(UNNAMED),)
$(error name it: make $(firstword $(UNNAMED)) EXP=..., a file of experiments/ablations/ or experiments/crossval/)
endif

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  make train EXP=mnist_disc ARGS="seed=1 model.dropout=0.2"'
	@echo '  make eval RUN=runs/mnist_disc/mnist_disc-...'

setup: $(READY) ## install the package and what it needs into $(VENV); implied by the rest

# An environment may have no pip of its own (uv makes such); uv then installs into it.
define install
if $(BIN)/python -m pip --version >/dev/null 2>&1; then \
  echo "$(BIN)/python -m pip install -c constraints.txt -e .[$(1)]"; \
  $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(1)]'; \
elif command -v uv >/dev/null; then \
  echo "uv pip install -c constraints.txt -e .[$(1)]"; \
  uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[$(1)]'; \
else \
  $(BIN)/python -m ensurepip --upgrade && \
  $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(1)]'; \
fi
endef

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || uv venv $(VENV)
	@$(call install,dev)
	@touch $@

train: $(READY) ## train an experiment: EXP=name, ARGS="key=value ..."
	@$(BIN)/ugmm train $(EXP) $(ARGS)

launch: $(READY) ## run it, or a study, on a cluster: EXP=mnist_disc CLUSTER=slurm ARGS="cluster.nodes=2"
	@$(BIN)/ugmm launch $(EXP) cluster=$(CLUSTER) $(ARGS)

eval: $(READY) ## test the checkpoint of a run again: RUN=folder, perhaps on other rows: DATA=table.csv
	@$(BIN)/ugmm eval $(RUN) $(if $(strip $(DATA)),--data $(DATA)) $(ARGS)

predict: $(READY) ## a trained network's answers about rows: RUN=folder DATA=table.csv ARGS="--out answers.csv"
	@$(BIN)/ugmm predict $(RUN) $(DATA) $(ARGS)

export: $(READY) ## a trained network for other programs: RUN=folder TO=onnx, pt2 or safetensors ARGS="--out model.onnx"
	@$(BIN)/ugmm export $(RUN) --to $(TO) $(ARGS)

report: $(READY) ## an HTML page of a run, in its folder: RUN=folder ARGS="--out page.html"
	@$(BIN)/ugmm report $(RUN) $(ARGS)

crossval: $(READY) ## compare models by nested cross-validation: EXP=iris ARGS="--jobs 4"
	@$(BIN)/ugmm crossval $(EXP) $(ARGS)

ablate: $(READY) ## run all points of an ablation: EXP=mnist_norm ARGS="--jobs 2"
	@$(BIN)/ugmm ablate $(EXP) $(ARGS)

compare: $(READY) ## what an ablation's runs say, as tables and a page: EXP=mnist_norm
	@$(BIN)/ugmm compare $(EXP) $(ARGS)

dashboard: $(READY) ## an ablation's runs in W&B, or in the terminal: EXP=mnist_norm
	@$(BIN)/ugmm dashboard $(EXP) $(ARGS)

# A worker a core, but four at most: each of them imports torch and keeps its own trained runs.
PYTEST := $(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=worksteal

test: $(READY) ## run all tests but the slow ones: some ten minutes on two cores
	@$(PYTEST) -m "not slow and not slurm" $(ARGS)

test-slow: $(READY) ## run the tests that take more than 10 s each
	@$(PYTEST) -m slow $(ARGS)

test-slurm: $(READY) ## run the tests on a Slurm cluster that they start, as root
	@tests/slurm/install.sh
	@$(BIN)/python -m pytest -m slurm tests/slurm $(ARGS)

test-wheel: dist ## run the sdist's tests on the wheel, as installed: ARGS="tests/config tests/nn"
	@.ci/test-wheel $(BIN)/python $(ARGS)

lint: $(READY) ## check style, types and the Dockerfile
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	@! test -x $(BIN)/hadolint || $(BIN)/hadolint Dockerfile

bench: $(READY) ## measure all speeds into benchmarks/RESULTS.md: ARGS="--quick --against COMMIT"
	@$(BIN)/python benchmarks $(ARGS)

notebooks: $(READY) ## run the notebooks from top to bottom and keep their outputs
	$(BIN)/python notebooks/execute.py notebooks/*.ipynb

# Warnings are errors: a page that is not found, a name that is not there, a docstring that is no
# reST. Addresses of other hosts are looked up by docs-links only.
SPHINX := $(BIN)/python -m sphinx -n -q -W --keep-going -c docs -d build/doctrees

figures: $(READY) ## draw the pictures of docs/images anew: those that are quick, or ARGS="training.png"
	@$(BIN)/python docs/figures $(ARGS)

docs: $(READY) ## build the documentation into build/site
	@$(SPHINX) . build/site && echo "the site is in build/site: open build/site/index.html"

docs-links: $(READY) ## look whether the pages that the documentation links to still exist
	@$(SPHINX) -b linkcheck . build/links

# With setuptools as pinned in constraints.txt, and not the newest of an environment of the build's own.
dist: $(READY) ## build the sdist and the wheel into dist/, and check them
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --quiet
	@$(BIN)/python -m twine check --strict dist/*

release: $(READY) ## try what this commit builds, and tag it with its version; pushes nothing
	@.ci/release $(VENV)

clean: ## remove the environment and caches; runs/ stays
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
