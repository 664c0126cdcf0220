// Runs a model that Python saved on samples as they arrive, and reports how long a step takes.
//
//   python make_model.py model.safetensors      trains a small model (any with the layers below will do)
//   cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=<where lstmcore is installed>
//   cmake --build build
//   build/realtime model.safetensors [samples]
//
// The model may have any number of forward LSTM, RNN and Dense layers.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <lstmcore/cpu.hpp>
#include <lstmcore/model_file.hpp>
#include <vector>

#include "arguments.hpp"
#include "pipeline.hpp"

namespace {

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
  example::Pipeline pipeline(file);
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
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: %s MODEL.safetensors [SAMPLES]\n", argv[0]);
    return 2;
  }
  try {
    run(argv[1], argc > 2 ? example::whole_number("SAMPLES", argv[2], 1, 1'000'000'000) : 10000);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
