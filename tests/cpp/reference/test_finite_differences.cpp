// The reference itself against central differences of its own forward, in double. All other gradient tests rely on the
// reference.
#include <cmath>
#include <string>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "lstm_variants.hpp"

namespace {

// The loss whose gradient with respect to y, h and c is p.dy, p.dh and p.dc.
double loss(const Problem<double>& p) {
  Outputs<double> out(p);
  lstmcore::reference::Tape<double> tape;  // its presence turns dropout on
  lstmcore::reference::lstm(p.config, p.weights(), p.sequence(), out.y, out.state, &tape);
  double sum = 0;
  const Index Y = p.config.output_size();
  for (Index n = 0; n < p.N; ++n) {
    for (Index k = 0; k < p.length(n) * Y; ++k) {
      sum += p.dy[n * p.steps * Y + k] * out.result.y[n * p.steps * Y + k];
    }
  }
  for (std::size_t k = 0; k < p.dh.size(); ++k) sum += p.dh[k] * out.result.h[k];
  for (std::size_t k = 0; k < p.dc.size(); ++k) sum += p.dc[k] * out.result.c[k];
  return sum;
}

// A step of 1e-4 leaves the truncation error of the five-point formula near 1e-16 and its rounding near 1e-12, which is
// a larger part of gradients that masks and bounds have made small.
constexpr double step = 1e-4;
constexpr double tolerance_of_exact = 5e-9;

std::vector<double> differences(Problem<double>& p, std::vector<double>& values) {
  std::vector<double> gradient;
  for (double& value : values) {
    const double here = value;
    const auto at = [&](double multiple) {
      value = here + multiple * step;
      return loss(p);
    };
    const double slope = std::isnan(here) ? 0 : (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step);
    value = here;
    gradient.push_back(slope);
  }
  return gradient;
}

std::vector<Shape> shapes() {
  const std::vector<std::int64_t> ragged = {4, 0, 2};
  const std::vector<std::vector<std::int64_t>> resets = {{0, 2}, {1}, {1, 3}};
  std::vector<Shape> all;
  all.push_back({"one step: no recurrence", lstm_config(2, 2), 1, 1});
  all.push_back({"one layer", lstm_config(3, 2), 2, 4});
  all.push_back({"no initial state", lstm_config(3, 2), 2, 3, {}, {}, false});
  all.push_back({"ragged, a row of length 0", lstm_config(2, 3), 3, 4, ragged});
  all.push_back({"two layers", lstm_config(2, 3, 2), 2, 3});
  all.push_back({"three layers, ragged", lstm_config(2, 2, 3), 3, 4, ragged});
  all.push_back({"bidirectional, ragged", bidirectional(lstm_config(2, 2)), 3, 4, ragged});
  all.push_back({"bidirectional, two layers, ragged", bidirectional(lstm_config(2, 2, 2)), 3, 4, ragged});
  all.push_back({"go_backwards, two layers, ragged", backwards(lstm_config(2, 2, 2)), 3, 4, ragged});
  all.push_back({"reset", lstm_config(2, 2), 3, 4, {}, resets});
  all.push_back(
      {"reset, bidirectional, two layers, ragged", bidirectional(lstm_config(2, 2, 2)), 3, 4, ragged, resets});
  all.push_back({"reset, go_backwards, ragged", backwards(lstm_config(2, 2)), 3, 4, ragged, resets});
  all.push_back({"dropout", with_dropout(bidirectional(lstm_config(2, 3, 3)), 0.4), 2, 3});
  for (const Variant& variant : variants()) {
    if (variant.name.find(" for the ") != std::string::npos) {  // activations are many, and act within a step
      all.push_back({variant.name, variant.of(lstm_config(2, 2)), 2, 3});
      continue;
    }
    all.push_back({variant.name, variant.of(bidirectional(lstm_config(2, 3, 2))), 3, 4, ragged, resets});
  }
  return all;
}

}  // namespace

TEST("the reference's gradients match its forward") {
  for (const Shape& shape : shapes()) {
    const check::Context context(shape.reason);
    Problem<double> p = make_problem<double>(shape);
    const Result<double> result = reference_train(p);
    const double tolerance = has_fast_activations(p.config) ? 2e-4 : tolerance_of_exact;
    CHECK_ARRAYS_CLOSE(result.dx, differences(p, p.x), tolerance);
    if (shape.initial_state) {
      CHECK_ARRAYS_CLOSE(result.dh0, differences(p, p.h0), tolerance);
      CHECK_ARRAYS_CLOSE(result.dc0, differences(p, p.c0), tolerance);
    }
    for (Index cell = 0; cell < p.cells(); ++cell) {
      const check::Context number("cell " + std::to_string(cell));
      CHECK_ARRAYS_CLOSE(result.dweight_ih[cell], differences(p, p.weight_ih[cell]), tolerance);
      CHECK_ARRAYS_CLOSE(result.dweight_hh[cell], differences(p, p.weight_hh[cell]), tolerance);
      if (p.config.bias) CHECK_ARRAYS_CLOSE(result.dbias[cell], differences(p, p.bias[cell]), tolerance);
      if (p.config.proj_size > 0) {
        CHECK_ARRAYS_CLOSE(result.dweight_hr[cell], differences(p, p.weight_hr[cell]), tolerance);
      }
      if (p.config.peephole) CHECK_ARRAYS_CLOSE(result.dpeephole[cell], differences(p, p.peephole[cell]), tolerance);
      if (p.config.layer_norm) {
        CHECK_ARRAYS_CLOSE(result.dgain_ih[cell], differences(p, p.gain_ih[cell]), tolerance);
        CHECK_ARRAYS_CLOSE(result.dgain_hh[cell], differences(p, p.gain_hh[cell]), tolerance);
        CHECK_ARRAYS_CLOSE(result.dgain_c[cell], differences(p, p.gain_c[cell]), tolerance);
        if (p.config.bias) CHECK_ARRAYS_CLOSE(result.dbias_c[cell], differences(p, p.bias_c[cell]), tolerance);
      }
    }
  }
}

// One unit, one step, all weights by hand: i, f, g, o in this order and nothing swapped.
TEST("the reference's forward follows the published equations") {
  const std::vector<double> weight_ih = {0.1, 0.2, 0.3, 0.4}, weight_hh = {0.5, -0.6, 0.7, -0.8};
  const std::vector<double> bias = {0.01, 0.02, 0.03, 0.04};
  const double x = 1.5, h0 = -0.25, c0 = 0.75;
  const auto z = [&](int gate) { return weight_ih[gate] * x + weight_hh[gate] * h0 + bias[gate]; };
  const auto sigmoid = [](double value) { return 1 / (1 + std::exp(-value)); };
  const double c1 = sigmoid(z(1)) * c0 + sigmoid(z(0)) * std::tanh(z(2));
  const double h1 = sigmoid(z(3)) * std::tanh(c1);

  double y = 0, h = h0, c = c0;
  lstmcore::LstmWeights<double> weights(1);
  weights[0] = {{weight_ih.data(), {4, 1}}, {weight_hh.data(), {4, 1}}, {bias.data(), {4}}};
  lstmcore::reference::lstm<double>(lstm_config(1, 1), weights, lstmcore::View<const double, 3>(&x, {1, 1, 1}),
                                    {&y, {1, 1, 1}}, {{&h, {1, 1, 1}}, {&c, {1, 1, 1}}});
  CHECK_CLOSE(c, c1, 1e-15);
  CHECK_CLOSE(h, h1, 1e-15);
  CHECK_EQUAL(y, h);
}

// A bidirectional LSTM must return the same as two LSTMs of one direction.
TEST("a bidirectional reference equals two of one direction") {
  Shape shape{"ragged", bidirectional(lstm_config(2, 3)), 3, 4, {4, 0, 2}};
  const Problem<double> both = make_problem<double>(shape);
  const Result<double> y_both = reference_infer(both);
  for (Index direction = 0; direction < 2; ++direction) {
    const check::Context context("direction " + std::to_string(direction));
    Problem<double> single = both;
    single.config.bidirectional = false;
    single.config.go_backwards = direction == 1;
    single.weight_ih = {both.weight_ih[direction]};
    single.weight_hh = {both.weight_hh[direction]};
    single.bias = {both.bias[direction]};
    const auto part = [&](const std::vector<double>& of_both) {
      const Index half = single.h_size();
      return std::vector<double>(of_both.begin() + direction * half, of_both.begin() + (direction + 1) * half);
    };
    single.h0 = part(both.h0);
    single.c0 = part(both.c0);
    const Result<double> y_single = reference_infer(single);
    std::vector<double> expected;
    for (Index place = 0; place < 3 * 4; ++place) {
      for (Index u = 0; u < 3; ++u) expected.push_back(y_both.y[place * 6 + direction * 3 + u]);
    }
    CHECK_SAME_BITS(y_single.y, expected);
    CHECK_SAME_BITS(y_single.h, part(y_both.h));
    CHECK_SAME_BITS(y_single.c, part(y_both.c));
  }
}

// Float and double are one template: they differ by rounding only.
TEST("the reference in float is the reference in double, rounded") {
  const Shape shape{"", with_dropout(bidirectional(lstm_config(3, 4, 2)), 0.25), 3, 5, {5, 0, 3}};
  const Problem<float> p = make_problem<float>(shape);
  const Result<float> single = reference_train(p);
  const Result<double> exact = reference_train(converted<double>(p));
  CHECK_ARRAYS_CLOSE(single.y, exact.y, 1e-6);
  CHECK_ARRAYS_CLOSE(single.dx, exact.dx, 1e-6);
  CHECK_ARRAYS_CLOSE(single.dweight_hh[0], exact.dweight_hh[0], 1e-6);
}
