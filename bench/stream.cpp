// Latency of one step of one sequence from C++, with one layer and with two: median over batches of steps. Sizes are
// known at run time only. Prints JSON. Usage: lstmcore_bench_stream INPUT HIDDEN [HIDDEN ...]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <lstmcore/cpu.hpp>
#include <lstmcore/lstm.hpp>
#include <random>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr int batches = 400;
constexpr int steps_per_batch = 1000;

template <class T>
std::vector<T> random_values(std::int64_t count, std::mt19937& random) {
  std::uniform_real_distribution<double> uniform(-0.2, 0.2);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) value = static_cast<T>(uniform(random));
  return values;
}

/// Microseconds a step of every batch, sorted.
template <class T>
std::vector<double> measure(std::int64_t inputs, std::int64_t hidden, std::int64_t layers) {
  std::mt19937 random(1);
  lstmcore::LstmConfig config;
  config.input_size = inputs;
  config.hidden_size = hidden;
  config.num_layers = layers;
  std::vector<std::vector<T>> stored;
  lstmcore::LstmWeights<T> weights;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const std::int64_t width = layer == 0 ? inputs : hidden;
    for (const std::int64_t count : {4 * hidden * width, 4 * hidden * hidden, 4 * hidden}) {
      stored.push_back(random_values<T>(count, random));
    }
    const std::vector<T>* const last = stored.data() + stored.size() - 3;
    weights.push_back({{last[0].data(), {4 * hidden, width}},
                       {last[1].data(), {4 * hidden, hidden}},
                       {last[2].data(), {4 * hidden}}});
  }
  const lstmcore::Lstm<T> lstm(config, weights);
  lstmcore::LstmStream<T> stream(lstm);
  const std::vector<T> x = random_values<T>(inputs * steps_per_batch, random);
  std::vector<T> h(static_cast<std::size_t>(hidden));
  std::vector<double> times;
  // The first batches only warm up.
  for (int batch = -batches / 4; batch < batches; ++batch) {
    const Clock::time_point start = Clock::now();
    for (int step = 0; step < steps_per_batch; ++step) stream.step(x.data() + step * inputs, h.data());
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (batch >= 0) times.push_back(seconds / steps_per_batch * 1e6);
  }
  std::sort(times.begin(), times.end());
  return times;
}

void print(const char* separator, const char* dtype, std::int64_t inputs, std::int64_t hidden, std::int64_t layers,
           const std::vector<double>& times) {
  const std::size_t quarter = times.size() / 4;
  std::printf(
      "%s    {\"dtype\": \"%s\", \"inputs\": %lld, \"hidden\": %lld, \"layers\": %lld, \"median\": %.5f, \"q1\": %.5f, "
      "\"q3\": %.5f}",
      separator, dtype, static_cast<long long>(inputs), static_cast<long long>(hidden), static_cast<long long>(layers),
      times[2 * quarter], times[quarter], times[3 * quarter]);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s INPUT HIDDEN [HIDDEN ...]\n", argv[0]);
    return 2;
  }
  const std::int64_t inputs = std::atoll(argv[1]);
  std::printf("{\n  \"isa\": \"%s\",\n  \"steps\": [", lstmcore::isa().c_str());
  const char* separator = "\n";
  for (int argument = 2; argument < argc; ++argument) {
    const std::int64_t hidden = std::atoll(argv[argument]);
    for (const std::int64_t layers : {1, 2}) {
      print(separator, "float32", inputs, hidden, layers, measure<float>(inputs, hidden, layers));
      separator = ",\n";
    }
    print(separator, "float64", inputs, hidden, 1, measure<double>(inputs, hidden, 1));
  }
  std::printf("\n  ]\n}\n");
}
