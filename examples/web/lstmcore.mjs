// Models of lstmcore in a browser or in Node: an ES module around the WebAssembly module that `make wasm` builds.
//
//   const engine = await createLstmcoreEngine();
//   const model = loadModel(engine, await (await fetch("model.safetensors")).arrayBuffer());
//   model.predict("A warm, funny film.");     // Float32Array: the model's outputs
//
// A model that takes features takes an array of steps, each an array of numbers.

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
      throw new Error(`split: expected "whitespace", "character" or "raw_character", got ${JSON.stringify(config.split)}`);
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

class Model {
  #engine;
  #handle;
  #texts = null;

  constructor(engine, bytes) {
    this.#engine = engine;
    const place = this.#copied(bytes);
    this.#handle = engine._web_load(place, bytes.length);
    engine._free(place);
    if (this.#handle === 0) throw new Error(this.#error());
    const description = readDescription(bytes);
    const first = description.layers[0];
    if (first.class === "TextVectorization") this.#texts = new Vectorization(first.config);
    /** Names of the classes, or null. */
    this.classNames = description.class_names ?? null;
    /** Features of a step; 0 for a model of texts or token numbers. */
    this.features = engine._web_features(this.#handle);
    /** Outputs of a step, or of the sequence. */
    this.outputWidth = engine._web_output_width(this.#handle);
  }

  /** The outputs for a text, an Int32Array of token numbers, or an array of steps of features. */
  predict(input) {
    const ids = typeof input === "string" ? this.#encoded(input) : input instanceof Int32Array ? input : null;
    const values = ids ?? Float32Array.from(input.flat());
    const steps = ids !== null || this.features === 0 ? values.length : values.length / this.features;
    if (!Number.isInteger(steps)) throw new Error(`input: expected ${this.features} numbers a step`);
    const place = this.#copied(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    const run = ids !== null ? this.#engine._web_predict_ids : this.#engine._web_predict_features;
    const count = run(this.#handle, place, steps);
    this.#engine._free(place);
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

  #copied(bytes) {
    const place = this.#engine._malloc(Math.max(bytes.length, 1));
    if (place === 0) throw new Error("no memory");
    this.#engine.HEAPU8.set(bytes, place);
    return place;
  }

  #error() {
    return this.#engine.UTF8ToString(this.#engine._web_error());
  }
}

/** A model from the bytes of its file (ArrayBuffer or Uint8Array). Throws an Error with the engine's text. */
export function loadModel(engine, bytes) {
  return new Model(engine, new Uint8Array(bytes));
}
