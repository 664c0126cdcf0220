// Latency of one step of one sequence from C++: median over batches of steps. Sizes are known at run time only. Prints
// JSON. Usage: lstmcore_bench_stream INPUT HIDDEN [HIDDEN ...]
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
std::vector<double> measure(std::int64_t inputs, std::int64_t hidden) {
  std::mt19937 random(1);
  lstmcore::LstmConfig config;
  config.input_size = inputs;
  config.hidden_size = hidden;
  const std::vector<T> input = random_values<T>(4 * hidden * inputs, random);
  const std::vector<T> recurrent = random_values<T>(4 * hidden * hidden, random);
  const std::vector<T> bias = random_values<T>(4 * hidden, random);
  const lstmcore::LstmWeights<T> weights{
      {{input.data(), {4 * hidden, inputs}}, {recurrent.data(), {4 * hidden, hidden}}, {bias.data(), {4 * hidden}}}};
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
    for (const bool wide : {false, true}) {
      const std::vector<double> times = wide ? measure<double>(inputs, hidden) : measure<float>(inputs, hidden);
      const std::size_t quarter = times.size() / 4;
      std::printf(
          "%s    {\"dtype\": \"%s\", \"inputs\": %lld, \"hidden\": %lld, \"median\": %.5f, \"q1\": %.5f, \"q3\": %.5f}",
          separator, wide ? "float64" : "float32", static_cast<long long>(inputs), static_cast<long long>(hidden),
          times[2 * quarter], times[quarter], times[3 * quarter]);
      separator = ",\n";
    }
  }
  std::printf("\n  ]\n}\n");
}
