# The README's commands. Each sets up .venv first, where it is missing or what it holds has changed.
PYTHON ?= python3
DEMO_SPLIT ?= 0.01
# Without EPOCHS each chapter keeps its own number.
PARAMETERS = 'DEMO_SPLIT=$(DEMO_SPLIT)' $(if $(EPOCHS),'EPOCHS=$(EPOCHS)')
# Tests of what works on each backend of Keras.
EVERY_BACKEND = tests/layers tests/test_ops.py tests/test_models.py \
	tests/training/test_recipe.py tests/training/test_optimizers.py tests/training/test_augmentation.py

# What JAX compiles once serves every chapter and test that computes the same.
export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/_build/compiled
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0

# Colab's Python where there is one (pyenv keeps its own out of the path), else the one of everything else.
COLAB_PYTHON ?= $(firstword $(shell for python in python3.13 ~/.pyenv/versions/3.13*/bin/python3.13; do \
	$$python -c 'import sys; print(sys.executable)' 2>/dev/null; done) $(PYTHON))

.PHONY: book test lint colab backends core oldest newest bench results links sphinx dist clean python parameters

book: parameters .venv/ready
	.venv/bin/python book/build.py $(PARAMETERS)

# `make test COVERAGE=--cov` also counts which lines are tested, as CI does; that takes a fifth longer.
test: .venv/peer
	.venv/bin/python -m pytest -n 2 --dist worksteal $(COVERAGE) --nbmake --ignore tests/book/test_colab.py

# What .pre-commit-config.yaml lists, on all files; it mends what it can, and fails where it had to.
lint: export PRE_COMMIT_HOME = $(CURDIR)/_build/pre-commit
lint: .venv/ready
	.venv/bin/pre-commit run --all-files --show-diff-on-failure

# The package's tests with the oldest and the newest versions that pyproject.toml admits; what tests need is pinned.
oldest: RESOLUTION = lowest-direct
newest: RESOLUTION = highest
oldest newest: .venv/ready
	.venv/bin/uv venv --quiet --clear --python .venv/bin/python _build/$@
	.venv/bin/uv pip install --quiet --python _build/$@ --resolution $(RESOLUTION) --editable '.[book]'
	.venv/bin/uv pip install --quiet --python _build/$@ $$(grep -E '^(pytest|hypothesis)' requirements.txt)
	.venv/bin/uv pip list --python _build/$@
	_build/$@/bin/python -m pytest -n 2 --ignore tests/book tests src

# The layers, the models and the recipe on Keras's other backends. The book stays on JAX.
backends: .venv-torch/ready .venv-tensorflow/ready
	KERAS_BACKEND=torch .venv-torch/bin/python -m pytest -n 2 $(EVERY_BACKEND)
	KERAS_BACKEND=tensorflow .venv-tensorflow/bin/python -m pytest -n 2 $(EVERY_BACKEND)

# Uses the library with nothing but its core and one backend: no package of the extra `book`.
core: .venv/ready
	for backend in jax torch; do \
		.venv/bin/uv venv --quiet --clear --python .venv/bin/python _build/core-$$backend && \
		.venv/bin/python -m pip --python _build/core-$$backend install --quiet --editable . $$backend \
			--constraint requirements.txt --constraint tests/requirements-torch.txt && \
		.venv/bin/uv pip list --python _build/core-$$backend && \
		_build/core-$$backend/bin/python tests/core_only.py $$backend || exit 1; \
	done

# Runs each chapter as Colab would, two at a time, and tells how many seconds each took.
colab: .venv/ready .venv-colab/ready
	@rm -f _build/colab/*.csv
	.venv/bin/python -m pytest -n 2 --maxschedchunk 1 -p no:randomly tests/book/test_colab.py
	@echo chapter,set-up,after set-up,processor after set-up
	@cat _build/colab/*.csv

# Measures the seed's model beside the peer and a float transformer, and the model made for images beside its float
# twin and an attention model. Writes the tables of speed in src/mml_book/results. It takes about half an hour, in
# which nothing else should run.
bench: .venv/peer
	.venv/bin/python -m pytest -p no:randomly tests/benchmarks/bench_speed.py tests/benchmarks/bench_image_model.py
	.venv/bin/python tests/benchmarks/speed_tables.py
	.venv/bin/python -m mml_book.results.inference src/mml_book/results/inference.csv

# Trains all models of the tables that `make bench` does not write, cheapest first. It takes about seven hours; stopped
# by Ctrl+C and called again, it goes on. `.venv/bin/python -m mml_book.results --help` names the tables.
results: .venv/ready
	.venv/bin/python -W ignore -m mml_book.results

# Asks other sites whether the pages that the book links to are there.
links: book
	.venv/bin/jupyter-book build _build/source --path-output _build/links --builder linkcheck

# Builds the pages of `make book` with plain Sphinx, at its newest, and the newest theme. Jupyter Book 1, which is in
# maintenance mode, holds both back; the site needs none of its own extensions.
JUPYTER_BOOK_ONLY = "jupyter_book", "sphinx_thebe", "sphinx_jupyterbook_latex"
sphinx: book
	.venv/bin/uv venv --quiet --clear --python .venv/bin/python _build/sphinx
	.venv/bin/uv pip install --quiet --python _build/sphinx --requirement tests/requirements-sphinx.txt --editable '.[book]'
	.venv/bin/uv pip list --python _build/sphinx
	.venv/bin/jupyter-book config sphinx _build/source
	echo 'extensions = [name for name in extensions if name not in ($(JUPYTER_BOOK_ONLY))]' >> _build/source/conf.py
	PYTHONPATH=book _build/sphinx/bin/sphinx-build -q -n -W --keep-going _build/source _build/html-sphinx

# Builds a source distribution, and from that alone a wheel, and uses the wheel in an environment of its own.
dist: .venv/ready
	rm -rf dist
	.venv/bin/uv build --quiet
	.venv/bin/uv venv --quiet --clear --python .venv/bin/python _build/dist
	.venv/bin/uv pip install --quiet --python _build/dist "$$(echo dist/*.whl)[book]"
	cd _build && dist/bin/python -c 'import mml, mml_book.results; print("imported from", mml.__file__, mml_book.__file__)'
	cd _build && dist/bin/mml --help

# Removes what the other commands made.
clean:
	rm -rf .venv .venv-* _build dist book/runs book/packed

# A wrong value is named before anything is installed or run.
parameters: python
	@$(PYTHON) book/parameters.py $(PARAMETERS)

python:
	@command -v $(PYTHON) >/dev/null || { echo "Error: $(PYTHON) is not installed; name another Python: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Error: Python 3.11 or later is needed, $(PYTHON) is older; name another: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "Error: $(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }

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
