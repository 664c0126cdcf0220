// Predict with the WebAssembly module in Node: `node predict.mjs SITE MODEL` reads a JSON list of inputs from the standard
// input and writes a JSON list of outputs, or of {"error": text}.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [site, modelPath] = process.argv.slice(2);
const createEngine = createRequire(import.meta.url)(resolve(site, "lstmcore_engine.js"));
const { loadModel } = await import(pathToFileURL(resolve(join(site, "lstmcore.mjs"))));

function attempt(body) {
  try {
    return body();
  } catch (error) {
    return { error: error.message };
  }
}

// Older versions of Emscripten fetch the module by its path, which Node's fetch refuses.
const engine = await createEngine({ wasmBinary: readFileSync(join(site, "lstmcore_engine.wasm")) });
const inputs = JSON.parse(readFileSync(0, "utf-8"));
const model = attempt(() => loadModel(engine, readFileSync(modelPath)));
const outputs = model.error
  ? model
  : {
      isa: engine.UTF8ToString(engine._web_isa()),
      classNames: model.classNames,
      outputs: inputs.map((input) => attempt(() => [...model.predict(input)])),
    };
process.stdout.write(JSON.stringify(outputs));
