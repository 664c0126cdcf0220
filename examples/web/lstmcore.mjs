// Models of lstmcore in a browser or in Node: an ES module around the WebAssembly module that `make wasm` builds.
//
//   const engine = await createLstmcoreEngine(); // of lstmcore_engine.js: a script of the page, or an import in Node
//   const model = loadModel(engine, bytes);      // of a model file
//   model.predict("A warm, funny film.");        // Float32Array: the model's outputs
//
// A model of features takes an array of steps, each an array of numbers, or the numbers of all steps one after the other;
// one of token numbers an array of them. Typed arrays will do for each of these.

const UNKNOWN = 1; // padding is 0, the vocabulary begins at 2
const FIRST = 2;
// What Python's str.split() takes for white space.
const WHITE_SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;
const ASCII_PUNCTUATION = /[!-/:-@[-`{-~]/gu;
const PUNCTUATION = /[!-/:-@[-`{-~]|\p{P}/gu;

/** The description of the model in the header of a safetensors file. */
function readDescription(bytes) {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  return JSON.parse(header.__metadata__.lstmcore);
}

/** Numbers the tokens of a text as the layer TextVectorization does in Python. */
class Vectorization {
  constructor(config) {
    if (!["whitespace", "character", "raw_character"].includes(config.split)) {
      throw new Error(`split: expected "whitespace", "character" or "raw_character", got ${described(config.split)}`);
    }
    this.config = config;
    this.markers = [config.start, config.end].filter((marker) => marker != null);
    const tokens = [...this.markers, ...config.vocabulary];
    this.numbers = new Map(tokens.map((token, place) => [token, FIRST + place]));
  }

  standardized(text) {
    const how = this.config.standardize ?? "";
    if (how.startsWith("lower")) text = text.toLowerCase();
    if (how.endsWith("strip_unicode_punctuation")) return text.replace(PUNCTUATION, "");
    return how.endsWith("strip_punctuation") ? text.replace(ASCII_PUNCTUATION, "") : text;
  }

  tokens(text) {
    const plain = this.standardized(text);
    if (this.config.split === "raw_character") return [...plain];
    if (this.config.split === "character") return [...plain.replace(new RegExp(WHITE_SPACE, "gu"), " ")];
    return plain.split(WHITE_SPACE).filter((token) => token !== "");
  }

  encode(text) {
    const start = this.config.start == null ? [] : [this.config.start];
    const end = this.config.end == null ? [] : [this.config.end];
    const most = this.config.output_sequence_length ?? Infinity;
    const tokens = this.tokens(text).slice(0, most - start.length - end.length);
    return Int32Array.from([...start, ...tokens, ...end], (token) => this.numbers.get(token) ?? UNKNOWN);
  }
}

const isTyped = (value) => ArrayBuffer.isView(value) && !(value instanceof DataView);
const isList = (value) => Array.isArray(value) || isTyped(value);

/** A text for an error, without its end if it is long, which is not within a character. */
function shortened(text) {
  return text.length > 40 ? `${text.slice(0, 40).replace(/[\ud800-\udbff]$/, "")}...` : text;
}

/** A value for an error, in a few characters. */
function described(value) {
  if (typeof value === "string") return JSON.stringify(shortened(value));
  if (typeof value === "bigint") return shortened(`${value}n`);
  if (isList(value)) return `${Array.isArray(value) ? "an array" : value.constructor.name} of length ${value.length}`;
  return value !== null && typeof value === "object" ? "an object" : shortened(String(value));
}

/** Token numbers as the engine takes them. */
function tokenNumbers(input) {
  if (!isList(input)) {
    throw new TypeError(`input: the model takes token numbers, not features; expected an array, got ${described(input)}`);
  }
  return Int32Array.from(input, (value, step) => {
    const number = typeof value === "bigint" ? Number(value) : value;
    if (typeof number === "number" && (number | 0) === number) return number;
    const what = "the model takes token numbers, not features; expected whole numbers of 32 bits";
    throw new TypeError(`input: ${what}, got ${described(value)} at step ${step}`);
  });
}

/** The numbers of all steps one after the other. */
function featuresOfSteps(input, width) {
  if (!isList(input)) throw new TypeError(`input: expected an array of steps, got ${described(input)}`);
  const steps = Array.isArray(input) && isList(input[0]) ? input : null;
  const values = new Float32Array(steps === null ? input.length : width * steps.length);
  const copy = (from, place, where) => {
    const refuse = (what, k) => {
      throw new TypeError(`input: expected ${what}, got ${described(from[k])} at ${where}number ${k}`);
    };
    for (let k = 0; k < from.length; ++k) {
      if (typeof from[k] !== "number") refuse("numbers", k);
      values[place + k] = from[k];
      // The others would be in the state for ever.
      if (!Number.isFinite(values[place + k])) refuse("numbers that are finite as float32", k);
    }
  };
  if (steps === null) {
    copy(input, 0, "");
    if (values.length % width === 0) return values;
    throw new TypeError(`input: expected ${width} numbers for each step, got ${values.length} in all`);
  }
  for (let t = 0; t < steps.length; ++t) {
    if (!isList(steps[t]) || steps[t].length !== width) {
      throw new TypeError(`input: expected an array of ${width} numbers at step ${t}, got ${described(steps[t])}`);
    }
    copy(steps[t], width * t, `step ${t}, `);
  }
  return values;
}

class Model {
  #engine;
  #handle;
  #texts = null;

  constructor(engine, bytes) {
    this.#engine = engine;
    this.#handle = this.#withCopy(bytes, (place) => engine._web_load(place, bytes.length));
    if (this.#handle === 0) throw new Error(this.#error());
    try {
      const description = readDescription(bytes);
      const first = description.layers[0];
      if (first.class === "TextVectorization") this.#texts = new Vectorization(first.config);
      /** Names of the classes, or null. */
      this.classNames = description.class_names ?? null;
    } catch (error) {
      this.free();
      throw error;
    }
    /** Features of a step; 0 for a model of texts or token numbers. */
    this.features = engine._web_features(this.#handle);
    /** Outputs of a step, or of the sequence. */
    this.outputWidth = engine._web_output_width(this.#handle);
  }

  /** The outputs for a text, token numbers, or steps of features, as the head of this file describes them. */
  predict(input) {
    if (this.#handle === 0) throw new Error("predict: the model was freed");
    const read = () => (this.features === 0 ? tokenNumbers(input) : featuresOfSteps(input, this.features));
    const values = typeof input === "string" ? this.#encoded(input) : read();
    const isIds = values instanceof Int32Array;
    const run = isIds ? this.#engine._web_predict_ids : this.#engine._web_predict_features;
    const steps = isIds ? values.length : values.length / this.features;
    const count = this.#withCopy(new Uint8Array(values.buffer), (place) => run(this.#handle, place, steps));
    if (count < 0) throw new Error(this.#error());
    const from = this.#engine._web_outputs(this.#handle);
    return new Float32Array(this.#engine.HEAPU8.slice(from, from + 4 * count).buffer);
  }

  /** Frees the model's memory in the engine. */
  free() {
    this.#engine._web_free(this.#handle);
    this.#handle = 0;
  }

  #encoded(text) {
    if (this.#texts === null) throw new Error("input: the model takes numbers, not texts");
    const ids = this.#texts.encode(text);
    if (ids.length === 0) throw new Error("input: the text has no words");
    return ids;
  }

  /** Calls body with the place of a copy in the engine's memory, which is freed whatever body does. */
  #withCopy(bytes, body) {
    const place = this.#engine._malloc(Math.max(bytes.length, 1));
    if (place === 0) throw new Error("no memory");
    try {
      this.#engine.HEAPU8.set(bytes, place);
      return body(place);
    } finally {
      this.#engine._free(place);
    }
  }

  #error() {
    return this.#engine.UTF8ToString(this.#engine._web_error());
  }
}

/** A model from the bytes of its file (ArrayBuffer or Uint8Array). Throws an Error with the engine's text. */
export function loadModel(engine, bytes) {
  return new Model(engine, new Uint8Array(bytes));
}
