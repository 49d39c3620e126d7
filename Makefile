PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test check

## Poses the body and writes a picture and a mesh to out/demo.
demo: $(INSTALLED)
	$(BIN)/selfmocap body --pose run --out out/demo/run.png
	$(BIN)/selfmocap body --pose run --out out/demo/run.glb

## The fast suite.
test: $(INSTALLED)
	$(BIN)/pytest

## Everything that must pass: style, types, layers, tests.
check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/pytest

# MediaPipe asks for the OpenCV build with windows, which needs libGL; the headless build of the same version takes
# its place, so that a machine without a desktop works too.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/pip uninstall --quiet --yes opencv-contrib-python opencv-contrib-python-headless
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt opencv-contrib-python-headless
	touch $@
