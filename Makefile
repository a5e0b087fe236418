# `make help` lists the targets. Every one sets up .venv first if that is missing or older than pyproject.toml.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
REPORT := $(BIN)/python -m sparse_seg.report

.DEFAULT_GOAL := help
.PHONY: help setup data demo test test-all test-oldest lint bench clean table1 table2 table3 tables figures report dashboard

help:  ## list the targets
	@grep -hE '^[a-z0-9 -]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

setup: $(STAMP)  ## create .venv and install into it; a torch that is there already stays

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

data: $(STAMP)  ## download the Dubai images (33 MB) to SPARSE_SEG_DATA or data/dubai
	$(BIN)/python -m sparse_seg.data download

demo: $(STAMP)  ## the grid on synthetic scenes, small; ends with the table of its runs and Tables 1 to 3
	$(BIN)/python train.py experiment=demo
	$(REPORT) demo --tables 1,2,3

table1 table2 table3: $(STAMP)  ## run what is missing of a table's study, then print it (ARGS="seed=0,1,2,3,4")
	$(BIN)/python train.py experiment=$@ $(ARGS)
	$(REPORT) $@

tables: $(STAMP)  ## print every table, or some (ARGS="--tables 1,4"; there are 1, 2, 3, 4, 5, 6, 9, 10, 11)
	$(REPORT) $(ARGS)

figures: $(STAMP)  ## write every figure to outputs/figures
	$(REPORT) --figures outputs/figures

report: $(STAMP)  ## write all tables and figures as one page, outputs/report.html
	$(REPORT) --html outputs/report.html

dashboard: $(STAMP)  ## open TensorBoard on all studies
	$(BIN)/tensorboard --logdir outputs

ifneq ($(wildcard data/dubai),)
test test-all test-oldest: export SPARSE_SEG_DATA ?= $(CURDIR)/data/dubai
endif
# Two workers of one thread each. A file's slow tests stay together: some share a training.
test test-all test-oldest: export OMP_NUM_THREADS ?= 1
test: $(STAMP)  ## the tests; those on real images need SPARSE_SEG_DATA or data/dubai
	$(BIN)/python -m pytest -m 'not slow' -n 2

test-all: test  ## the slow tests, too: twenty kills, launchers
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile --durations=20

test-oldest: $(STAMP)  ## a selection with the oldest versions allowed, in .venv-oldest; only torch is that of .venv
	.ci/oldest

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

bench: $(STAMP)  ## where the time goes; wants an idle machine (ARGS="a d": only these sections)
	$(BIN)/python -m sparse_seg.bench $(ARGS)

clean:  ## remove .venv, .venv-oldest and caches, not outputs/
	rm -rf $(VENV) .venv-oldest .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
