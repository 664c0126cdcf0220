// LSTMs whose products are computed in a lower precision, by the units of this machine and by an emulated matrix unit.
#include <algorithm>
#include <cmath>
#include <limits>
#include <lstmcore/cpu.hpp>
#include <lstmcore/precision.hpp>
#include <lstmcore/tangent.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "allocation_counter.hpp"
#include "check.hpp"
#include "lstm_problem.hpp"
#include "lstm_shapes.hpp"
#include "lstm_variants.hpp"
#include "precision_settings.hpp"
#include "same_bits.hpp"

namespace {

using lstmcore::Lstm;
using lstmcore::LstmStream;
using lstmcore::Precision;

// ---- close to the reference -----------------------------------------------------------------------------------------

struct Bounds {
  double forward, backward;
};

/// Relative to the largest entry.
Bounds bounds(const Setting& setting) {
  switch (setting.precision) {
    case Precision::bf16x3:  // dot products add all six to one sum; tiles begin a new sum after every 32 elements
      return setting.emulated ? Bounds{1e-6, 2e-6} : Bounds{3e-6, 6e-6};
    case Precision::bf16x2:  // a product is within 3 * 2^-18 = 1.1e-5
      return {3e-5, 6e-5};
    case Precision::bf16:
      return {0.03, 0.05};
    case Precision::int8:
      return {0.05, 0.0};
    case Precision::fp32:
    case Precision::automatic:
      break;
  }
  throw std::logic_error("no bounds for this precision");
}

/// Whether rounding changes gradients only a little: at a kink or a bound they jump, and unbounded activations magnify
/// the error.
bool is_smooth(const lstmcore::LstmConfig& config) {
  if (config.gate_clip > 0 || config.cell_clip > 0 || config.output_clip > 0 || config.proj_clip > 0) return false;
  using lstmcore::LstmFunction;
  const auto calm = [](const lstmcore::LstmActivation& a) {
    return a.function == LstmFunction::sigmoid || a.function == LstmFunction::tanh ||
           a.function == LstmFunction::hard_sigmoid || a.function == LstmFunction::softsign;
  };
  return calm(config.gate_activation) && calm(config.cell_activation) && calm(config.output_activation);
}

std::vector<Shape> accuracy_shapes(Precision precision) {
  std::vector<Shape> all;
  for (const Shape& shape : all_shapes(lanes())) {
    if (precision == Precision::bf16x3 || is_smooth(shape.config)) all.push_back(shape);
  }
  return all;
}

void check_near(const Result<float>& result, const Result<double>& expected, double bound) {
  CHECK_ARRAYS_CLOSE(result.y, expected.y, bound);
  CHECK_ARRAYS_CLOSE(result.h, expected.h, bound);
  CHECK_ARRAYS_CLOSE(result.c, expected.c, bound);
}

void check_gradients_near(const Result<float>& result, const Result<double>& expected, double bound) {
  CHECK_ARRAYS_CLOSE(result.dx, expected.dx, bound);
  CHECK_ARRAYS_CLOSE(result.dh0, expected.dh0, bound);
  CHECK_ARRAYS_CLOSE(result.dc0, expected.dc0, bound);
  for (std::size_t cell = 0; cell < expected.dbias.size(); ++cell) {
    CHECK_ARRAYS_CLOSE(result.dweight_ih[cell], expected.dweight_ih[cell], bound);
    CHECK_ARRAYS_CLOSE(result.dweight_hh[cell], expected.dweight_hh[cell], bound);
    if (!std::isnan(expected.dbias[cell][0])) CHECK_ARRAYS_CLOSE(result.dbias[cell], expected.dbias[cell], bound);
    if (!expected.dweight_hr.empty()) {
      CHECK_ARRAYS_CLOSE(result.dweight_hr[cell], expected.dweight_hr[cell], bound);
    }
  }
}

void check_accuracy(const Setting& setting) {
  const Bounds most = bounds(setting);
  for (const Shape& shape : accuracy_shapes(setting.precision)) {
    const check::Context context(shape.reason);
    const Problem<float> p = make(shape, setting.precision);
    const Result<float> inferred = infer(p);
    const double more = growth(p.config);
    const Result<double> expected = reference_infer(converted<double>(p));
    check_near(inferred, expected, more * most.forward);
    if (!setting.trains()) continue;
    const Result<float> trained = train(p);
    if (!has_random_masks(p.config)) check_same_outputs(trained, inferred);
    const Result<double> wanted = reference_train(converted<double>(p));
    check_near(trained, wanted, more * most.forward);
    check_gradients_near(trained, wanted, more * most.backward);
  }
}

// ---- the same bits --------------------------------------------------------------------------------------------------

void check_same_gradients_if(const Setting& setting, const Problem<float>& p, const Result<float>& expected) {
  if (!setting.trains()) return;
  const Result<float> again = train(p);
  check_same_outputs(again, expected);
  check_same_gradients(again, expected);
}

std::vector<Shape> threaded_shapes() {
  std::vector<std::int64_t> lengths;
  for (Index n = 0; n < 41; ++n) lengths.push_back((n * 7) % 13);
  std::vector<Shape> all;
  all.push_back({"rows over threads", lstm_config(20, 40), 37, 12});
  all.push_back({"rows over threads, ragged", bidirectional(lstm_config(20, 40, 2)), 41, 12, lengths});
  all.push_back({"rows over threads, dropout", with_dropout(lstm_config(20, 40, 2), 0.5), 41, 12, lengths});
  all.push_back({"groups of rows, several ranges of steps", lstm_config(20, 40, 2), 33, 45});
  all.push_back({"few rows, units over threads", lstm_config(100, 200), 3, 5, {5, 2, 4}});
  all.push_back({"many rows, units over threads", lstm_config(64, 288), 70, 2});
  all.push_back({"one row", lstm_config(100, 257), 1, 4});
  all.push_back({"few rows, both directions", bidirectional(lstm_config(60, 130)), 4, 5, {5, 2, 0, 4}});
  all.push_back({"layers over threads", lstm_config(30, 32, 3), 1, 150});
  for (const Variant& variant : variants()) {
    if (variant.name.find("projection") == std::string::npos && variant.name.find("norms") == std::string::npos &&
        variant.name != "everything" && variant.name != "dropout of the recurrent weights") {
      continue;
    }
    all.push_back({variant.name + ", rows over threads", variant.of(lstm_config(20, 40)), 37, 5});
    all.push_back({variant.name + ", units over threads", variant.of(lstm_config(60, 200)), 3, 3, {3, 2, 1}});
  }
  return all;
}

void check_threads(const Setting& setting) {
  for (const Shape& shape : threaded_shapes()) {
    const check::Context context(shape.reason);
    Problem<float> p = make(shape, setting.precision);
    Result<float> inferred, trained;
    for (int count : {1, 3}) {
      const check::Context threads(std::to_string(count) + " threads");
      const ThreadCount several(count);
      if (count == 1) {
        inferred = infer(p);
        if (setting.trains()) trained = train(p);
        if (setting.trains() && !has_random_masks(p.config)) check_same_outputs(trained, inferred);
        continue;
      }
      check_same_outputs(infer(p), inferred);
      check_same_gradients_if(setting, p, trained);
      p.recompute = 2;
      check_same_gradients_if(setting, p, trained);
      p.recompute = 0;
    }
  }
}

std::vector<Shape> companion_shapes() {
  std::vector<Shape> all = option_shapes(lanes());
  all.push_back({"rows of several tiles", lstm_config(20, 40), 49, 4});
  all.push_back({"few rows, units over threads", lstm_config(60, 200), 3, 3, {3, 1, 2}});
  for (const Variant& variant : variants()) {
    if (variant.name.find(" for the ") != std::string::npos) continue;
    all.push_back({variant.name, variant.of(lstm_config(5, 2 * lanes() + 3)), 18, 4});
  }
  return all;
}

void check_companions(const Setting& setting) {
  for (const Shape& shape : companion_shapes()) {
    if (has_random_masks(shape.config)) continue;  // its mask depends on the row's place in the batch
    const check::Context context(shape.reason);
    const Problem<float> p = make(shape, setting.precision);
    const Result<float> inferred = infer(p);
    const Result<float> trained = setting.trains() ? train(p) : Result<float>{};
    const Index Y = p.config.output_size();
    for (Index n = 0; n < p.N; n += p.N > 8 ? 5 : 1) {
      const Row<float> row{p, n};
      for (bool cut : {false, true}) {
        const check::Context which("row " + std::to_string(n) + (cut ? ", cut to its length" : ", padded"));
        const Problem<float> alone = row.problem(cut);
        const Result<float> single = infer(alone);
        CHECK_SAME_BITS(single.y, row.sequence(inferred.y, Y, alone.steps));
        CHECK_SAME_BITS(single.h, row.h(inferred.h));
        CHECK_SAME_BITS(single.c, row.c(inferred.c));
        if (!setting.trains()) continue;
        const Result<float> gradients = train(alone);
        CHECK_SAME_BITS(gradients.y, row.sequence(trained.y, Y, alone.steps));
        CHECK_SAME_BITS(gradients.dx, row.sequence(trained.dx, p.config.input_size, alone.steps));
        CHECK_SAME_BITS(gradients.dh0, row.h(trained.dh0));
        CHECK_SAME_BITS(gradients.dc0, row.c(trained.dc0));
      }
    }
  }
}

std::vector<Shape> walked_shapes() {
  std::vector<Shape> all;
  all.push_back({"one layer", lstm_config(5, 11), 3, 17});
  all.push_back({"three layers, one row", lstm_config(5, 40, 3), 1, 17});
  all.push_back({"units over threads", lstm_config(60, 200), 2, 11});
  all.push_back({"rows over threads", lstm_config(20, 40, 2), 37, 11});
  all.push_back({"few inputs, depth of one packed group", lstm_config(1, 11), 3, 17});
  for (const Variant& variant : variants()) {
    if (variant.name.find(" for the ") != std::string::npos) continue;
    all.push_back({variant.name, variant.of(lstm_config(5, 11, 2)), 3, 12});
  }
  return all;
}

/// A training forward, one step at a time, and its backward.
Result<float> trained_by_steps(const Problem<float>& p) {
  const Lstm<float> lstm(p.config, p.weights(), p.precision);
  Outputs<float> out(p);
  lstmcore::LstmTape<float> tape;
  lstm.begin(p.N, {{out.state.h.data, out.state.h.shape}, {out.state.c.data, out.state.c.shape}}, tape, 0, p.seed);
  for (Index t = 0; t < p.steps; ++t) {
    const Index C = p.config.input_size, Y = p.config.output_size();
    lstm.step({p.x.data() + t * C, {p.N, C}, {p.steps * C, 1}},
              {out.result.y.data() + t * Y, {p.N, Y}, {p.steps * Y, 1}}, {}, tape);
  }
  lstm.get_state(tape, out.state);
  lstm.backward(tape, p.output_gradients(), out.inputs);
  return out.result;
}

void check_walks(const Setting& setting) {
  for (const Shape& shape : walked_shapes()) {
    const check::Context context(shape.reason);
    const Problem<float> p = make(shape, setting.precision);
    const Result<float> whole = infer(p);
    {
      const check::Context walk("in several calls");
      check_same_outputs(in_several_calls(p), whole);
    }
    {
      const check::Context walk("streamed");
      check_same_outputs(streamed(p), whole);
    }
    if (!setting.trains() || p.config.dropout > 0) continue;
    const check::Context walk("trained by steps");
    const Result<float> by_steps = trained_by_steps(p), trained = train(p);
    check_same_outputs(by_steps, trained);
    check_same_gradients(by_steps, trained);
  }
}

}  // namespace

TEST("close to the reference") { for_each(settings(), check_accuracy); }
TEST("any number of threads") { for_each(few_settings(), check_threads); }
TEST("any other rows and any padding") { for_each(few_settings(), check_companions); }
TEST("whole, in several calls or by steps") { for_each(settings(), check_walks); }

TEST("automatic uses three terms where they are faster, whatever the batch") {
  if (!can_emulate()) return;
  const Emulation emulation(true);
  for (const auto& [hidden, same] : {std::pair<Index, Precision>{128, Precision::bf16x3}, {16, Precision::fp32}}) {
    for (const Index rows : {1, 20}) {
      const check::Context context("H " + std::to_string(hidden) + ", rows " + std::to_string(rows));
      const Shape shape{"", lstm_config(10, hidden), rows, 3};
      const Result<float> chosen = train(make(shape, Precision::automatic)), expected = train(make(shape, same));
      check_same_outputs(chosen, expected);
      check_same_gradients(chosen, expected);
    }
  }
}

TEST("where no unit is faster, products are those of float32") {
  for (const Precision precision : {Precision::bf16x3, Precision::bf16x2, Precision::automatic}) {
    if (lstmcore::arithmetic_for(precision, 1000)) continue;  // this machine has a matrix unit
    const Shape shape{"", lstm_config(10, 128), 5, 3};
    const Result<float> chosen = train(make(shape, precision)), expected = train(make(shape, Precision::fp32));
    check_same_outputs(chosen, expected);
    check_same_gradients(chosen, expected);
  }
}

TEST("a stream's step allocates nothing") {
  for_each(settings(), [](const Setting& setting) {
    for (const Index rows : {1, 7, 40}) {
      for (const bool projected : {false, true}) {
        const check::Context context("N " + std::to_string(rows) + (projected ? ", projected" : ""));
        lstmcore::LstmConfig config = lstm_config(40, 64, 2);
        if (projected) config.proj_size = 24;
        Problem<float> p = make({"", config, rows, 1}, setting.precision);
        LstmStream<float> stream(Lstm<float>(p.config, p.weights(), p.precision), rows);
        std::vector<float> y(static_cast<std::size_t>(p.y_size()));
        stream.step(p.x.data(), y.data());  // the first step allocates the emulated tiles of this thread
        const long before = allocations();
        for (int t = 0; t < 3; ++t) stream.step(p.x.data(), y.data());
        p.x[3] = std::numeric_limits<float>::infinity();
        stream.step(p.x.data(), y.data());
        stream.reset();
        CHECK_EQUAL(allocations() - before, 0);
      }
    }
  });
}

TEST("int8 is for inference only") {
  const Problem<float> p = make({"", lstm_config(3, 5), 2, 3}, Precision::int8);
  CHECK_THROWS(train(p), "precision");
  CHECK_THROWS(trained_by_steps(p), "precision");
  const Lstm<float> lstm(p.config, p.weights(), p.precision);
  CHECK(lstm.precision() == Precision::int8);
  CHECK_THROWS(lstmcore::LstmTangent<float>(lstm, {}), "precision");
  bool refused = false;
  try {
    train(p);
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  CHECK(refused);
}

TEST("double refuses lower precisions") {
  Problem<double> p = make_problem<double>({"", lstm_config(3, 5), 2, 3});
  const Result<double> expected = train(p);
  for (const Precision precision : {Precision::bf16x3, Precision::bf16x2, Precision::bf16, Precision::int8}) {
    p.precision = precision;
    CHECK_THROWS(infer(p), lstmcore::precision_name(precision));
  }
  p.precision = Precision::automatic;
  check_same_outputs(train(p), expected);
  check_same_gradients(train(p), expected);
}

TEST("names of precisions and units") {
  const std::vector<std::string> names = lstmcore::precision_names();
  CHECK_EQUAL(names.size(), static_cast<std::size_t>(Precision::automatic) + 1);  // the last one
  for (const std::string& name : names) {
    CHECK_EQUAL(lstmcore::precision_name(lstmcore::precision_of(name, "p")), name);
    CHECK(!lstmcore::product_unit_name(lstmcore::precision_of(name, "p")).empty());
  }
  CHECK(lstmcore::precision_of("auto", "p") == Precision::automatic);
  for (const char* wrong : {"", "fp16", "BF16", "bf16x", "automatic"}) {
    CHECK_THROWS(lstmcore::precision_of(wrong, "my argument"), "my argument");
    CHECK_THROWS(lstmcore::precision_of(wrong, "my argument"), "bf16x3");
  }
  CHECK_EQUAL(lstmcore::product_unit_name(Precision::fp32), lstmcore::isa() + " fp32");
  if (!can_emulate()) return;
  const Emulation emulation(true);
  for (const Precision precision : {Precision::bf16x3, Precision::bf16x2, Precision::bf16, Precision::int8}) {
    CHECK_EQUAL(lstmcore::product_unit_name(precision), std::string("emulated"));
  }
  CHECK_EQUAL(lstmcore::product_unit_name(Precision::automatic), std::string("emulated"));
}
