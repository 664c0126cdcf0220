// Predict with the WebAssembly module in Node: `node predict.mjs SITE MODEL [TRAP]` reads a JSON list of inputs from the standard
// input and writes a JSON list of outputs, or of {"error": text}. What JSON lacks is written {"make": "Float32Array",
// "of": [1, 2]} or {"make": "undefined"}; {"make": "free"} frees the model. "alive": models in the engine's memory;
// "held": copies of files and inputs there. TRAP: the function of the engine that throws an error.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [site, modelPath, trap] = process.argv.slice(2);
const createEngine = createRequire(import.meta.url)(resolve(site, "lstmcore_engine.js"));
const { loadModel } = await import(pathToFileURL(resolve(join(site, "lstmcore.mjs"))));

function attempt(body) {
  try {
    return body();
  } catch (error) {
    return { error: error.message };
  }
}

const makers = {
  undefined: () => undefined,
  number: Number,
  function: (source) => (0, eval)(`(${source})`),
  Float32Array: (values) => Float32Array.from(values),
  Float64Array: (values) => Float64Array.from(values),
  Int32Array: (values) => Int32Array.from(values),
  Uint8Array: (values) => Uint8Array.from(values),
  BigInt64Array: (values) => BigInt64Array.from(values, BigInt),
  DataView: (values) => new DataView(Uint8Array.from(values).buffer),
};

/** The input that a part of the JSON stands for. */
function made(value) {
  if (Array.isArray(value)) return value.map(made);
  return value?.make === undefined ? value : makers[value.make](value.of);
}

const module = await createEngine();
const alive = new Set();
const engine = Object.create(module);
engine._web_load = (...bytes) => {
  const handle = module._web_load(...bytes);
  if (handle !== 0) alive.add(handle);
  return handle;
};
engine._web_free = (handle) => {
  alive.delete(handle);
  module._web_free(handle);
};
const held = new Set();
engine._malloc = (size) => {
  const place = module._malloc(size);
  held.add(place);
  return place;
};
engine._free = (place) => {
  held.delete(place);
  module._free(place);
};
if (trap !== undefined) {
  engine[trap] = () => {
    throw new Error("trap");
  };
}
const inputs = JSON.parse(readFileSync(0, "utf-8"));
const model = attempt(() => loadModel(engine, readFileSync(modelPath)));
const predicted = (input) => (input?.make === "free" ? (model.free(), null) : [...model.predict(made(input))]);
const outputs = model.error
  ? { ...model, alive: alive.size, held: held.size }
  : {
      isa: engine.UTF8ToString(engine._web_isa()),
      classNames: model.classNames,
      outputs: inputs.map((input) => attempt(() => predicted(input))),
      alive: alive.size,
      held: held.size,
    };
process.stdout.write(JSON.stringify(outputs));
