# make study · make new · make audit · make test · make test-hard · make lab · make smoke · make claims · make check · make docs · make lint:
# each sets up .venv first if it is missing.
# docs/pipeline.md lists the command behind each target, for machines without make.
SHELL := bash
PYTHON ?= python3
STUDY ?=
RUN ?=
JOBS ?=
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PPE_SHARED ?= $(abspath ../shared)
export PYTHONWARNINGS ?= ignore::FutureWarning
# Threads that wait do not spin: beside other work a spinning wait costs several times the time.
export OMP_WAIT_POLICY ?= PASSIVE

NAME ?=
ROOT ?=
GENERATED ?=
PEOPLE ?=
CONTROLS ?=
TRAINING ?=
OUT ?=
OPTIONS ?=

.PHONY: study new audit smoke claims check docs test test-hard lint lab
.DEFAULT_GOAL := study

# --people "/path/to/people" of PEOPLE=/path/to/people; nothing where it is not given.
option = $(if $($(call upper,$(1))),--$(1) "$($(call upper,$(1)))")
upper = $(shell echo $(1) | tr a-z A-Z)

# Made anew when the dependencies change; the marker is touched last, so that a broken install is not taken for a whole one.
$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit('Python 3.11 or newer is needed, this is ' + sys.version.split()[0]) if sys.version_info < (3, 11) else None"
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[faces,test]'
	touch $@

# Several runs at a time, where there are cores and memory for them: make study JOBS=4
study: $(BIN)/.installed
	python -m ppe study $(STUDY) $(RUN) $(if $(JOBS),--jobs $(JOBS))

# Writes studies/NAME.yaml for a folder of photos: make new NAME=mine ROOT=/path/to/photos
# A trial with toy sizes: OPTIONS=--quick
new: $(BIN)/.installed
	python -m ppe new $(NAME) --root "$(ROOT)" $(OPTIONS)

# Audits a generator that exists: make audit GENERATED=/path/to/faces PEOPLE=/path/to/people CONTROLS=/path/to/controls
# Other options of `python -m ppe audit --help`: OPTIONS="--show-faces --names"
audit: $(BIN)/.installed
	python -m ppe audit $(foreach name,generated people controls training out,$(call option,$(name))) $(OPTIONS)

smoke: $(BIN)/.installed
	python -m ppe study smoke --jobs 2

# Writes the tables of README.md and docs/results.md from results/*/claims.csv.
claims: $(BIN)/.installed
	python -m ppe claims

# Says which headline of results/ lies outside the committed interval: after `make study` on another machine, say.
check: $(BIN)/.installed
	python -m ppe check $(STUDY)

docs: $(BIN)/.installed
	python -m ppe docs

test: $(BIN)/.installed
	python -m pytest -n logical --dist loadfile --no-loadscope-reorder

# Every stage killed at three moments, and what else takes long: at most 40 minutes on two cores, outside CI.
test-hard: $(BIN)/.installed
	python -m pytest -m hard --timeout 2400 -s

lint: $(BIN)/.installed
	ruff check .

lab: $(BIN)/.installed
	jupyter lab --ServerApp.root_dir=. --ContentsManager.allow_hidden=True --LabApp.default_url=/lab/tree/notebooks
