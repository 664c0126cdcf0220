# Trials of faults, and many random calls against a reference (docs/reliability/faults.md).
.PHONY: faults faults-short properties properties-short

help::
	@echo "make faults       kill, interrupt, starve and crowd the library, and print what happened; half an hour"
	@echo "make faults-short the same in a minute"
	@echo "make properties   DRAWS=100000 random calls of every option and precision against a reference, on each instruction set"

DRAWS ?= 100000

faults: $(STAMPS)/test
	python tests/faults

faults-short: $(STAMPS)/test
	python tests/faults --form short

properties: $(STAMPS)/test
	python tests/properties --draws $(DRAWS)

properties-short: $(STAMPS)/test
	python tests/properties --draws 3000
