# Other systems: the library, programs in C++ and C, and shared libraries are compiled and linked for them by Zig's
# compilers, which have their headers and libraries. Nothing is run, so nothing is optimized.
.PHONY: test-zig test-zig-quick
ZIG_VERSION := 0.17.0
ZIG_QUICK := x86_64-windows-gnu aarch64-macos
ZIG_ALL := $(ZIG_QUICK) aarch64-windows-gnu x86_64-macos
ZIG = $$(python -c 'import ziglang; print(ziglang.__path__[0] + "/zig")')

help::
	@echo "make test-zig     compile and link the engine for Windows and macOS, on x86-64 and ARM (test-zig-quick: two of the four)"

$(STAMPS)/zig: $(STAMPS)/build-tools
	$(PIP) install ziglang==$(ZIG_VERSION)
	@touch $@

test-zig: $(addprefix test-zig-,$(ZIG_ALL))
test-zig-quick: $(addprefix test-zig-,$(ZIG_QUICK))

.PHONY: $(addprefix test-zig-,$(ZIG_ALL))
$(addprefix test-zig-,$(ZIG_ALL)): test-zig-%: $(STAMPS)/zig
	cmake -S tests/platforms -B build/zig/$* -G Ninja -DCMAKE_BUILD_TYPE=Debug \
	  -DCMAKE_C_FLAGS_DEBUG=-fno-sanitize=undefined -DCMAKE_CXX_FLAGS_DEBUG=-fno-sanitize=undefined \
	  -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/cpp/cmake/toolchains/zig.cmake -DLSTMCORE_ZIG=$(ZIG) -DLSTMCORE_ZIG_TARGET=$* \
	  -DPython_EXECUTABLE=$(VENV)/bin/python
	cmake --build build/zig/$*
