# Damaged files and wrong arguments, made at random, for everything that reads them: docs/reliability.md. SECONDS is the
# time for each target, FUZZ_SEED the seed. Frameworks are those of build/neighbours if make test-neighbours has left it.

.PHONY: fuzz fuzz-native fuzz-python

help::
	@echo "make fuzz         damaged files and wrong arguments at random; SECONDS=60 for each target"

SECONDS ?= 60
FUZZ_SEED ?= 0
FUZZ_CXX ?= $(firstword $(foreach name,clang++ clang++-22 clang++-21 clang++-20 clang++-19 clang++-18,$(shell command -v $(name))))
FUZZ_PYTHON = $(firstword $(wildcard build/neighbours/bin/python) python)
FUZZ_FINDS := build/fuzz/finds

FUZZ_NATIVE := model_file captures c_interface
# Folders of tests/fuzz/corpus, and the bytes of the largest input.
FUZZ_FOLDER_model_file := model_files
FUZZ_FOLDER_captures := captures
FUZZ_FOLDER_c_interface := c_interface
FUZZ_LARGEST_model_file := 65536
FUZZ_LARGEST_captures := 65536
FUZZ_LARGEST_c_interface := 1024

fuzz: fuzz-native fuzz-python

# With libFuzzer if the compiler has it; else with a program of our own.
fuzz-native: $(STAMPS)/build-tools
	cmake -S . -B build/fuzz/cpp -G Ninja -DLSTMCORE_FUZZ=ON -DLSTMCORE_WERROR=OFF \
	  -DPython_EXECUTABLE=$(VENV)/bin/python $(LIGHT) $(if $(FUZZ_CXX),-DCMAKE_CXX_COMPILER=$(FUZZ_CXX))
	cmake --build build/fuzz/cpp --target $(addprefix lstmcore_fuzz_,$(FUZZ_NATIVE) check_memory_rule)
	build/fuzz/cpp/tests/fuzz/native/lstmcore_fuzz_check_memory_rule
	mkdir -p $(FUZZ_FINDS) $(addprefix build/fuzz/corpus/,$(FUZZ_NATIVE))
	$(foreach name,$(FUZZ_NATIVE),echo "$(name):" && build/fuzz/cpp/tests/fuzz/native/lstmcore_fuzz_$(name) \
	  -max_total_time=$(SECONDS) -max_len=$(FUZZ_LARGEST_$(name)) -timeout=10 -malloc_limit_mb=64 -print_final_stats=1 \
	  -print_funcs=0 -verbosity=0 -artifact_prefix=$(FUZZ_FINDS)/$(name)- \
	  build/fuzz/corpus/$(name) tests/fuzz/corpus/$(FUZZ_FOLDER_$(name)) &&) true

fuzz-python: $(STAMPS)/package
	KERAS_BACKEND=torch $(FUZZ_PYTHON) tests/fuzz --seconds $(SECONDS) --seed $(FUZZ_SEED) --artifacts $(FUZZ_FINDS)
