# Everything that people and CI do here. `make` alone explains the targets.
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
NB ?=
VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOL  := $(BIN)/python tools
JUPYTER = $(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 --ServerApp.root_dir="$(CURDIR)" $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.PHONY: help run demo lab edit course full stale test bench docs clean

help:  ## Show this list
	@echo "miniai: from deep learning foundations to Stable Diffusion"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'
	@echo
	@echo "Each target sets up what it needs in $(VENV) first (a few minutes, once). NB=01_matmul picks one notebook."

run: $(STAMP)  ## Paint nine pictures of PROMPT="a small red star above a blue house at night"; leaves a page in _run/
	@$(TOOL)/paint.py $${PROMPT+"$$PROMPT"}

demo: $(STAMP)  ## Open a page to play with: prompt, sampler, guidance, a canvas; on this machine only
	@$(TOOL)/demo.py

lab: $(STAMP)  ## Open copies of the notebooks (in _work/, yours to change) in JupyterLab, on this machine only
	@$(TOOL)/lab.py $(if $(UPDATE),--update)
	@$(JUPYTER) --LabApp.default_url=/lab/tree/_work/index.ipynb

edit: $(STAMP)  ## For contributors: open the notebooks themselves; they are cleaned as they are saved
	@$(JUPYTER) --config=tools/jupyter_edit.py --LabApp.default_url=/lab/tree/nbs/index.ipynb

course: $(STAMP)  ## Run all notebooks at quick scale, each in a fresh kernel; executed copies in _course/
	@$(TOOL)/notebooks.py course $(NB)

full: $(STAMP)  ## Run NB=… (or all) at full scale in place; the only target that writes outputs, figures and weights
	@$(TOOL)/notebooks.py full $(NB)

stale: $(STAMP)  ## List the notebooks whose code changed after their full run
	@$(TOOL)/notebooks.py stale

test: $(STAMP)  ## Every check, as CI runs them: notebooks, export, wheel, site, exercises
	@$(TOOL)/test.py

bench: $(STAMP)  ## Speed, as ratios measured in turns on this machine
	@$(TOOL)/bench.py

docs: $(STAMP)  ## Build the site in _docs/, without a network; _docs_src/ is the copy that Quarto renders
	@$(TOOL)/docs.py

clean:  ## Remove everything that can be made again, except the environment
	rm -rf _docs _docs_src _course _run _checkpoints jupyter_execute build dist *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(STAMP): setup.py settings.ini constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3,11) <= v <= (3,13) else f"Python 3.11 to 3.13 is needed and this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "setting up $(VENV) (a few minutes, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e '.[dev]'
	@touch $@
