// Bad arguments: the error names the argument and its value, and nothing is written.
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"

using lstmcore::Lstm;
using lstmcore::LstmConfig;
using lstmcore::LstmSequence;
using lstmcore::LstmTape;

namespace {

constexpr Index N = 3, S = 4, C = 5, H = 6, L = 2;

template <class T>
struct Call {
  Problem<T> p = make_problem<T>({"", lstm_config(C, H, L), N, S, {4, 0, 2}, {{1}, {}, {0}}});
  Lstm<T> lstm{p.config, p.weights()};
  LstmSequence<T> sequence = p.sequence();
  Outputs<T> out{p};
  Outputs<T> untouched{p};

  // Checks that both kinds of forward throw an error with this text and write nothing.
  void refused(const char* text) {
    CHECK_THROWS(lstm.forward(sequence, out.y, out.state), text);
    LstmTape<T> tape;
    CHECK_THROWS(lstm.forward(sequence, out.y, out.state, tape), text);
    CHECK(!tape.ready());
    CHECK_SAME_BITS(out.result.y, untouched.result.y);
    CHECK_SAME_BITS(out.result.h, untouched.result.h);
    CHECK_SAME_BITS(out.result.c, untouched.result.c);
  }
};

template <class T>
void check_forward_refusals() {
  {
    Call<T> call;
    call.sequence.x.shape[2] = 4;
    call.refused("(3, 4, 4)");
    call.refused("x: ");
  }
  {
    Call<T> call;
    call.sequence.x.data = nullptr;
    call.refused("x: ");
  }
  {
    Call<T> call;
    call.sequence.x.shape[0] = -1;
    call.refused("x: ");
  }
  {
    Call<T> call;
    call.sequence.x.shape = {std::int64_t{1} << 40, std::int64_t{1} << 40, C};
    call.refused("x: ");
  }
  for (const std::int64_t length : {std::int64_t{-1}, std::int64_t{5}, std::numeric_limits<std::int64_t>::min(),
                                    std::numeric_limits<std::int64_t>::max()}) {
    Call<T> call;
    call.p.lengths[1] = length;
    call.refused("lengths: ");
    call.refused(("got " + std::to_string(length)).c_str());
  }
  {
    Call<T> call;
    call.sequence.lengths.shape[0] = 2;
    call.refused("lengths: ");
  }
  {
    Call<T> call;
    call.sequence.reset.shape = {S, N};
    call.refused("reset: ");
  }
  for (int axis = 0; axis < 3; ++axis) {
    const check::Context context("axis " + std::to_string(axis));
    Call<T> wrong_y, wrong_h, wrong_c;
    wrong_y.out.y.shape[axis] += 1;
    wrong_y.refused("y: ");
    wrong_h.out.state.h.shape[axis] += 1;
    wrong_h.refused("h: ");
    wrong_c.out.state.c.shape[axis] -= 1;
    wrong_c.refused("c: ");
  }
  {
    Call<T> call;
    call.out.y.stride[2] = 2;
    call.refused("y: ");
  }
}

template <class T>
void check_weight_refusals() {
  const Problem<T> p = make_problem<T>({"", bidirectional(lstm_config(C, H, L)), 1, 1});
  const auto refused = [&p](auto&& spoil, const char* text) {
    lstmcore::LstmWeights<T> weights = p.weights();
    spoil(weights);
    CHECK_THROWS(Lstm<T>(p.config, weights), text);
  };
  using Weights = lstmcore::LstmWeights<T>;
  refused([](Weights& w) { w.pop_back(); }, "weights");
  refused([](Weights& w) { w.push_back(w[0]); }, "got 5");
  refused([](Weights& w) { w.clear(); }, "weights");
  refused([](Weights& w) { w[0].weight_ih.shape[1] = C + 1; }, "weight_ih_l0");
  refused([](Weights& w) { w[1].weight_hh.shape = {H, 4 * H}; }, "weight_hh_l0_reverse");
  refused([](Weights& w) { w[2].weight_ih.shape[1] = H; }, "weight_ih_l1: expected shape (24, 12), got (24, 6)");
  refused([](Weights& w) { w[3].bias.shape[0] = 3 * H; }, "bias_l1_reverse");
  refused([](Weights& w) { w[3].bias = {}; }, "bias_l1_reverse");
  refused([](Weights& w) { w[3].peephole = {w[3].bias.data, {3 * H}}; }, "peephole: expected none");
  refused([](Weights& w) { w[3].weight_hr = {w[3].bias.data, {1, H}}; }, "weight_hr: expected none");
  refused([](Weights& w) { w[0].weight_hh.data = nullptr; }, "weight_hh_l0");
}

template <class T>
void check_backward_refusals() {
  const auto refused = [](auto&& spoil, const char* text) {
    Call<T> call;
    LstmTape<T> tape;
    call.lstm.forward(call.sequence, call.out.y, call.out.state, tape);
    auto outputs = call.p.output_gradients();
    spoil(outputs, call.out.inputs);
    CHECK_THROWS(call.lstm.backward(tape, outputs, call.out.inputs), text);
    CHECK_SAME_BITS(call.out.result.dx, call.untouched.result.dx);
    CHECK_SAME_BITS(call.out.result.dh0, call.untouched.result.dh0);
    CHECK_SAME_BITS(call.out.result.dweight_ih[0], call.untouched.result.dweight_ih[0]);
    // A refused call does not use up the tape.
    CHECK(tape.ready());
    Outputs<T> good(call.p);
    call.lstm.backward(tape, call.p.output_gradients(), good.inputs);
    CHECK_SAME_BITS(good.result.dx, train(call.p).dx);
  };
  using Outer = lstmcore::LstmOutputGradients<T>;
  using Inner = lstmcore::LstmInputGradients<T>;
  refused([](Outer& o, Inner&) { o.y.shape[2] = H + 1; }, "dy: expected shape (3, 4, 6), got (3, 4, 7)");
  refused([](Outer& o, Inner&) { o.h.shape[0] = 1; }, "dh: ");
  refused([](Outer& o, Inner&) { o.c.shape[1] = N + 1; }, "dc: ");
  refused([](Outer&, Inner& i) { i.x.shape[1] = S + 1; }, "dx: ");
  refused([](Outer&, Inner& i) { i.h.shape[2] = H + 1; }, "dh0: ");
  refused([](Outer&, Inner& i) { i.c.shape[2] = H + 1; }, "dc0: ");
  refused([](Outer&, Inner& i) { i.weights.pop_back(); }, "weight");
  refused([](Outer&, Inner& i) { i.weights[1].weight_ih.shape[1] = C; }, "weight_ih_l1");
  refused([](Outer&, Inner& i) { i.weights[1].weight_hh.shape[0] = H; }, "weight_hh_l1");
  refused([](Outer&, Inner& i) { i.weights[0].bias.shape[0] = 1; }, "bias_l0");
}

template <class T>
void check_tape_refusals() {
  Call<T> call;
  LstmTape<T> tape;
  const auto backward = [&call](const Lstm<T>& lstm, LstmTape<T>& of) {
    lstm.backward(of, call.p.output_gradients(), call.out.inputs);
  };
  CHECK_THROWS(backward(call.lstm, tape), "tape: ");
  call.lstm.forward(call.sequence, call.out.y, call.out.state, tape);

  const Lstm<T> other(call.p.config, call.p.weights());  // equal weights, but not the same Lstm
  CHECK_THROWS(backward(other, tape), "tape: ");
  CHECK(tape.ready());

  LstmTape<T> moved = std::move(tape);
  CHECK(moved.ready() && !tape.ready());
  CHECK_EQUAL(tape.bytes(), 0u);
  CHECK_THROWS(backward(call.lstm, tape), "tape: ");

  const Lstm<T> copy = call.lstm;  // shares the weights
  backward(copy, moved);
  CHECK(!moved.ready());
  CHECK_THROWS(backward(call.lstm, moved), "tape: ");

  // A tape that was moved from can be filled again.
  call.lstm.forward(call.sequence, call.out.y, call.out.state, tape);
  backward(call.lstm, tape);
}

}  // namespace

TEST("configurations") {
  const auto refused = [](auto&& spoil, const char* text) {
    LstmConfig config = lstm_config(C, H, L);
    config.validate();
    spoil(config);
    CHECK_THROWS(config.validate(), text);
    CHECK_THROWS(Lstm<float>(config, {}), text);
    CHECK_THROWS(lstmcore::lstm_parameters(config), text);
  };
  constexpr Index huge = std::numeric_limits<Index>::max();
  refused([](LstmConfig& c) { c.input_size = 0; }, "input_size: ");
  refused([](LstmConfig& c) { c.input_size = -7; }, "got -7");
  refused([](LstmConfig& c) { c.hidden_size = 0; }, "hidden_size: ");
  refused([](LstmConfig& c) { c.num_layers = 0; }, "num_layers: ");
  refused([](LstmConfig& c) { c.dropout = 1; }, "dropout: ");
  refused([](LstmConfig& c) { c.dropout = -0.1; }, "dropout: ");
  refused([](LstmConfig& c) { c.dropout = std::numeric_limits<double>::quiet_NaN(); }, "dropout: ");
  refused([](LstmConfig& c) { c.bidirectional = c.go_backwards = true; }, "go_backwards");
  refused([](LstmConfig& c) { c.hidden_size = huge; }, "hidden_size");
  refused([](LstmConfig& c) { c.input_size = huge; }, "input_size");
  refused([](LstmConfig& c) { c.num_layers = huge; }, "num_layers");
  refused([](LstmConfig& c) { c.input_size = c.hidden_size = Index{1} << 32; }, "size");
}

TEST("the names and shapes of weights") {
  const std::vector<lstmcore::LstmParameter> parameters =
      lstmcore::lstm_parameters(bidirectional(lstm_config(C, H, L)));
  std::vector<std::string> names;
  for (const lstmcore::LstmParameter& parameter : parameters) names.push_back(parameter.name);
  CHECK(names == std::vector<std::string>{"weight_ih_l0", "weight_hh_l0", "bias_l0", "weight_ih_l0_reverse",
                                          "weight_hh_l0_reverse", "bias_l0_reverse", "weight_ih_l1", "weight_hh_l1",
                                          "bias_l1", "weight_ih_l1_reverse", "weight_hh_l1_reverse",
                                          "bias_l1_reverse"});
  CHECK(parameters[6].shape == std::vector<std::int64_t>{4 * H, 2 * H});
  CHECK_EQUAL(parameters[9].cell, 3);
}

TEST("forward") {
  check_forward_refusals<float>();
  check_forward_refusals<double>();
}
TEST("weights") {
  check_weight_refusals<float>();
  check_weight_refusals<double>();
}
TEST("backward") {
  check_backward_refusals<float>();
  check_backward_refusals<double>();
}
TEST("tapes") {
  check_tape_refusals<float>();
  check_tape_refusals<double>();
}
