// The engine's forward against the reference in double, on the same numbers.
#include <string>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "lstm_shapes.hpp"
#include "runtime/isa.hpp"

namespace {

// Relative to the largest entry: about ten roundings per step, which the forget gate lets fade, and in float the error
// of tanh, 4e-7.
constexpr double tolerance(float) { return 1e-6; }
constexpr double tolerance(double) { return 2e-15; }

template <class T>
void check_outputs(const Result<T>& result, const Result<double>& expected, double growth = 1.0) {
  CHECK_ARRAYS_CLOSE(result.y, expected.y, growth * tolerance(T()));
  CHECK_ARRAYS_CLOSE(result.h, expected.h, growth * tolerance(T()));
  CHECK_ARRAYS_CLOSE(result.c, expected.c, growth * tolerance(T()));
}

// Past a row's length y is zero. This is checked without the reference, which might have the same error.
template <class T>
void check_padding(const Problem<T>& p, const Result<T>& result) {
  const Index Y = p.config.output_size();
  bool zero = true;
  for (Index n = 0; n < p.N; ++n) {
    for (Index k = p.length(n) * Y; k < p.steps * Y; ++k) zero = zero && result.y[n * p.steps * Y + k] == 0;
  }
  CHECK(zero);
}

template <class T>
void check_forward() {
  for (const Shape& shape : all_shapes(lstmcore::active_kernels<T>().lanes)) {
    const check::Context context(shape.reason);
    const Problem<T> p = make_problem<T>(shape);
    const Result<T> inferred = infer(p), trained = train(p);
    check_outputs(inferred, reference_infer(converted<double>(p)), growth(p.config));
    check_outputs(trained, reference_train(converted<double>(p)), growth(p.config));
    check_padding(p, inferred);
    check_padding(p, trained);
    if (!has_random_masks(p.config)) CHECK_SAME_BITS(trained.y, inferred.y);
  }
}

// The final state of a row of length 0 is its initial one, to the bit.
template <class T>
void check_length_zero() {
  const Problem<T> p = make_problem<T>({"", lstm_config(4, 9, 2), 3, 4, {2, 0, 4}});
  const Result<T> result = infer(p);
  const auto row = [&p](const std::vector<T>& state, Index layer) {
    const auto start = state.begin() + (layer * p.N + 1) * p.config.hidden_size;
    return std::vector<T>(start, start + p.config.hidden_size);
  };
  for (Index layer = 0; layer < 2; ++layer) {
    CHECK_SAME_BITS(row(result.h, layer), row(p.h0, layer));
    CHECK_SAME_BITS(row(result.c, layer), row(p.c0, layer));
  }
}

// Without rows or steps, y is empty, the state does not change, and the weights' gradients are zero.
template <class T>
void check_empty(Index N, Index steps) {
  const Problem<T> p = make_problem<T>({"", bidirectional(lstm_config(3, 5, 2)), N, steps});
  const Result<T> inferred = infer(p), trained = train(p);
  CHECK_SAME_BITS(inferred.h, p.h0);
  CHECK_SAME_BITS(inferred.c, p.c0);
  CHECK_SAME_BITS(trained.h, p.h0);
  CHECK_SAME_BITS(trained.dh0, p.dh);
  CHECK_SAME_BITS(trained.dc0, p.dc);
  for (Index cell = 0; cell < p.cells(); ++cell) {
    CHECK_SAME_BITS(trained.dweight_ih[cell], std::vector<T>(p.weight_ih[cell].size(), T(0)));
    CHECK_SAME_BITS(trained.dweight_hh[cell], std::vector<T>(p.weight_hh[cell].size(), T(0)));
    CHECK_SAME_BITS(trained.dbias[cell], std::vector<T>(p.bias[cell].size(), T(0)));
  }
}

// y, the state and each half of it may be absent.
template <class T>
void check_absent_outputs() {
  const Problem<T> p = make_problem<T>({"", lstm_config(3, 5, 2), 3, 4, {}, {}, false});
  const Result<T> expected = infer(p);
  const lstmcore::Lstm<T> lstm(p.config, p.weights());
  {
    Outputs<T> out(p);
    lstm.forward(p.sequence(), out.y, {});
    CHECK_SAME_BITS(out.result.y, expected.y);
  }
  {
    Outputs<T> out(p);
    lstm.forward(p.sequence(), {}, out.state);
    CHECK_SAME_BITS(out.result.h, expected.h);
    CHECK_SAME_BITS(out.result.c, expected.c);
  }
  {
    Outputs<T> out(p);
    lstm.forward(p.sequence(), {}, {{}, out.state.c});
    CHECK_SAME_BITS(out.result.c, expected.c);
  }
}

// NaN in x affects only its row, from its step on.
template <class T>
void check_nan() {
  Problem<T> p = make_problem<T>({"", lstm_config(3, 5), 2, 4});
  const Result<T> clean = infer(p);
  p.x[1 * 3] = std::numeric_limits<T>::quiet_NaN();  // row 0, step 1
  const Result<T> result = infer(p);
  for (Index k = 0; k < 2 * 4 * 5; ++k) {
    const bool poisoned = k >= 5 && k < 4 * 5;
    CHECK_EQUAL(std::isnan(result.y[k]), poisoned);
    if (!poisoned) CHECK_EQUAL(result.y[k], clean.y[k]);
  }
}

}  // namespace

TEST("against the reference, float") { check_forward<float>(); }
TEST("against the reference, double") { check_forward<double>(); }
TEST("a row of length 0 keeps its state") {
  check_length_zero<float>();
  check_length_zero<double>();
}
TEST("no rows, no steps") {
  for (const std::vector<Index>& shape : {std::vector<Index>{0, 3}, {3, 0}, {0, 0}}) {
    const check::Context context("N " + std::to_string(shape[0]) + ", T " + std::to_string(shape[1]));
    check_empty<float>(shape[0], shape[1]);
    check_empty<double>(shape[0], shape[1]);
  }
}
TEST("absent outputs") {
  check_absent_outputs<float>();
  check_absent_outputs<double>();
}
TEST("NaN in x") {
  check_nan<float>();
  check_nan<double>();
}
