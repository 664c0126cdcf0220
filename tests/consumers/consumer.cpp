// A small program that uses lstmcore: a configuration, weights and a stream. It has one unit with known weights, whose
// output is compared with the equations.
#include <cmath>
#include <cstdio>
#include <lstmcore/cpu.hpp>
#include <lstmcore/lstm.hpp>
#include <lstmcore/version.hpp>
#include <string>
#include <vector>

int main() {
  lstmcore::LstmConfig config;
  config.input_size = 1;
  config.hidden_size = 1;
  const std::vector<float> input = {0.5f, -0.5f, 1.0f, 0.25f}, recurrent = {0.1f, 0.2f, 0.3f, 0.4f};
  const std::vector<float> bias = {0.0f, 1.0f, 0.0f, 0.0f};
  const lstmcore::Lstm<float> lstm(config, {{{input.data(), {4, 1}}, {recurrent.data(), {4, 1}}, {bias.data(), {4}}}});
  lstmcore::LstmStream<float> stream(lstm);

  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  double h = 0, c = 0;
  for (const float x : {1.0f, -2.0f, 0.5f}) {
    const double i = sigmoid(0.5 * x + 0.1 * h), f = sigmoid(-0.5 * x + 0.2 * h + 1);
    const double g = std::tanh(x + 0.3 * h), o = sigmoid(0.25 * x + 0.4 * h);
    c = f * c + i * g;
    h = o * std::tanh(c);
    float y = 0;
    stream.step(&x, &y);
    if (std::fabs(y - h) > 1e-6) {
      std::printf("got %g, expected %g\n", y, h);
      return 1;
    }
  }
  std::printf("lstmcore %s on %s: h = %.7f\n", LSTMCORE_VERSION, lstmcore::isa().c_str(), h);
  return 0;
}
