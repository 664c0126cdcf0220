# Recipes for package managers, and sizes of programs that use the library.
.PHONY: test-recipes test-recipes-quick sizes

help::
	@echo "make test-recipes build and use the recipes of cpp/packaging, and install the sdist where nothing is set"
	@echo "                  (test-recipes-quick: without the sdist)"
	@echo "make sizes        sizes of stripped programs, by options of the build"

test-recipes:
	.ci/recipe-check $(PYTHON)

test-recipes-quick:
	.ci/recipe-check $(PYTHON) quick

sizes: $(STAMPS)/build-tools
	python tests/consumers/small/sizes.py
