// Tangents of outputs and gradients: against finite differences of the reference, and against exact identities.
#include <lstmcore/cpu.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "lstm_shapes.hpp"
#include "lstm_tangent.hpp"
#include "lstm_variants.hpp"
#include "runtime/isa.hpp"
#include "thread_count.hpp"

namespace {

bool has_bends(const lstmcore::LstmConfig& config) {
  using lstmcore::LstmFunction;
  const auto bends = [](LstmFunction function) {
    switch (function) {
      case LstmFunction::relu:
      case LstmFunction::leaky_relu:
      case LstmFunction::elu:
      case LstmFunction::hard_sigmoid:
      case LstmFunction::softsign:
      case LstmFunction::thresholded_relu:
        return true;
      default:
        return false;
    }
  };
  return config.gate_clip > 0 || config.cell_clip > 0 || config.output_clip > 0 || config.proj_clip > 0 ||
         bends(config.gate_activation.function) || bends(config.cell_activation.function) ||
         bends(config.output_activation.function);
}

std::vector<Shape> shapes() {
  const Index V = lstmcore::active_kernels<double>().lanes;
  std::vector<Shape> all = option_shapes(V);
  all.push_back({"the smallest", lstm_config(1, 1), 1, 1});
  all.push_back({"one step: no recurrence", lstm_config(4, 2 * V + 1), 9, 1});
  all.push_back({"no step", lstm_config(4, 3), 2, 0});
  all.push_back({"no row", lstm_config(4, 3), 0, 2});
  all.push_back({"long: several ranges of steps", lstm_config(3, 9), 5, 200});
  all.push_back({"rows over threads", lstm_config(20, 40), 37, 12});
  const std::vector<std::int64_t> ragged = {3, 4, 0};
  const std::vector<std::vector<std::int64_t>> resets = {{1}, {0, 3}, {2}};
  for (const Variant& variant : variants()) {
    all.push_back({variant.name, variant.of(lstm_config(3, V + 3)), 3, 4});
    all.push_back({variant.name + ", bidirectional, two layers, ragged, reset",
                   variant.of(bidirectional(lstm_config(3, 5, 2))), 3, 4, ragged, resets});
  }
  return all;
}

// Five-point differences of `run`. Where everything is smooth, a large step is best: truncation and rounding are near
// 1e-11 of the largest entry. A small step seldom crosses a kink, and has a rounding error of 1e-10. Layer
// normalization has larger high derivatives, and takes a step between these.
template <class Run>
Result<double> differences(const Problem<double>& p, const Problem<double>& direction, Run&& run) {
  const double step = has_bends(p.config) ? 1e-6 : p.config.layer_norm ? 1e-4 : 3e-4;
  const auto at = [&](double multiple) { return run(moved(p, direction, multiple * step)); };
  Result<double> result = at(1);
  const Result<double> others[] = {at(-1), at(2), at(-2)};
  const auto combine = [&](const Result<double>& other, double factor) {
    visit_results(result, other, [factor](const char*, std::vector<double>& to, const std::vector<double>& from) {
      for (std::size_t k = 0; k < to.size(); ++k) to[k] += factor * from[k];
    });
  };
  combine(others[0], -1);
  combine(others[1], -1.0 / 8);
  combine(others[2], 1.0 / 8);
  visit_results(result, result, [step](const char*, std::vector<double>& to, const std::vector<double>&) {
    for (double& value : to) value *= 8 / (12 * step);
  });
  return result;
}

double tolerance_of_differences(const lstmcore::LstmConfig& config) {
  if (has_fast_activations(config)) return 2e-4 * growth(config);
  return (has_bends(config) ? 2e-9 : 1e-10) * growth(config);
}

template <class T>
void check_close(const Result<T>& actual, const Result<T>& expected, double tolerance) {
  visit_results(actual, expected, [tolerance](const char* name, const std::vector<T>& a, const std::vector<T>& e) {
    const check::Context context(name);
    if (!e.empty()) CHECK_ARRAYS_CLOSE(a, e, tolerance);
  });
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t k = 0; k < a.size() && k < b.size(); ++k) {
    if (!std::isnan(a[k]) && !std::isnan(b[k])) sum += a[k] * b[k];  // NaN: past a row's length
  }
  return sum;
}

/// The inner product of gradients (or their tangents) with a direction of the inputs.
double by_inputs(const Result<double>& gradients, const Problem<double>& direction) {
  double sum = dot(gradients.dx, direction.x) + dot(gradients.dh0, direction.h0) + dot(gradients.dc0, direction.c0);
  for (std::size_t cell = 0; cell < gradients.dweight_ih.size(); ++cell) {
    sum += dot(gradients.dweight_ih[cell], direction.weight_ih[cell]);
    sum += dot(gradients.dweight_hh[cell], direction.weight_hh[cell]);
    if (direction.config.bias) sum += dot(gradients.dbias[cell], direction.bias[cell]);
    if (direction.config.peephole) sum += dot(gradients.dpeephole[cell], direction.peephole[cell]);
    if (direction.config.proj_size > 0) sum += dot(gradients.dweight_hr[cell], direction.weight_hr[cell]);
    if (!direction.config.layer_norm) continue;
    sum += dot(gradients.dgain_ih[cell], direction.gain_ih[cell]);
    sum += dot(gradients.dgain_hh[cell], direction.gain_hh[cell]);
    sum += dot(gradients.dgain_c[cell], direction.gain_c[cell]);
    if (direction.config.bias) sum += dot(gradients.dbias_c[cell], direction.bias_c[cell]);
  }
  return sum;
}

void without_output_gradients(Problem<double>& p) {
  p.dy.clear();
  p.dh.clear();
  p.dc.clear();
}

/// A training forward without random masks, and its backward; `every`: steps between two states that are stored.
Result<double> train_without_masks(const Problem<double>& p, Index every) {
  Outputs<double> out(p);
  const lstmcore::Lstm<double> lstm(p.config, p.weights());
  lstmcore::LstmTape<double> tape;
  lstmcore::LstmSequence<double> sequence = p.sequence();
  sequence.random = false;
  sequence.recompute = every;
  lstm.forward(sequence, out.y, out.state, tape);
  lstm.backward(tape, p.output_gradients(), out.inputs);
  return out.result;
}

template <class T>
void check_same(const Result<T>& actual, const Result<T>& expected) {
  visit_results(actual, expected, [](const char* name, const std::vector<T>& a, const std::vector<T>& e) {
    const check::Context context(name);
    CHECK_SAME_BITS(a, e);
  });
}

}  // namespace

TEST("tangents of outputs and gradients match differences of the reference") {
  for (const Shape& shape : shapes()) {
    const check::Context context(shape.reason);
    const Problem<double> p = make_problem<double>(shape), direction = make_direction<double>(shape);
    const Result<double> expected =
        differences(p, direction, [](const Problem<double>& at) { return reference_train(at); });
    check_close(differentiate(p, direction).tangent, expected, tolerance_of_differences(p.config));
  }
}

TEST("values have the bits of a training forward and its backward") {
  for (const Shape& shape : shapes()) {
    const check::Context context(shape.reason);
    const Problem<double> p = make_problem<double>(shape), direction = make_direction<double>(shape);
    check_same(differentiate(p, direction).value, train(p));
  }
}

// <J^T dy, t> = <dy, J t>.
TEST("the gradients and the tangents of the outputs are transposes of each other") {
  for (const Shape& shape : shapes()) {
    const check::Context context(shape.reason);
    const Problem<double> p = make_problem<double>(shape), direction = make_direction<double>(shape);
    const DualResult<double> result = differentiate(p, direction);
    const double expected = dot(p.dy, result.tangent.y) + dot(p.dh, result.tangent.h) + dot(p.dc, result.tangent.c);
    CHECK_CLOSE(by_inputs(result.value, direction), expected, 1e-12 * growth(p.config));
  }
}

// <u, H t> = <t, H u>, which also says that the tangents of the gradients are the gradients of <t, J^T dy>.
TEST("the Hessian is symmetric") {
  for (const Shape& shape : shapes()) {
    const check::Context context(shape.reason);
    const Problem<double> p = make_problem<double>(shape);
    Problem<double> t = make_direction<double>(shape, 5), u = make_direction<double>(shape, 6);
    without_output_gradients(t);
    without_output_gradients(u);
    const double ut = by_inputs(differentiate(p, t).tangent, u), tu = by_inputs(differentiate(p, u).tangent, t);
    CHECK_CLOSE(ut, tu, 1e-12 * growth(p.config));
  }
}

TEST("tangents are linear in the direction") {
  for (const Shape& shape : shapes()) {
    const check::Context context(shape.reason);
    const Problem<double> p = make_problem<double>(shape);
    const Problem<double> t = make_direction<double>(shape, 5), u = make_direction<double>(shape, 6);
    Result<double> expected = differentiate(p, t).tangent;
    const Result<double> other = differentiate(p, u).tangent;
    visit_results(expected, other, [](const char*, std::vector<double>& to, const std::vector<double>& from) {
      for (std::size_t k = 0; k < to.size(); ++k) to[k] += -1.5 * from[k];
    });
    check_close(differentiate(p, moved(t, u, -1.5)).tangent, expected, 1e-12 * growth(p.config));
  }
}

TEST("float is double, rounded") {
  for (const Shape& shape : shapes()) {
    if (has_bends(shape.config)) continue;  // a value may be on the other side of a kink
    const check::Context context(shape.reason);
    const Problem<float> p = make_problem<float>(shape), direction = make_direction<float>(shape);
    const Result<double> expected = differentiate(converted<double>(p), converted<double>(direction)).tangent;
    const Result<float> single = differentiate(p, direction).tangent;
    visit_results(single, expected, [&](const char* name, const std::vector<float>& a, const std::vector<double>& e) {
      const check::Context array(name);
      if (!e.empty()) CHECK_ARRAYS_CLOSE(a, e, 2e-5 * growth(p.config));
    });
  }
}

TEST("without random masks, values are those of inference") {
  for (const Variant& variant : variants()) {
    const check::Context context(variant.name);
    const Shape shape{"", variant.of(bidirectional(lstm_config(3, 5, 2))), 3, 4, {3, 4, 0}, {{1}, {0, 3}, {2}}};
    const Problem<double> p = make_problem<double>(shape), direction = make_direction<double>(shape);
    const DualResult<double> result = differentiate(p, direction, false);
    const Result<double> inferred = infer(p);
    CHECK_SAME_BITS(result.value.y, inferred.y);
    CHECK_SAME_BITS(result.value.h, inferred.h);
    CHECK_SAME_BITS(result.value.c, inferred.c);
    for (const Index every : {Index{1}, Index{3}}) {
      const check::Context segments("segments of " + std::to_string(every));
      check_same(train_without_masks(p, every), result.value);
    }
    const double expected = dot(p.dy, result.tangent.y) + dot(p.dh, result.tangent.h) + dot(p.dc, result.tangent.c);
    CHECK_CLOSE(by_inputs(result.value, direction), expected, 1e-12 * growth(p.config));
    // The reference's backward does not know zoneout's expectation, so differences are those of the engine: J is right
    // if it matches the forward's differences, and with it J^T, by the identity above.
    const Result<double> difference =
        differences(p, direction, [&](const Problem<double>& at) { return differentiate(at, direction, false).value; });
    check_close(result.tangent, difference, tolerance_of_differences(p.config));
  }
}

TEST("the same bits for any number of threads") {
  std::vector<std::int64_t> lengths;
  for (Index n = 0; n < 41; ++n) lengths.push_back((n * 7) % 13);
  std::vector<Shape> all;
  all.push_back({"rows over threads", lstm_config(20, 40), 37, 12});
  all.push_back({"ragged, both directions, two layers", bidirectional(lstm_config(20, 40, 2)), 41, 12, lengths});
  all.push_back({"fewer rows than threads", lstm_config(100, 300), 3, 5});
  for (const Variant& variant : variants()) {
    if (variant.name.find(" for the ") != std::string::npos) continue;
    all.push_back({variant.name, variant.of(lstm_config(20, 40, 2)), 37, 12});
  }
  for (const Shape& shape : all) {
    const check::Context context(shape.reason);
    const Problem<float> p = make_problem<float>(shape), direction = make_direction<float>(shape);
    DualResult<float> one;
    {
      const ThreadCount single(1);
      one = differentiate(p, direction);
    }
    for (int count : {2, 3, 5}) {
      const check::Context threads(std::to_string(count) + " threads");
      const ThreadCount several(count);
      const DualResult<float> again = differentiate(p, direction);
      check_same(again.value, one.value);
      check_same(again.tangent, one.tangent);
    }
  }
}

TEST("a row's tangents do not depend on the others") {
  const Shape shape{"", bidirectional(lstm_config(5, 19, 2)), 5, 6, {3, 6, 0, 1, 5}, {{1}, {0, 3}, {2}, {}, {4, 5}}};
  const Problem<float> p = make_problem<float>(shape), direction = make_direction<float>(shape);
  const Result<float> all = differentiate(p, direction).tangent;
  const auto row_of = [&](Problem<float> from, Index n) {
    const auto cut = [&](std::vector<float>& values, Index outer, Index width) {
      std::vector<float> part;
      for (Index k = 0; k < outer; ++k) {
        const auto start = values.begin() + (k * from.N + n) * width;
        part.insert(part.end(), start, start + width);
      }
      values = part;
    };
    const Index H = 19, T = 6;
    for (auto* values : {&from.h0, &from.c0, &from.dh, &from.dc}) cut(*values, from.cells(), H);
    cut(from.x, 1, T * 5);
    cut(from.dy, 1, T * 2 * H);
    std::valarray<bool> reset(static_cast<std::size_t>(T));
    for (Index t = 0; t < T; ++t) reset[t] = from.reset[n * T + t];
    from.reset.resize(reset.size());
    from.reset = reset;
    from.lengths = {from.lengths[n]};
    from.N = 1;
    return from;
  };
  for (Index n = 0; n < p.N; ++n) {
    const check::Context context("row " + std::to_string(n));
    const Result<float> alone = differentiate(row_of(p, n), row_of(direction, n)).tangent;
    const auto part = [&](const std::vector<float>& values, Index outer, Index width) {
      std::vector<float> cut;
      for (Index k = 0; k < outer; ++k) {
        const auto start = values.begin() + (k * p.N + n) * width;
        cut.insert(cut.end(), start, start + width);
      }
      return cut;
    };
    CHECK_SAME_BITS(alone.y, part(all.y, 1, 6 * 38));
    CHECK_SAME_BITS(alone.dx, part(all.dx, 1, 6 * 5));
    CHECK_SAME_BITS(alone.h, part(all.h, 4, 19));
    CHECK_SAME_BITS(alone.c, part(all.c, 4, 19));
    CHECK_SAME_BITS(alone.dh0, part(all.dh0, 4, 19));
    CHECK_SAME_BITS(alone.dc0, part(all.dc0, 4, 19));
  }
}

TEST("absent tangents are zeros, absent gradients are not computed, and a tape is for one backward") {
  const Shape shape{"", bidirectional(lstm_config(3, 5, 2)), 4, 3};
  const Problem<double> p = make_problem<double>(shape);
  Problem<double> zeros = p;
  visit_arrays(zeros, p,
               [](std::vector<double>& to, const std::vector<double>&) { std::fill(to.begin(), to.end(), 0.0); });
  const Problem<double> direction = make_direction<double>(shape);
  zeros.x = direction.x;
  const DualResult<double> expected = differentiate(p, zeros);

  Outputs<double> value(p), tangent(zeros);
  const lstmcore::LstmTangent<double> lstm(lstmcore::Lstm<double>(p.config, p.weights()), {});
  lstmcore::LstmTangentTape<double> tape;
  CHECK(!tape.ready());
  lstm.forward(p.sequence(), direction.sequence().x, value.y, tangent.y, value.state, {}, tape);
  CHECK(tape.ready());
  CHECK(tape.bytes() > 0);
  CHECK_SAME_BITS(tangent.result.y, expected.tangent.y);
  lstmcore::LstmInputGradients<double> only;
  only.h = tangent.inputs.h;
  lstm.backward(tape, p.output_gradients(), {}, {}, only);
  CHECK_SAME_BITS(tangent.result.dh0, expected.tangent.dh0);
  CHECK(!tape.ready());
  CHECK_THROWS(lstm.backward(tape, {}, {}, {}, {}), "tape: expected");
}

TEST("without gradients of the outputs, the tangents are the gradients for their tangents") {
  const Shape shape{"", bidirectional(lstm_config(3, 5, 2)), 4, 3};
  const Problem<double> direction = make_direction<double>(shape);
  Problem<double> p = make_problem<double>(shape);
  p.dy = direction.dy;
  p.dh = direction.dh;
  p.dc = direction.dc;
  const Result<double> gradients = train(p);
  without_output_gradients(p);
  Result<double> tangent = differentiate(p, direction).tangent;
  tangent.y = gradients.y;  // not compared: tangents, not values
  tangent.h = gradients.h;
  tangent.c = gradients.c;
  check_close(tangent, gradients, 1e-13);
}

TEST("bad tangents are refused") {
  const Shape shape{"", lstm_config(3, 5), 4, 3};
  const Problem<double> p = make_problem<double>(shape);
  const lstmcore::Lstm<double> engine(p.config, p.weights());
  using Tangent = lstmcore::LstmTangent<double>;
  CHECK_THROWS(Tangent(engine, lstmcore::LstmWeights<double>(2)), "tangents of weights: expected 1 entries");
  lstmcore::LstmWeights<double> weights = p.weights();
  weights[0].bias.shape = {19};
  CHECK_THROWS(Tangent(engine, weights), "tangent of bias_l0: expected shape (20,), got (19,)");
  weights = p.weights();
  weights[0].peephole = {p.x.data(), {15}};
  CHECK_THROWS(Tangent(engine, weights), "peephole: expected none");

  const Tangent lstm(engine, p.weights());
  lstmcore::LstmTangentTape<double> tape;
  Outputs<double> value(p), tangent(p);
  const auto x = p.sequence().x;
  CHECK_THROWS(lstm.forward(p.sequence(), {x.data, {4, 3, 2}}, {}, {}, {}, {}, tape),
               "x_tangent: expected shape (4, 3, 3), got (4, 3, 2)");
  CHECK_THROWS(lstm.forward(p.sequence(), x, {}, {value.y.data, {4, 3, 4}}, {}, {}, tape), "y_tangent: expected shape");
  CHECK_THROWS(lstm.forward(p.sequence(), x, {}, {}, {}, {{value.y.data, {1, 4, 4}}, {}}, tape),
               "h_tangent: expected shape");
  lstmcore::LstmSequence<double> in_segments = p.sequence();
  in_segments.recompute = 2;
  CHECK_THROWS(lstm.forward(in_segments, x, {}, {}, {}, {}, tape), "recompute: expected 0 in a forward with tangents");
  CHECK(!tape.ready());
  lstm.forward(p.sequence(), x, {}, {}, {}, {}, tape);
  lstmcore::LstmOutputGradients<double> outputs;
  outputs.y = {p.dy.data(), {4, 3, 4}};
  CHECK_THROWS(lstm.backward(tape, outputs, {}, {}, {}), "dy: expected shape (4, 3, 5)");
  CHECK_THROWS(lstm.backward(tape, {}, outputs, {}, {}), "tangent of dy: expected shape (4, 3, 5)");
  const Tangent other(engine, p.weights());
  CHECK_THROWS(other.backward(tape, {}, {}, {}, {}), "tape: expected one of a forward with these tangents");
  CHECK(tape.ready());
}
