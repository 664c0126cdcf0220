// Bools of other libraries may be any byte: all but zero are true. (The undefined-behaviour sanitizer fails if the
// engine reads one of them as a bool.)
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "same_bits.hpp"

namespace {

/// The same bools in other bytes.
std::vector<unsigned char> other_bytes(const std::valarray<bool>& flags) {
  const std::vector<unsigned char> truths = {255, 2, 128, 1, 254};
  std::vector<unsigned char> bytes;
  for (std::size_t at = 0; at < flags.size(); ++at) {
    bytes.push_back(flags[at] ? truths[at % truths.size()] : static_cast<unsigned char>(0));
  }
  return bytes;
}

/// A view of bytes as bools.
lstmcore::View<const bool, 2> as_bools(const std::vector<unsigned char>& bytes, Index rows, Index columns) {
  return {reinterpret_cast<const bool*>(bytes.data()), {rows, columns}};
}

}  // namespace

TEST("a mask and resets of any bytes have the results of ones") {
  for (bool masked : {true, false}) {
    Shape shape = {"", lstm_config(5, 9), 3, 6, {}, {{1, 2}, {}, {0, 5}}};
    if (masked) shape.missing = {{1, 3}, {0, 5}, {}};
    const Problem<float> p = make_problem<float>(shape);
    const Result<float> expected = train(p);
    const std::vector<unsigned char> reset = other_bytes(p.reset), mask = other_bytes(p.mask);
    lstmcore::LstmSequence<float> sequence = p.sequence();
    sequence.reset = as_bools(reset, p.N, p.steps);
    if (masked) sequence.mask = as_bools(mask, p.N, p.steps);
    Outputs<float> out(p);
    const lstmcore::Lstm<float> lstm(p.config, p.weights());
    lstmcore::LstmTape<float> tape;
    lstm.forward(sequence, out.y, out.state, tape);
    lstm.backward(tape, p.output_gradients(), out.inputs);
    check_same_outputs(out.result, expected);
    check_same_gradients(out.result, expected);
  }
}

TEST("resets of single steps may be any bytes") {
  const Problem<float> p = make_problem<float>({"", lstm_config(5, 9), 2, 4, {}, {{1}, {0, 3}}, false});
  const lstmcore::Lstm<float> lstm(p.config, p.weights());
  const std::vector<unsigned char> bytes = other_bytes(p.reset);
  const Result<float> whole = infer(p);
  lstmcore::LstmTape<float> tape;
  lstm.begin(p.N, {}, tape);
  for (Index t = 0; t < p.steps; ++t) {
    std::vector<float> y(static_cast<std::size_t>(p.N * 9)), expected;
    const lstmcore::View<const float, 2> x(p.x.data() + t * 5, {p.N, 5}, {p.steps * 5, 1});
    const lstmcore::View<const bool, 1> reset(reinterpret_cast<const bool*>(bytes.data()) + t, {p.N}, {p.steps});
    lstm.step(x, {y.data(), {p.N, 9}}, reset, tape);
    for (Index n = 0; n < p.N; ++n) {
      const auto row = whole.y.begin() + (n * p.steps + t) * 9;
      expected.insert(expected.end(), row, row + 9);
    }
    CHECK_SAME_BITS(y, expected);
  }
}
