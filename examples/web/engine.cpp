// What the WebAssembly module exports. Names begin with web_; a null or negative result is an error, whose text is
// web_error(). A module has one thread.
#include <emscripten.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <lstmcore/cpu.hpp>
#include <lstmcore/model_file.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "chain.hpp"

namespace {

struct Model {
  example::Chain chain;
  std::vector<float> outputs;
};

std::string error_text;

template <class Result, class Body>
Result guarded(Result on_error, Body&& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    error_text = error.what();
  }
  return on_error;
}

// A file of the module's own memory, for the reader of model files.
class MemoryFile {
 public:
  MemoryFile(const std::uint8_t* bytes, std::size_t size) {
    std::FILE* const file = std::fopen(path, "wb");
    const bool written = file != nullptr && std::fwrite(bytes, 1, size, file) == size;
    if (file == nullptr || std::fclose(file) != 0 || !written) throw std::runtime_error("no memory for the model file");
  }
  ~MemoryFile() { std::remove(path); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  static constexpr const char* path = "/model.safetensors";
};

int predict(Model& model, example::Sequence x) {
  model.outputs = model.chain.run(std::move(x)).values;
  return static_cast<int>(model.outputs.size());
}

}  // namespace

extern "C" {

EMSCRIPTEN_KEEPALIVE const char* web_error() { return error_text.c_str(); }

EMSCRIPTEN_KEEPALIVE const char* web_isa() { return lstmcore::isa().c_str(); }

// A model from the bytes of its file; web_free ends it.
EMSCRIPTEN_KEEPALIVE Model* web_load(const std::uint8_t* bytes, std::size_t size) {
  return guarded<Model*>(nullptr, [&] {
    lstmcore::set_num_threads(1);
    const MemoryFile file(bytes, size);
    return new Model{example::Chain(lstmcore::ModelFile(file.path)), {}};
  });
}

EMSCRIPTEN_KEEPALIVE void web_free(Model* model) { delete model; }

// Features of a step; 0 if the model takes token numbers.
EMSCRIPTEN_KEEPALIVE int web_features(const Model* model) {
  return model->chain.vocabulary() > 0 ? 0 : static_cast<int>(model->chain.input_width());
}

EMSCRIPTEN_KEEPALIVE int web_output_width(const Model* model) { return static_cast<int>(model->chain.output_width()); }

// Both return how many outputs web_outputs then has: output_width of every step, or of the sequence.
EMSCRIPTEN_KEEPALIVE int web_predict_ids(Model* model, const std::int32_t* ids, int steps) {
  return guarded(-1, [&] { return predict(*model, model->chain.embedded(ids, steps)); });
}

EMSCRIPTEN_KEEPALIVE int web_predict_features(Model* model, const float* x, int steps) {
  return guarded(-1, [&] {
    if (model->chain.vocabulary() > 0) throw std::invalid_argument("x: the model takes token numbers, not features");
    example::Sequence sequence(steps, model->chain.input_width());
    std::copy(x, x + sequence.values.size(), sequence.values.begin());
    return predict(*model, std::move(sequence));
  });
}

EMSCRIPTEN_KEEPALIVE const float* web_outputs(const Model* model) { return model->outputs.data(); }
}
