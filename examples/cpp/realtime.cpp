// Runs a model that Python saved on samples as they arrive, and reports how long a step takes.
//
//   python make_model.py model.safetensors      trains a small model (any with the layers below will do)
//   cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=<where lstmcore is installed>
//   cmake --build build
//   build/realtime model.safetensors [samples]
//
// The model may have any number of forward LSTM or RNN layers, followed by Dense layers. Each sample passes through all
// of them before the next one is read; nothing is allocated on the way.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <lstmcore/cpu.hpp>
#include <lstmcore/lstm.hpp>
#include <lstmcore/model_file.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// y = activation(x kernel + bias) for one sample. A plain loop is fast enough for that and allocates nothing; for
// batches use lstmcore::dense_forward.
struct Dense {
  std::vector<float> kernel, bias;
  std::string activation;

  Dense(const lstmcore::ModelFile& file, const lstmcore::ModelLayer& layer)
      : kernel(file.tensor<float>(layer.name + ".kernel", {layer.input_size, layer.output_size})),
        bias(static_cast<std::size_t>(layer.output_size), 0.0f),
        activation(layer.activation) {
    if (layer.use_bias) bias = file.tensor<float>(layer.name + ".bias", {layer.output_size});
  }

  void step(const std::vector<float>& x, std::vector<float>& y) const {
    y = bias;
    for (std::size_t c = 0; c < x.size(); ++c) {
      for (std::size_t u = 0; u < y.size(); ++u) y[u] += x[c] * kernel[c * y.size() + u];
    }
    apply(y);
  }

  void apply(std::vector<float>& y) const {
    if (activation == "softmax") {
      const float largest = *std::max_element(y.begin(), y.end());
      float sum = 0.0f;
      for (float& value : y) sum += value = std::exp(value - largest);
      for (float& value : y) value /= sum;
      return;
    }
    for (float& value : y) {
      if (activation == "relu") value = std::max(value, 0.0f);
      if (activation == "tanh") value = std::tanh(value);
      if (activation == "sigmoid") value = 1.0f / (1.0f + std::exp(-value));
    }
  }
};

// All layers of a model, one sample at a time.
class Pipeline {
 public:
  explicit Pipeline(const lstmcore::ModelFile& file) {
    for (const lstmcore::ModelLayer& layer : file.layers()) {
      if (layer.class_name == "LSTM" || layer.class_name == "RNN") {
        if (!dense_.empty()) throw std::runtime_error("expected the Dense layers after the recurrent ones");
        streams_.emplace_back(file.lstm<float>(layer.name));
      } else if (layer.class_name == "Dense") {
        dense_.emplace_back(file, layer);
      } else if (layer.class_name != "Dropout") {  // dropout does nothing outside training
        throw std::runtime_error("cannot stream through a layer of class " + layer.class_name);
      }
      values_.emplace_back(static_cast<std::size_t>(layer.output_size));
    }
    if (streams_.empty()) throw std::runtime_error("expected at least one LSTM or RNN layer");
    input_size_ = streams_.front().config().input_size;
  }

  std::int64_t input_size() const { return input_size_; }

  /// Returns the model's output after this sample.
  const std::vector<float>& step(const float* x) {
    std::size_t at = 0;
    for (lstmcore::LstmStream<float>& stream : streams_) {
      stream.step(x, values_[at].data());
      x = values_[at++].data();
    }
    for (const Dense& dense : dense_) {
      dense.step(values_[at - 1], values_[at]);
      ++at;
    }
    return values_[at - 1];
  }

 private:
  std::vector<lstmcore::LstmStream<float>> streams_;
  std::vector<Dense> dense_;
  std::vector<std::vector<float>> values_;  // the output of each layer
  std::int64_t input_size_ = 0;
};

// Simulates a sensor: feature c is a sine with its own frequency.
void sample(std::int64_t time, std::vector<float>& x) {
  for (std::size_t c = 0; c < x.size(); ++c) {
    x[c] = static_cast<float>(std::sin(0.1 * static_cast<double>(time) * (1.0 + 0.37 * static_cast<double>(c))));
  }
}

double percentile(std::vector<double> values, double share) {
  const auto place = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + place, values.end());
  return values[static_cast<std::size_t>(place)];
}

void run(const char* path, std::int64_t samples) {
  const lstmcore::ModelFile file(path);
  Pipeline pipeline(file);
  std::vector<float> x(static_cast<std::size_t>(pipeline.input_size()));
  std::vector<double> microseconds;
  microseconds.reserve(static_cast<std::size_t>(samples));
  for (std::int64_t time = 0; time < samples; ++time) {
    sample(time, x);
    const auto begin = std::chrono::steady_clock::now();
    const std::vector<float>& y = pipeline.step(x.data());
    const auto end = std::chrono::steady_clock::now();
    microseconds.push_back(std::chrono::duration<double, std::micro>(end - begin).count());
    if (time == samples - 1) {
      std::printf("output after %lld samples:", static_cast<long long>(samples));
      for (const float value : y) std::printf(" %.6f", static_cast<double>(value));
      std::printf("\n");
    }
  }
  std::printf("microseconds per step on %s: median %.2f, 99th percentile %.2f\n", lstmcore::isa().c_str(),
              percentile(microseconds, 0.5), percentile(microseconds, 0.99));
}

}  // namespace

int main(int argc, char** argv) {
  const std::int64_t samples = argc > 2 ? std::strtoll(argv[2], nullptr, 10) : 10000;
  if (argc < 2 || argc > 3 || samples < 1) {
    std::fprintf(stderr, "usage: %s MODEL.safetensors [SAMPLES]\n", argv[0]);
    return 2;
  }
  try {
    run(argv[1], samples);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
