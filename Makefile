BIN := .venv/bin

# Without PYTHON, an environment that exists is used, whatever made it. A PYTHON of another version rebuilds it: the
# stamp is named after the version.
ifeq ($(origin PYTHON),undefined)
PYTHON := $(or $(wildcard $(BIN)/python),python3)
endif
VERSIONS := 3.10 3.11 3.12 3.13 3.14
VERSION := $(shell { $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'; } 2>/dev/null)
ifeq ($(filter $(VERSION),$(VERSIONS)),)
$(error expected Python $(VERSIONS), found $(or $(VERSION),none) as $(PYTHON); name another: make PYTHON=python3.13 test)
endif
INSTALLED := .venv/installed-$(VERSION)
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test check docs

## The main job: capture VIDEO, or a synthetic video made first, into out/demo. The truth of the synthetic video is
## known: the errors before and after adaptation are printed in mm.
SYNTHETIC := out/demo/synthetic/clip_00000
VIDEO ?= $(SYNTHETIC)/video.mp4
demo: $(INSTALLED)
ifeq ($(VIDEO),$(SYNTHETIC)/video.mp4)
	$(BIN)/selfmocap synthesize --out out/demo/synthetic --clips 1 --frames 60 --seed 7 --room static
endif
	$(BIN)/selfmocap capture "$(VIDEO)" --out out/demo
	$(BIN)/selfmocap body --pose out/demo/person-1/motion.npz --out out/demo/person-1/first-frame.png
ifeq ($(VIDEO),$(SYNTHETIC)/video.mp4)
	$(BIN)/selfmocap infer out/demo --out out/demo/before
	@echo "Before adaptation, against the truth:"
	@$(BIN)/selfmocap evaluate out/demo/before/person-1/motion.npz $(SYNTHETIC)/truth/motion.npz
	@echo "After adaptation, refinement and post-processing:"
	@$(BIN)/selfmocap evaluate out/demo/person-1/motion.npz $(SYNTHETIC)/truth/motion.npz
endif

# Two processes of one thread each. The tests of a file stay in one process, since they share what it makes.
WORKERS ?= 2
PYTEST := $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
test check: export OMP_NUM_THREADS := 1

## The fast suite: every room and one capture, in less than two minutes on two cores.
test: $(INSTALLED)
	$(PYTEST) -m "not slow"

## Everything that must pass: style, types, layers, all tests.
check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(PYTEST) --durations=20

## The documentation, as a static site in out/site. A warning is an error.
docs: $(INSTALLED)
	$(BIN)/python scripts/architecture_picture.py docs/architecture.png
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(if $(wildcard $@),,--clear) .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev,docs]"
	touch $@
