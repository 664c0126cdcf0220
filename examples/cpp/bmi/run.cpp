// Simulates all catchments of a config file with drawn weather, as a framework would, and prints how fast that was.
//
//   python make_catchments.py --catchments 5000
//   cmake -S .. -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=<where lstmcore is installed>
//   cmake --build build
//   build/bmi/run_catchments catchments.cfg 365
//
// The first line trains a model, and writes it with catchments.cfg and attributes.csv.
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "../arguments.hpp"
#include "catchments.hpp"

namespace {

/// Precipitation, temperature and evaporation of a day; any further variable is 0.
double weather(const std::string& name, double day, std::mt19937& random) {
  const double season = std::cos(2 * 3.14159265358979 * (day - 20) / 365);
  if (name == "precipitation") {
    const bool wet = random() % 5 < 2;
    return wet ? std::exponential_distribution<double>(1.0 / 6.0)(random) : 0.0;
  }
  if (name == "temperature") return 7 - 11 * season + std::normal_distribution<double>(0, 3)(random);
  return name == "evaporation" ? 2.1 - 1.9 * season : 0.0;
}

void run(const std::string& config, int days) {
  catchments::Catchments component;
  bmi::Bmi& model = component;  // from here on only what every component has
  model.Initialize(config);
  const int count = model.GetGridSize(0);
  std::vector<double> values(static_cast<std::size_t>(count)), totals(values.size());
  std::mt19937 random(1);  // NOLINT(bugprone-random-generator-seed): the same weather in every run
  const std::string output = model.GetOutputVarNames().front();
  double seconds = 0;
  for (int day = 0; day < days; ++day) {
    for (const std::string& name : model.GetInputVarNames()) {
      for (double& value : values) value = weather(name, day, random);
      model.SetValue(name, values.data());
    }
    const auto begin = std::chrono::steady_clock::now();
    model.Update();
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const double* const discharge = static_cast<const double*>(model.GetValuePtr(output));
    for (std::size_t n = 0; n < totals.size(); ++n) totals[n] += discharge[n];
  }
  const double mean = std::accumulate(totals.begin(), totals.end(), 0.0) / (static_cast<double>(count) * days);
  std::printf("%d catchments, %.0f days: mean %s %.3f %s\n", count, model.GetCurrentTime() / 86400, output.c_str(),
              mean, model.GetVarUnits(output).c_str());
  std::printf("%.3g catchment-steps a second on %s with up to %d threads\n",
              static_cast<double>(count) * days / seconds, lstmcore_instruction_set(), lstmcore_get_num_threads());
  model.Finalize();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: %s CONFIG [DAYS]\n", argv[0]);
    return 2;
  }
  try {
    const std::int64_t most = std::numeric_limits<int>::max();
    run(argv[1], argc > 2 ? static_cast<int>(example::whole_number("DAYS", argv[2], 1, most)) : 365);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
