# `make help` lists the targets. Every one sets up .venv first if that is missing or older than pyproject.toml.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup data demo test lint bench clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## create .venv and install into it; a torch that is there already stays

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

data: $(STAMP)  ## download the Dubai images (33 MB) to $$SPARSE_SEG_DATA or data/dubai
	$(BIN)/python -m sparse_seg.data download

demo: $(STAMP)  ## the grid on synthetic scenes, small; ends with the table of its runs
	$(BIN)/python train.py experiment=demo

test: $(STAMP)  ## all tests; those on real images need SPARSE_SEG_DATA or data/dubai
	$(BIN)/python -m pytest

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)  ## where the time goes; wants an idle machine
	$(BIN)/python -m sparse_seg.bench

clean:  ## remove .venv and caches, not outputs/
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
