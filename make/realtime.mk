# Clang's sanitizer for code with deadlines, around the steps of streams.
.PHONY: sanitize-realtime

help::
	@echo "make sanitize-realtime"
	@echo "                  tests of streams with clang's realtime sanitizer, CLANG=clang-22 or another from version 20 on"

CLANG ?= $(firstword $(foreach name,clang-22 clang-21 clang-20,$(shell command -v $(name))) clang-22)

# Part of what changes of the engine run.
sanitize: sanitize-realtime

# libstdc++ itself uses what it calls deprecated, which clang reports where GCC does not.
sanitize-realtime: $(STAMPS)/build-tools
	@if ! command -v $(CLANG) >/dev/null; then echo "skipped: there is no $(CLANG)"; exit 0; fi; \
	CC=$(CLANG) CXX=$(subst clang,clang++,$(CLANG)) $(CONFIGURE) -B build/rtsan -DLSTMCORE_SANITIZE=realtime \
	  -DLSTMCORE_OPENMP=OFF -DLSTMCORE_TEST_FILES="test_(stream_realtime|c_realtime|captures)" \
	  -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS="-O1 -Wno-deprecated-declarations" && \
	cmake --build build/rtsan --target lstmcore_tests && $(CTEST) build/rtsan --tests-regex "_realtime|_captures"
