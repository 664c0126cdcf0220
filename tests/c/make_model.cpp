// Writes a model that no Python made, and what it must predict by plain loops over the equations.
//
// Usage: make_model FOLDER
//
// predictions.txt in the folder has the form of tests/golden/predictions.txt.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <string>
#include <vector>

#include "model_file_maker.hpp"

namespace {

constexpr int rows = 3, steps = 5;
constexpr std::size_t features = 2, units = 2;
constexpr int lengths[rows] = {5, 0, 3};

/// Weights of every size between -0.8 and 0.8.
std::vector<float> weights(std::size_t count, int first) {
  std::vector<float> values;
  for (std::size_t k = 0; k < count; ++k)
    values.push_back(static_cast<float>((first + 7 * static_cast<int>(k)) % 17) / 10.0f - 0.8f);
  return values;
}

std::string bytes_of(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

double input(int n, int t, std::size_t c) { return (5 * n + 7 * t + 3 * static_cast<int>(c)) % 11 / 4.0 - 1.25; }

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Model {
  std::vector<float> ih = weights(4 * units * features, 1), hh = weights(4 * units * units, 5),
                     bias = weights(4 * units, 9), kernel = weights(units, 2), out = weights(1, 4);

  double predict(int n) const {
    double h[units] = {}, c[units] = {};
    for (int t = 0; t < lengths[n]; ++t) {
      double gates[4 * units];
      for (std::size_t row = 0; row < 4 * units; ++row) {
        gates[row] = bias[row];
        for (std::size_t k = 0; k < features; ++k) gates[row] += ih[row * features + k] * input(n, t, k);
        for (std::size_t k = 0; k < units; ++k) gates[row] += hh[row * units + k] * h[k];
      }
      for (std::size_t u = 0; u < units; ++u) {
        c[u] = sigmoid(gates[units + u]) * c[u] + sigmoid(gates[u]) * std::tanh(gates[2 * units + u]);
        h[u] = sigmoid(gates[3 * units + u]) * std::tanh(c[u]);
      }
    }
    double y = out[0];
    for (std::size_t u = 0; u < units; ++u) y += kernel[u] * h[u];
    return y;
  }
};

/// Writes both files; returns whether that succeeded.
bool write(const std::string& folder) {
  const Model model;
  ModelFileMaker maker;
  maker.contents = {{"out.bias", bytes_of(model.out)},
                    {"out.kernel", bytes_of(model.kernel)},
                    {"walk.bias_l0", bytes_of(model.bias)},
                    {"walk.weight_hh_l0", bytes_of(model.hh)},
                    {"walk.weight_ih_l0", bytes_of(model.ih)}};
  const std::string bytes = maker.bytes();
  std::ofstream(folder + "/made_model.safetensors", std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  std::ofstream text(folder + "/predictions.txt");
  text.precision(9);
  text << "made_model.safetensors " << rows << " " << steps;
  for (const int length : lengths) text << " " << length;
  text << " 1 1\n";
  for (int n = 0; n < rows; ++n) text << model.predict(n) << "\n";
  text.close();
  return static_cast<bool>(text);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    return write(argv[1]) ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
