// Reads any bytes as a model file. What the reader accepts is run for a few steps. The only exception that may leave
// the reader is std::runtime_error; any other ends the program, as do the sanitizers.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <lstmcore/model_file.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "input_file.hpp"
#include "memory_rule.hpp"
#include "options.hpp"

namespace {

using lstmcore::Lstm;
using lstmcore::LstmConfig;
using lstmcore::LstmSequence;
using lstmcore::LstmState;
using lstmcore::LstmStream;
using lstmcore::ModelFile;
using lstmcore::ModelLayer;
using lstmcore::View;

constexpr std::int64_t rows = 2, steps = 3;

template <class T>
std::vector<T> zeros(std::int64_t size) {
  return std::vector<T>(static_cast<std::size_t>(size));
}

template <class T>
void run_lstm(const Lstm<T>& lstm) {
  const LstmConfig& config = lstm.config();
  std::vector<T> x(static_cast<std::size_t>(rows * steps * config.input_size), T(0.5));
  std::vector<T> y = zeros<T>(rows * steps * config.output_size());
  const View<const T, 3> sequence{x.data(), {rows, steps, config.input_size}};
  lstm.forward(LstmSequence<T>(sequence), View<T, 3>{y.data(), {rows, steps, config.output_size()}}, LstmState<T>{});
  if (config.bidirectional || config.go_backwards) return;
  LstmStream<T> stream(lstm);
  std::vector<T> h = zeros<T>(config.output_size());
  for (std::int64_t step = 0; step < steps; ++step) stream.step(x.data(), h.data());
}

template <class T>
void run(const ModelFile& file, const std::vector<ModelLayer>& layers) {
  for (const ModelLayer& layer : layers) {
    run<T>(file, layer.layers);
    if (layer.lstm.hidden_size > 0) {
      run_lstm(file.lstm<T>(layer.name));
    } else if (layer.class_name == "Dense") {
      file.tensor<T>(layer.name + ".kernel", {layer.input_size, layer.output_size});
    } else if (layer.class_name == "Embedding") {
      file.tensor<T>(layer.name + ".embeddings", {layer.vocabulary_size, layer.output_size});
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::MemoryRule rule(size);
  try {
    const ModelFile file(fuzz::file_with(data, size));
    if (file.dtype() == "float32") {
      run<float>(file, file.layers());
    } else {
      run<double>(file, file.layers());
    }
  } catch (const std::runtime_error&) {
    return 0;
  }
  return 0;
}
