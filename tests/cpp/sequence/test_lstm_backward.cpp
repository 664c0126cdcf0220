// The engine's backward against the reference in double, on the same numbers.
#include <cmath>
#include <string>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "lstm_shapes.hpp"
#include "runtime/isa.hpp"

namespace {

// Relative to the largest entry. Gradients accumulate the forward's error of every step that they pass. In double the
// reference errs as much, by the C library's exp and tanh; the largest differences seen are 7.9e-15 without vectors,
// and 5.7e-15 on ARM.
constexpr double tolerance(float) { return 2e-6; }
constexpr double tolerance(double) { return 7e-15; }

template <class T>
void check_gradients(const Result<T>& result, const Result<double>& expected, double growth = 1.0) {
  CHECK_ARRAYS_CLOSE(result.dx, expected.dx, growth * tolerance(T()));
  CHECK_ARRAYS_CLOSE(result.dh0, expected.dh0, growth * tolerance(T()));
  CHECK_ARRAYS_CLOSE(result.dc0, expected.dc0, growth * tolerance(T()));
  for (std::size_t cell = 0; cell < expected.dbias.size(); ++cell) {
    const check::Context context("cell " + std::to_string(cell));
    CHECK_ARRAYS_CLOSE(result.dweight_ih[cell], expected.dweight_ih[cell], growth * tolerance(T()));
    CHECK_ARRAYS_CLOSE(result.dweight_hh[cell], expected.dweight_hh[cell], growth * tolerance(T()));
    if (!std::isnan(expected.dbias[cell][0]))
      CHECK_ARRAYS_CLOSE(result.dbias[cell], expected.dbias[cell], growth * tolerance(T()));
    if (!expected.dweight_hr.empty()) {
      CHECK_ARRAYS_CLOSE(result.dweight_hr[cell], expected.dweight_hr[cell], growth * tolerance(T()));
    }
    if (!expected.dgain_c.empty()) {
      CHECK_ARRAYS_CLOSE(result.dgain_ih[cell], expected.dgain_ih[cell], growth * tolerance(T()));
      CHECK_ARRAYS_CLOSE(result.dgain_hh[cell], expected.dgain_hh[cell], growth * tolerance(T()));
      CHECK_ARRAYS_CLOSE(result.dgain_c[cell], expected.dgain_c[cell], growth * tolerance(T()));
      if (!expected.dbias[cell].empty() && !std::isnan(expected.dbias_c[cell][0])) {
        CHECK_ARRAYS_CLOSE(result.dbias_c[cell], expected.dbias_c[cell], growth * tolerance(T()));
      }
    }
    if (expected.dpeephole.empty()) continue;
    CHECK_ARRAYS_CLOSE(result.dpeephole[cell], expected.dpeephole[cell], growth * tolerance(T()));
  }
}

template <class T>
void check_backward() {
  for (const Shape& shape : all_shapes(lstmcore::active_kernels<T>().lanes)) {
    const check::Context context(shape.reason);
    const Problem<T> p = make_problem<T>(shape);
    check_gradients(train(p), reference_train(converted<double>(p)), growth(p.config));
  }
}

// An absent gradient with respect to an output stands for zeros.
template <class T>
void check_absent_output_gradients() {
  const Shape shape{"", bidirectional(lstm_config(4, 9, 2)), 4, 5, {5, 0, 3, 4}};
  for (int present = 0; present < 8; ++present) {
    const check::Context context("bit set of y, h, c present: " + std::to_string(present));
    Problem<T> p = make_problem<T>(shape);
    if ((present & 1) == 0) p.dy.clear();
    if ((present & 2) == 0) p.dh.clear();
    if ((present & 4) == 0) p.dc.clear();
    check_gradients(train(p), reference_train(converted<double>(p)));
  }
}

// Gradients that are not requested are not computed, and the others keep their bits.
template <class T>
void check_absent_input_gradients() {
  const Problem<T> p = make_problem<T>({"", bidirectional(lstm_config(4, 9, 2)), 4, 5, {5, 0, 3, 4}});
  const Result<T> whole = train(p);
  const lstmcore::Lstm<T> lstm(p.config, p.weights());
  const auto run = [&](auto&& drop) {
    Outputs<T> out(p);
    lstmcore::LstmTape<T> tape;
    lstm.forward(p.sequence(), out.y, out.state, tape);
    drop(out.inputs);
    lstm.backward(tape, p.output_gradients(), out.inputs);
    return out.result;
  };
  const std::vector<T> untouched_x = not_a_number<T>(p.x.size());
  using Inputs = lstmcore::LstmInputGradients<T>;
  {
    const Result<T> only_weights = run([](Inputs& inputs) { inputs.x = inputs.h = inputs.c = {}; });
    CHECK_SAME_BITS(only_weights.dx, untouched_x);
    for (Index cell = 0; cell < p.cells(); ++cell) {
      CHECK_SAME_BITS(only_weights.dweight_ih[cell], whole.dweight_ih[cell]);
      CHECK_SAME_BITS(only_weights.dbias[cell], whole.dbias[cell]);
    }
  }
  {
    const Result<T> only_inputs = run([](Inputs& inputs) { inputs.weights.clear(); });
    CHECK_SAME_BITS(only_inputs.dx, whole.dx);
    CHECK_SAME_BITS(only_inputs.dh0, whole.dh0);
    CHECK_SAME_BITS(only_inputs.dc0, whole.dc0);
    CHECK_SAME_BITS(only_inputs.dbias[0], not_a_number<T>(p.bias[0].size()));
  }
  {
    const Result<T> one_tensor = run([](Inputs& inputs) {
      inputs.x = inputs.h = {};
      for (std::size_t cell = 0; cell < inputs.weights.size(); ++cell) {
        inputs.weights[cell].weight_ih = {};
        if (cell != 1) inputs.weights[cell].weight_hh = {};
        inputs.weights[cell].bias = {};
      }
    });
    CHECK_SAME_BITS(one_tensor.dweight_hh[1], whole.dweight_hh[1]);
    CHECK_SAME_BITS(one_tensor.dc0, whole.dc0);
    CHECK_SAME_BITS(one_tensor.dx, untouched_x);
    CHECK_SAME_BITS(one_tensor.dweight_hh[0], not_a_number<T>(p.weight_hh[0].size()));
  }
}

// The tape holds copies: the caller may change its arrays between forward and backward.
template <class T>
void check_tape_owns_its_data() {
  Problem<T> p = make_problem<T>(
      {"", with_dropout(bidirectional(lstm_config(4, 9, 2)), 0.5), 4, 5, {5, 0, 3, 4}, {{1}, {}, {2}, {0}}});
  const Result<T> expected = train(p);
  Outputs<T> out(p);
  const lstmcore::Lstm<T> lstm(p.config, p.weights());
  lstmcore::LstmTape<T> tape;
  lstm.forward(p.sequence(), out.y, out.state, tape);
  const auto spoil = [](std::vector<T>& values) { values = not_a_number<T>(values.size()); };
  spoil(p.x);
  spoil(out.result.y);
  spoil(out.result.h);
  spoil(out.result.c);
  for (Index cell = 0; cell < p.cells(); ++cell) {
    spoil(p.weight_ih[cell]);
    spoil(p.weight_hh[cell]);
    spoil(p.bias[cell]);
  }
  for (std::int64_t& length : p.lengths) length = 1000;
  p.reset = true;
  lstm.backward(tape, p.output_gradients(), out.inputs);
  CHECK_SAME_BITS(out.result.dx, expected.dx);
  CHECK_SAME_BITS(out.result.dh0, expected.dh0);
  for (Index cell = 0; cell < p.cells(); ++cell)
    CHECK_SAME_BITS(out.result.dweight_hh[cell], expected.dweight_hh[cell]);
}

// Two tapes in use at the same time, and each used again for another shape.
template <class T>
void check_several_tapes() {
  const Problem<T> small = make_problem<T>({"", lstm_config(4, 9), 2, 3}),
                   large = make_problem<T>({"", lstm_config(4, 9), 5, 8, {8, 2, 0, 7, 7}});
  const Result<T> expected_small = train(small), expected_large = train(large);
  const lstmcore::Lstm<T> lstm(small.config, small.weights());
  lstmcore::LstmTape<T> first, second;
  for (int round = 0; round < 2; ++round) {
    const bool swapped = round == 1;
    Outputs<T> out_small(small), out_large(large);
    lstmcore::LstmTape<T>&of_small = swapped ? second : first, &of_large = swapped ? first : second;
    CHECK(!of_small.ready());
    lstm.forward(small.sequence(), out_small.y, out_small.state, of_small);
    lstm.forward(large.sequence(), out_large.y, out_large.state, of_large);
    CHECK(of_small.ready());
    CHECK(of_large.bytes() > of_small.bytes() || swapped);
    lstm.backward(of_small, small.output_gradients(), out_small.inputs);
    lstm.backward(of_large, large.output_gradients(), out_large.inputs);
    CHECK(!of_large.ready());
    CHECK_SAME_BITS(out_small.result.dx, expected_small.dx);
    CHECK_SAME_BITS(out_small.result.dweight_ih[0], expected_small.dweight_ih[0]);
    CHECK_SAME_BITS(out_large.result.dx, expected_large.dx);
    CHECK_SAME_BITS(out_large.result.dweight_ih[0], expected_large.dweight_ih[0]);
  }
}

}  // namespace

TEST("against the reference, float") { check_backward<float>(); }
TEST("against the reference, double") { check_backward<double>(); }
TEST("absent output gradients are zeros") {
  check_absent_output_gradients<float>();
  check_absent_output_gradients<double>();
}
TEST("absent input gradients are not computed") {
  check_absent_input_gradients<float>();
  check_absent_input_gradients<double>();
}
TEST("the tape owns its data") {
  check_tape_owns_its_data<float>();
  check_tape_owns_its_data<double>();
}
TEST("several tapes at the same time, and tapes used again") {
  check_several_tapes<float>();
  check_several_tapes<double>();
}
