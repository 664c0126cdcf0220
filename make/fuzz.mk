# Damaged files and wrong arguments, made at random, for everything that reads them: docs/reliability.md. SECONDS is the
# time for each target, FUZZ_SEED the seed. Frameworks are those of build/neighbours if make test-neighbours has left it.

.PHONY: fuzz fuzz-model-file fuzz-python

help::
	@echo "make fuzz         damaged files and wrong arguments at random; SECONDS=60 for each target"

SECONDS ?= 60
FUZZ_SEED ?= 0
FUZZ_CXX ?= $(firstword $(foreach name,clang++ clang++-21 clang++-20 clang++-19 clang++-18,$(shell command -v $(name))))
FUZZ_PYTHON = $(firstword $(wildcard build/neighbours/bin/python) python)
FUZZ_FINDS := build/fuzz/finds

fuzz: fuzz-model-file fuzz-python

# With libFuzzer if the compiler has it; else with a program of our own.
fuzz-model-file: $(STAMPS)/build-tools
	cmake -S . -B build/fuzz/cpp -G Ninja -DLSTMCORE_FUZZ=ON -DLSTMCORE_WERROR=OFF \
	  -DPython_EXECUTABLE=$(VENV)/bin/python $(LIGHT) $(if $(FUZZ_CXX),-DCMAKE_CXX_COMPILER=$(FUZZ_CXX))
	cmake --build build/fuzz/cpp --target lstmcore_fuzz_model_file
	mkdir -p build/fuzz/corpus $(FUZZ_FINDS)
	build/fuzz/cpp/tests/fuzz/model_file/lstmcore_fuzz_model_file -max_total_time=$(SECONDS) -max_len=65536 -timeout=10 \
	  -malloc_limit_mb=64 -print_final_stats=1 -print_funcs=0 -verbosity=0 -artifact_prefix=$(FUZZ_FINDS)/model_file- \
	  build/fuzz/corpus tests/fuzz/corpus/model_files

fuzz-python: $(STAMPS)/package
	KERAS_BACKEND=torch $(FUZZ_PYTHON) tests/fuzz --seconds $(SECONDS) --seed $(FUZZ_SEED) --artifacts $(FUZZ_FINDS)
