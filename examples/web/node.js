// Emscripten puts this into the function that makes the engine, whose argument is Module. What it writes itself fetches the
// WebAssembly by its path where there is a fetch, which that of Node refuses.
if (typeof process === "object" && typeof process.versions === "object" && process.versions.node) {
  if (!Module["wasmBinary"] && !Module["locateFile"]) {
    Module["wasmBinary"] = require("fs").readFileSync(require("path").join(__dirname, "lstmcore_engine.wasm"));
  }
}
