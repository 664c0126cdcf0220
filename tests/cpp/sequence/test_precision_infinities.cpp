// Infinities, NaN and huge numbers in LSTMs of a lower precision: results and gradients are infinite or NaN where those
// of float32 are, and other rows keep their bits.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "lstm_shapes.hpp"
#include "lstm_variants.hpp"
#include "precision_settings.hpp"
#include "same_bits.hpp"

namespace {

using lstmcore::Precision;

const float infinity = std::numeric_limits<float>::infinity();
const float nan_value = std::numeric_limits<float>::quiet_NaN();

/// The same LSTM in float32. For int8, it has the weights that the quantized ones represent, so that only the
/// quantization of x and h makes a difference.
Problem<float> float32_twin(const Problem<float>& p) {
  Problem<float> twin = p;
  twin.precision = Precision::fp32;
  if (p.precision != Precision::int8) return twin;
  const auto quantize = [](std::vector<float>& weights, Index depth) {
    std::vector<lstmcore::kernels::PackedGroup> row(static_cast<std::size_t>(depth + 1));
    for (std::size_t first = 0; first < weights.size(); first += static_cast<std::size_t>(depth)) {
      const float scale =
          lstmcore::active_table().lowp.quantize_row(weights.data() + first, depth, depth, 0, row.data(), nullptr);
      for (Index k = 0; k < depth; ++k) {
        const auto byte = static_cast<std::int8_t>(row[static_cast<std::size_t>(k / 4)] >> (8 * (k % 4)));
        weights[first + static_cast<std::size_t>(k)] = static_cast<float>(byte) * scale;
      }
    }
  };
  for (Index cell = 0; cell < p.cells(); ++cell) {
    quantize(twin.weight_ih[cell], p.config.layer_input_size(cell / p.config.directions()));
    quantize(twin.weight_hh[cell], p.config.state_size());
    if (p.config.proj_size > 0) quantize(twin.weight_hr[cell], p.config.hidden_size);
  }
  return twin;
}

std::string kinds(const std::vector<float>& values) {
  std::string all;
  for (const float value : values) all += std::isnan(value) ? 'N' : std::isinf(value) ? 'I' : '.';
  return all;
}

void check_kinds(const Result<float>& result, const Result<float>& expected, bool gradients) {
  CHECK_EQUAL(kinds(result.y), kinds(expected.y));
  CHECK_EQUAL(kinds(result.h), kinds(expected.h));
  CHECK_EQUAL(kinds(result.c), kinds(expected.c));
  if (!gradients) return;
  CHECK_EQUAL(kinds(result.dx), kinds(expected.dx));
  CHECK_EQUAL(kinds(result.dh0), kinds(expected.dh0));
  CHECK_EQUAL(kinds(result.dc0), kinds(expected.dc0));
  for (std::size_t cell = 0; cell < expected.dbias.size(); ++cell) {
    CHECK_EQUAL(kinds(result.dweight_ih[cell]), kinds(expected.dweight_ih[cell]));
    CHECK_EQUAL(kinds(result.dweight_hh[cell]), kinds(expected.dweight_hh[cell]));
  }
}

std::vector<Shape> poisoned_shapes() {
  std::vector<Shape> all;
  all.push_back({"plain", lstm_config(5, 11), 19, 4});
  all.push_back({"two layers", lstm_config(5, 2 * lanes() + 1, 2), 3, 4});
  all.push_back({"one row", lstm_config(5, 9), 2, 3});
  all.push_back({"rows of two blocks", lstm_config(20, 40), 37, 12});
  for (const Variant& variant : variants()) {
    if (variant.name == "projection" || variant.name == "layer norms" || variant.name == "peephole" ||
        variant.name == "bound of c") {
      all.push_back({variant.name, variant.of(lstm_config(5, 11)), 3, 4});
    }
  }
  return all;
}

/// The same bits, except for the signs of NaN.
void check_same_numbers(std::vector<float> a, std::vector<float> b) {
  for (std::vector<float>* values : {&a, &b}) {
    for (float& value : *values) value = std::isnan(value) ? nan_value : value;
  }
  CHECK_SAME_BITS(a, b);
}

void check_poison(const Setting& setting, const Problem<float>& clean, const Problem<float>& p) {
  const Result<float> result = infer(p), expected = infer(float32_twin(p)), undisturbed = infer(clean);
  check_kinds(result, expected, false);
  check_same_outputs(streamed(p), result);
  check_same_outputs(in_several_calls(p), result);
  const auto check_others = [&](const Result<float>& own, const Result<float>& other) {
    for (Index n = 1; n < p.N; ++n) {
      const Row<float> row{p, n};
      CHECK_SAME_BITS(row.sequence(own.y, p.config.output_size(), p.steps),
                      row.sequence(other.y, p.config.output_size(), p.steps));
      CHECK_SAME_BITS(row.h(own.h), row.h(other.h));
      CHECK_SAME_BITS(row.c(own.c), row.c(other.c));
      if (own.dh0.empty()) continue;
      CHECK_SAME_BITS(row.sequence(own.dx, p.config.input_size, p.steps),
                      row.sequence(other.dx, p.config.input_size, p.steps));
      CHECK_SAME_BITS(row.h(own.dh0), row.h(other.dh0));
      CHECK_SAME_BITS(row.c(own.dc0), row.c(other.dc0));
    }
  };
  Result<float> mine = result, theirs = undisturbed;
  mine.dh0.clear();
  theirs.dh0.clear();
  check_others(mine, theirs);
  if (!setting.trains()) return;
  const Result<float> trained = train(p);
  check_same_outputs(trained, result);
  check_kinds(trained, train(float32_twin(p)), true);
  check_others(trained, train(clean));
  const ThreadCount three(3);
  Problem<float> cut = p;
  cut.recompute = 2;
  for (const Problem<float>* again : {&p, static_cast<const Problem<float>*>(&cut)}) {
    const check::Context context(again->recompute == 0 ? "three threads" : "three threads, recomputed");
    const Result<float> other = train(*again);
    check_same_outputs(other, trained);
    for (std::size_t cell = 0; cell < trained.dweight_ih.size(); ++cell) {
      check_same_numbers(other.dweight_ih[cell], trained.dweight_ih[cell]);
      check_same_numbers(other.dweight_hh[cell], trained.dweight_hh[cell]);
      check_same_numbers(other.dbias[cell], trained.dbias[cell]);
    }
  }
}

void check_infinities(const Setting& setting) {
  for (const Shape& shape : poisoned_shapes()) {
    const Problem<float> clean = make(shape, setting.precision);
    const std::vector<float> all = {infinity, -infinity, nan_value, 3.4e38f, -1e38f, 4e16f}, few = {infinity, 4e16f};
    for (const float value : shape.N > 30 ? few : all) {
      const check::Context context(shape.reason + ", " + check::text(value));
      {
        const check::Context where("in x");
        Problem<float> p = clean;
        p.x[static_cast<std::size_t>(p.config.input_size + 2)] = value;  // row 0, step 1
        check_poison(setting, clean, p);
      }
      {
        const check::Context where("in h0");
        Problem<float> p = clean;
        p.h0[1] = value;
        check_poison(setting, clean, p);
      }
      {
        const check::Context where("in dy");
        Problem<float> p = clean;
        p.dy[static_cast<std::size_t>(p.config.output_size() + 1)] = value;
        check_poison(setting, clean, p);
      }
      for (const bool recurrent : {false, true}) {
        const check::Context where(recurrent ? "in weight_hh" : "in weight_ih");
        Problem<float> p = clean;
        (recurrent ? p.weight_hh : p.weight_ih)[0][7] = value;
        Problem<float> twin = p;
        twin.precision = Precision::fp32;
        const Result<float> result = infer(p), expected = infer(twin);
        if (p.cells() > 1) {  // the other cells still use the lower precision
          check_kinds(result, expected, false);
          continue;
        }
        check_same_outputs(result, expected);
        check_same_outputs(streamed(p), expected);
        if (!setting.trains()) continue;
        const Result<float> gradients = train(p), wanted = train(twin);
        check_same_outputs(gradients, wanted);
        check_same_gradients(gradients, wanted);
      }
    }
  }
}

}  // namespace

TEST("infinities and NaN") { for_each(settings(), check_infinities); }
