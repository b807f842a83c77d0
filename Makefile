# The commands of the README. Each one first sets up .venv if it is missing or out of date.
PYTHON ?= python3
DEMO_SPLIT ?= 0.01
# Without EPOCHS each chapter keeps its own number.
PARAMETERS = 'DEMO_SPLIT=$(DEMO_SPLIT)' $(if $(EPOCHS),'EPOCHS=$(EPOCHS)')
# The tests that run on every Keras backend.
EVERY_BACKEND = tests/layers tests/test_ops.py tests/test_models.py \
	tests/training/test_recipe.py tests/training/test_optimizers.py tests/training/test_augmentation.py

# Chapters and tests share compiled programs, so that JAX compiles each program only once.
export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/_build/compiled
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0

# The chapters run in other folders, to which a relative path would not apply.
ifdef CIFAR10_NPZ
override CIFAR10_NPZ := $(abspath $(CIFAR10_NPZ))
export CIFAR10_NPZ
endif

# Colab's version of Python if it is installed (pyenv keeps its versions out of the path), or else $(PYTHON).
COLAB_PYTHON ?= $(firstword $(shell for python in python3.13 ~/.pyenv/versions/3.13*/bin/python3.13; do \
	$$python -c 'import sys; print(sys.executable)' 2>/dev/null; done) $(PYTHON))

.PHONY: book test lint colab backends core oldest newest bench results links sphinx dist clean python parameters

book: parameters .venv/ready
	.venv/bin/python book/build.py $(PARAMETERS)

# `make test COVERAGE=--cov` also measures coverage, as CI does, and takes a fifth longer.
test: .venv/peer
	.venv/bin/python -m pytest -n 2 --dist worksteal $(COVERAGE) --nbmake --ignore tests/book/test_colab.py

# Runs the checks of .pre-commit-config.yaml on all files. They fix what they can, and fail if they had to fix anything.
lint: export PRE_COMMIT_HOME = $(CURDIR)/_build/pre-commit
lint: .venv/ready
	.venv/bin/pre-commit run --all-files --show-diff-on-failure

# Runs the packages' tests with the oldest and the newest versions that pyproject.toml allows. Test tools are pinned.
oldest: RESOLUTION = lowest-direct
newest: RESOLUTION = highest
oldest newest: .venv/ready
	.venv/bin/uv venv --quiet --clear --python .venv/bin/python _build/$@
	.venv/bin/uv pip install --quiet --python _build/$@ --resolution $(RESOLUTION) --editable '.[book]'
	.venv/bin/uv pip install --quiet --python _build/$@ $$(grep -E '^(pytest|hypothesis)' requirements.txt)
	.venv/bin/uv pip list --python _build/$@
	_build/$@/bin/python -m pytest -n 2 --ignore tests/book tests src

# Tests the layers, the models, and the recipe on Keras's other backends. The book itself runs on JAX.
backends: .venv-torch/ready .venv-tensorflow/ready
	KERAS_BACKEND=torch .venv-torch/bin/python -m pytest -n 2 $(EVERY_BACKEND)
	KERAS_BACKEND=tensorflow .venv-tensorflow/bin/python -m pytest -n 2 $(EVERY_BACKEND)

# Uses the library with only its core dependencies and one backend, without the extra `book`.
core: .venv/ready
	for backend in jax torch; do \
		.venv/bin/uv venv --quiet --clear --python .venv/bin/python _build/core-$$backend && \
		.venv/bin/python -m pip --python _build/core-$$backend install --quiet --editable . $$backend \
			--constraint requirements.txt --constraint tests/requirements-torch.txt && \
		.venv/bin/uv pip list --python _build/core-$$backend && \
		_build/core-$$backend/bin/python tests/core_only.py $$backend || exit 1; \
	done

# Runs each chapter as Colab would, two at a time, and prints how many seconds each took.
colab: .venv/ready .venv-colab/ready
	@rm -f _build/colab/*.csv
	.venv/bin/python -m pytest -n 2 --maxschedchunk 1 -p no:randomly tests/book/test_colab.py
	@echo chapter,setup,after setup,processor after setup
	@cat _build/colab/*.csv

# Measures the model of chapters 1 to 6 along with keras-matmulless and a float transformer, and the model made for
# images along with its float twin and an attention model. Writes the speed tables in src/mml_book/results. It takes
# about half an hour, during which nothing else should run.
bench: .venv/peer
	.venv/bin/python -m pytest -p no:randomly tests/benchmarks/bench_speed.py tests/benchmarks/bench_image_model.py
	.venv/bin/python tests/benchmarks/speed_tables.py
	.venv/bin/python -m mml_book.results.inference src/mml_book/results/inference.csv

# Trains the models of all tables that `make bench` does not write, cheapest first. It takes about fourteen hours. After
# Ctrl+C, call it again to resume. `.venv/bin/python -m mml_book.results --help` lists the tables.
results: .venv/ready
	.venv/bin/python -W ignore -m mml_book.results

# Checks that the book's links to other sites work.
links: book
	.venv/bin/jupyter-book build _build/source --path-output _build/links --builder linkcheck

# Builds the pages of `make book` with the newest plain Sphinx and the newest theme. Jupyter Book 1 is in maintenance
# mode and holds both back. The site needs none of its extensions.
JUPYTER_BOOK_ONLY = "jupyter_book", "sphinx_thebe", "sphinx_jupyterbook_latex"
sphinx: book
	.venv/bin/uv venv --quiet --clear --python .venv/bin/python _build/sphinx
	.venv/bin/uv pip install --quiet --python _build/sphinx --requirement tests/requirements-sphinx.txt --editable '.[book]'
	.venv/bin/uv pip list --python _build/sphinx
	.venv/bin/jupyter-book config sphinx _build/source
	echo 'extensions = [name for name in extensions if name not in ($(JUPYTER_BOOK_ONLY))]' >> _build/source/conf.py
	PYTHONPATH=book _build/sphinx/bin/sphinx-build -q -n -W --keep-going _build/source _build/html-sphinx

# Builds a source distribution, builds a wheel from it, and tries the wheel in a new environment.
dist: .venv/ready
	rm -rf dist
	.venv/bin/uv build --quiet
	.venv/bin/uv venv --quiet --clear --python .venv/bin/python _build/dist
	.venv/bin/uv pip install --quiet --python _build/dist "$$(echo dist/*.whl)[book]"
	cd _build && dist/bin/python -c 'import mml, mml_book.results; print("imported from", mml.__file__, mml_book.__file__)'
	cd _build && dist/bin/mml --help

# Removes everything that the other commands made, including trained models in `book/runs`, but not those in `runs`.
clean:
	rm -rf .venv .venv-* _build dist book/runs book/packed .benchmarks .coverage .hypothesis .pytest_cache .ruff_cache

# Reports a wrong value before anything is installed or run.
parameters: python
	@$(PYTHON) book/parameters.py $(PARAMETERS)

python:
	@command -v $(PYTHON) >/dev/null || { echo "Error: $(PYTHON) is not installed. Choose another Python: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Error: Python 3.11 or later is needed, but $(PYTHON) is older. Choose another: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "Error: $(PYTHON) cannot create virtual environments. On Debian: apt install python3-venv" >&2; exit 1; }

.venv/ready: requirements.txt pyproject.toml | python
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --requirement requirements.txt
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv-%/ready: requirements.txt tests/requirements-%.txt pyproject.toml | python
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --requirement requirements.txt
	.venv-$*/bin/python -m pip install --quiet --requirement tests/requirements-$*.txt
	.venv-$*/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/browser: .venv/ready tests/requirements-browser.txt
	.venv/bin/python -m pip install --quiet --requirement tests/requirements-browser.txt
	@touch $@

.venv/peer: .venv/ready tests/requirements-peer.txt
	.venv/bin/python -m pip install --quiet --no-deps --requirement tests/requirements-peer.txt
	@touch $@

.venv-colab/ready: tests/requirements-colab.txt | python
	$(COLAB_PYTHON) -m venv --clear .venv-colab
	.venv-colab/bin/python -m pip install --quiet --only-binary :all: --requirement tests/requirements-colab.txt
	@touch $@
