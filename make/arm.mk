# Other processors: cross-compiled, under QEMU. Where a tool is missing, its name is printed and nothing is tested.
.PHONY: test-arm test-arm-quick test-riscv

help::
	@echo "make test-arm     C++ tests on 64-bit ARM, cross-compiled and under QEMU, which takes minutes (test-arm-quick: some of them)"
	@echo "make test-riscv   some C++ tests on 64-bit RISC-V, the same way"

test-arm: $(STAMPS)/build-tools
	.ci/cross-test aarch64

test-arm-quick: $(STAMPS)/build-tools
	.ci/cross-test aarch64 quick

test-riscv: $(STAMPS)/build-tools
	.ci/cross-test riscv64 quick
