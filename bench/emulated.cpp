// Forward and backward of one layer in a lower precision on an emulated matrix unit, which has the bits of x86's, so
// that the errors of a precision can be measured on any machine. Usage: lstmcore_bench_emulated PRECISION T N C H
//
// Reads floats from standard input: weight_ih (4H, C), weight_hh (4H, H), bias (4H), x (N, T, C), h0 and c0 (N, H),
// dy (N, T, H). Writes y and, unless the precision is for inference only, the gradients with respect to x, h0, c0,
// weight_ih, weight_hh and bias.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <lstmcore/lstm.hpp>
#include <lstmcore/precision.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "reference/matrix_unit.hpp"
#include "runtime/units.hpp"

namespace {

using Floats = std::vector<float>;

Floats zeros(std::int64_t count) { return Floats(static_cast<std::size_t>(count)); }

Floats read(std::int64_t count) {
  Floats values = zeros(count);
  if (std::fread(values.data(), sizeof(float), values.size(), stdin) != values.size()) {
    throw std::runtime_error("standard input: too short");
  }
  return values;
}

void write(const Floats& values) {
  if (std::fwrite(values.data(), sizeof(float), values.size(), stdout) != values.size()) {
    throw std::runtime_error("standard output: not written");
  }
}

void run(const char* const* arguments) {
  const lstmcore::Precision precision = lstmcore::precision_of(arguments[0], "PRECISION");
  const std::int64_t T = std::atoll(arguments[1]), N = std::atoll(arguments[2]), C = std::atoll(arguments[3]),
                     H = std::atoll(arguments[4]);
  lstmcore::use_matrix_unit(&lstmcore::reference::emulated_matrix_unit(false),
                            &lstmcore::reference::emulated_matrix_unit(true));
  const Floats weight_ih = read(4 * H * C), weight_hh = read(4 * H * H), bias = read(4 * H), x = read(N * T * C);
  Floats h = read(N * H), c = read(N * H);
  const Floats dy = read(N * T * H);

  lstmcore::LstmConfig config;
  config.input_size = C;
  config.hidden_size = H;
  const lstmcore::LstmWeights<float> weights{
      {{weight_ih.data(), {4 * H, C}}, {weight_hh.data(), {4 * H, H}}, {bias.data(), {4 * H}}}};
  const lstmcore::Lstm<float> lstm(config, weights, precision);
  const lstmcore::LstmSequence<float> sequence(lstmcore::View<const float, 3>(x.data(), {N, T, C}));
  const lstmcore::LstmState<float> state{{h.data(), {1, N, H}}, {c.data(), {1, N, H}}};
  Floats y = zeros(N * T * H);
  if (precision == lstmcore::Precision::int8) {
    lstm.forward(sequence, {y.data(), {N, T, H}}, state);
    return write(y);
  }
  lstmcore::LstmTape<float> tape;
  lstm.forward(sequence, {y.data(), {N, T, H}}, state, tape);
  Floats dx = zeros(N * T * C), dh = zeros(N * H), dc = zeros(N * H), dweight_ih = zeros(4 * H * C),
         dweight_hh = zeros(4 * H * H), dbias = zeros(4 * H);
  lstmcore::LstmOutputGradients<float> outputs;
  outputs.y = {dy.data(), {N, T, H}};
  lstmcore::LstmInputGradients<float> inputs;
  inputs.x = {dx.data(), {N, T, C}};
  inputs.h = {dh.data(), {1, N, H}};
  inputs.c = {dc.data(), {1, N, H}};
  inputs.weights.resize(1);
  inputs.weights[0].weight_ih = {dweight_ih.data(), {4 * H, C}};
  inputs.weights[0].weight_hh = {dweight_hh.data(), {4 * H, H}};
  inputs.weights[0].bias = {dbias.data(), {4 * H}};
  lstm.backward(tape, outputs, inputs);
  for (const Floats* values : {&y, &dx, &dh, &dc, &dweight_ih, &dweight_hh, &dbias}) write(*values);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: %s PRECISION T N C H\n", argv[0]);
    return 2;
  }
  try {
    run(argv + 1);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
