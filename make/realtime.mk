# Clang's sanitizer for code with deadlines, around the steps of streams.
.PHONY: sanitize-realtime

help::
	@echo "make sanitize-realtime"
	@echo "                  tests of streams with clang's realtime sanitizer: CLANG=clang-22, of version 20 or later"

CLANG ?= clang-22

sanitize-realtime: $(STAMPS)/build-tools
	@command -v $(CLANG) >/dev/null || { echo "skipped: no $(CLANG) here"; exit 0; }; \
	CC=$(CLANG) CXX=$(subst clang,clang++,$(CLANG)) $(CONFIGURE) -B build/rtsan -DLSTMCORE_SANITIZE=realtime \
	  -DLSTMCORE_OPENMP=OFF -DLSTMCORE_TEST_FILES="test_(stream_realtime|c_realtime|captures)" $(LIGHT) && \
	cmake --build build/rtsan --target lstmcore_tests && $(CTEST) build/rtsan --label-regex cpp
