# The engine in a browser: examples/web. Needs Emscripten (Debian: emscripten) and, for its tests, Node and Chromium; what
# is missing is named, and left out.
.PHONY: wasm web test-wasm
WASM := build/wasm/site
# Debian's Emscripten needs a package of Debian's Node, which a Node from elsewhere does not find by itself.
test-wasm web wasm: export NODE_PATH := /usr/share/nodejs
EMSCRIPTEN = $(dir $(realpath $(shell command -v emcc)))

help::
	@echo "make wasm         build the engine for browsers, as WebAssembly, and a page into build/wasm/site"
	@echo "make web          make wasm, and show the demo's model there, on http://127.0.0.1:8000"
	@echo "make test-wasm    make wasm, and compare its predictions with those of Python, in Node and in Chromium"

wasm: $(STAMPS)/build-tools
	@if ! command -v emcc >/dev/null; then echo "skipped: wasm, because emcc is not installed (Debian: emscripten)"; else \
	  cmake -S examples/web -B build/wasm -G Ninja -DCMAKE_BUILD_TYPE=Release -DLSTMCORE_OPENMP=OFF \
	    -DCMAKE_TOOLCHAIN_FILE=$(EMSCRIPTEN)cmake/Modules/Platform/Emscripten.cmake -DPython_EXECUTABLE=$(VENV)/bin/python && \
	  cmake --build build/wasm && mkdir -p $(WASM) && \
	  cp build/wasm/lstmcore_engine.js build/wasm/lstmcore_engine.wasm examples/web/index.html examples/web/lstmcore.mjs $(WASM); \
	fi

build/demo/model.safetensors:
	$(MAKE) demo

web: wasm build/demo/model.safetensors
	cp build/demo/model.safetensors $(WASM)
	python -m http.server --bind 127.0.0.1 --directory $(WASM) 8000

test-wasm: wasm $(STAMPS)/test
	python -m pytest -rs tests/python/web
