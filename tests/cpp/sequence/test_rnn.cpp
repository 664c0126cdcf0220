// The simple RNN against its reference, and the promise of the same bits, also where threads part in the middle.
#include <lstmcore/rnn.hpp>
#include <string>
#include <valarray>
#include <vector>

#include "check.hpp"
#include "lanes.hpp"
#include "random.hpp"
#include "reference/rnn_reference.hpp"
#include "runtime/isa.hpp"
#include "thread_count.hpp"

namespace {

using Index = std::int64_t;
using lstmcore::RnnConfig;

struct Case {
  std::string reason;
  RnnConfig config;
  Index N, steps;
  bool ragged = false, resets = false;
};

RnnConfig config_of(Index C, Index H, Index L = 1, bool both = false, bool backwards = false) {
  RnnConfig config;
  config.input_size = C;
  config.hidden_size = H;
  config.num_layers = L;
  config.bidirectional = both;
  config.go_backwards = backwards;
  return config;
}

RnnConfig relu(RnnConfig config) {
  config.activation = lstmcore::LstmFunction::relu;
  return config;
}

RnnConfig without_bias(RnnConfig config) {
  config.bias = false;
  return config;
}

/// A call with all its data, and memory for its results.
template <class T>
struct Call {
  RnnConfig config;
  Index N, steps;
  Index recompute = 0;
  std::vector<T> x, dy, dh, y, h, dx, dh0;
  std::vector<std::vector<T>> values, gradients;  // weight_ih, weight_hh and bias of every cell
  std::vector<std::int64_t> lengths;
  std::valarray<bool> reset;

  explicit Call(const Case& of) : config(of.config), N(of.N), steps(of.steps) {
    const Index cells = config.num_layers * config.directions(), state = cells * N * config.hidden_size;
    for (const lstmcore::LstmParameter& parameter : lstmcore::rnn_parameters(config)) {
      Index size = 1;
      for (Index extent : parameter.shape) size *= extent;
      const double scale = 1.2 / std::sqrt(static_cast<double>(parameter.shape.back()));
      values.push_back(random_values<T>(size, 7 + values.size(), scale));
      gradients.emplace_back(values.back().size(), std::numeric_limits<T>::quiet_NaN());
    }
    x = random_values<T>(N * steps * config.input_size, 1);
    dy = random_values<T>(N * steps * config.output_size(), 2);
    dh = random_values<T>(state, 3);
    h = random_values<T>(state, 4);
    y.resize(dy.size(), std::numeric_limits<T>::quiet_NaN());
    dx.resize(x.size(), std::numeric_limits<T>::quiet_NaN());
    dh0.resize(h.size(), std::numeric_limits<T>::quiet_NaN());
    for (Index n = 0; of.ragged && n < N; ++n) lengths.push_back((n * 7) % (steps + 1));
    if (!of.resets) return;
    reset.resize(static_cast<std::size_t>(N * steps), false);
    for (Index at = 0; at < N * steps; at += 3) reset[static_cast<std::size_t>(at)] = true;
  }

  lstmcore::LstmSequence<T> sequence() const {
    lstmcore::LstmSequence<T> views;
    views.x = {x.data(), {N, steps, config.input_size}};
    if (!lengths.empty()) views.lengths = {lengths.data(), {N}};
    if (reset.size() > 0) views.reset = {&reset[0], {N, steps}};
    views.recompute = recompute;
    return views;
  }
  template <class Element, class Values>
  std::vector<lstmcore::RnnCellWeights<Element>> cells(Values& of) const {
    std::vector<lstmcore::RnnCellWeights<Element>> views(
        static_cast<std::size_t>(config.num_layers * config.directions()));
    std::size_t index = 0;
    for (const lstmcore::LstmParameter& parameter : lstmcore::rnn_parameters(config)) {
      auto& cell = views[static_cast<std::size_t>(parameter.cell)];
      Element* const data = of[index++].data();
      if (parameter.tensor == lstmcore::LstmTensor::bias) {
        cell.bias = {data, {parameter.shape[0]}};
      } else {
        auto& matrix = parameter.tensor == lstmcore::LstmTensor::weight_ih ? cell.weight_ih : cell.weight_hh;
        matrix = {data, {parameter.shape[0], parameter.shape[1]}};
      }
    }
    return views;
  }
  std::vector<lstmcore::RnnCellWeights<const T>> weights() const { return cells<const T>(values); }
  lstmcore::View<T, 3> output() { return {y.data(), {N, steps, config.output_size()}}; }
  lstmcore::View<T, 3> state(std::vector<T>& of) const {
    return {of.data(), {config.num_layers * config.directions(), N, config.hidden_size}};
  }
  lstmcore::RnnOutputGradients<T> given() {
    return {{dy.data(), {N, steps, config.output_size()}}, {state(dh).data, state(dh).shape}};
  }
  lstmcore::RnnInputGradients<T> wanted() {
    return {{dx.data(), {N, steps, config.input_size}}, state(dh0), cells<T>(gradients)};
  }

  void infer() { lstmcore::Rnn<T>(config, weights()).forward(sequence(), output(), state(h)); }
  void train() {
    const lstmcore::Rnn<T> rnn(config, weights());
    lstmcore::LstmTape<T> tape;
    rnn.forward(sequence(), output(), state(h), tape);
    rnn.backward(tape, given(), wanted());
  }
};

/// Sizes around the engine's vectors, panels and tiles, and every option.
std::vector<Case> cases(Index V) {
  std::vector<Case> all;
  for (Index H : {Index{1}, below_a_vector(V), V, V + 1, 2 * V, 3 * V + 2, 4 * V, 4 * V + 1, 9 * V + 2}) {
    all.push_back({std::to_string(H) + " units", config_of(5, H), 3, 5});
  }
  for (Index N : {1, 2, 5, 7, 13, 25}) {
    all.push_back({std::to_string(N) + " rows", relu(config_of(6, 2 * V + 1)), N, 4});
  }
  all.push_back({"one step", config_of(4, V + 3), 9, 1});
  all.push_back({"long", config_of(3, 9), 5, 200});
  all.push_back({"wide input", config_of(301, 5), 3, 3});
  all.push_back({"without bias", without_bias(config_of(5, V + 3, 2)), 4, 5});
  all.push_back({"ragged", config_of(5, V + 3, 3), 7, 6, true});
  all.push_back({"everything", relu(config_of(5, V + 3, 2, true)), 7, 6, true, true});
  all.push_back({"everything backwards", config_of(5, V + 3, 2, false, true), 7, 6, true, true});
  return all;
}

TEST("a simple RNN and its gradients match the reference in double") {
  for (const Case& shape : cases(lstmcore::active_kernels<double>().lanes)) {
    const check::Context context(shape.reason);
    Call<double> ours(shape), theirs(shape);
    ours.train();
    lstmcore::reference::RnnTape<double> tape;
    lstmcore::reference::rnn<double>(theirs.config, theirs.weights(), theirs.sequence(), theirs.output(),
                                     theirs.state(theirs.h), tape);
    lstmcore::reference::drnn<double>(theirs.config, theirs.weights(), theirs.sequence(), tape, theirs.given(),
                                      theirs.wanted());
    constexpr double tolerance = 1e-12;  // a few hundred roundings, in another order
    CHECK_ARRAYS_CLOSE(ours.y, theirs.y, tolerance);
    CHECK_ARRAYS_CLOSE(ours.h, theirs.h, tolerance);
    CHECK_ARRAYS_CLOSE(ours.dx, theirs.dx, tolerance);
    CHECK_ARRAYS_CLOSE(ours.dh0, theirs.dh0, tolerance);
    for (std::size_t k = 0; k < ours.gradients.size(); ++k) {
      CHECK_ARRAYS_CLOSE(ours.gradients[k], theirs.gradients[k], tolerance);
    }
  }
}

TEST("a simple RNN in float matches the reference in double") {
  for (const Case& shape : cases(lstmcore::active_kernels<float>().lanes)) {
    const check::Context context(shape.reason);
    Call<float> ours(shape);
    Call<double> theirs(shape);
    for (std::size_t k = 0; k < ours.values.size(); ++k) {
      theirs.values[k].assign(ours.values[k].begin(), ours.values[k].end());
    }
    theirs.x.assign(ours.x.begin(), ours.x.end());
    theirs.h.assign(ours.h.begin(), ours.h.end());
    ours.infer();
    lstmcore::reference::RnnTape<double> tape;
    lstmcore::reference::rnn<double>(theirs.config, theirs.weights(), theirs.sequence(), theirs.output(),
                                     theirs.state(theirs.h), tape);
    CHECK_ARRAYS_CLOSE(ours.y, theirs.y, 1e-5);  // roundings of 6e-8, amplified by the recurrence
    CHECK_ARRAYS_CLOSE(ours.h, theirs.h, 1e-5);
  }
}

template <class T>
void require_same(const Call<T>& result, const Call<T>& expected) {
  CHECK_SAME_BITS(result.y, expected.y);
  CHECK_SAME_BITS(result.h, expected.h);
  CHECK_SAME_BITS(result.dx, expected.dx);
  CHECK_SAME_BITS(result.dh0, expected.dh0);
  for (std::size_t k = 0; k < expected.gradients.size(); ++k) {
    CHECK_SAME_BITS(result.gradients[k], expected.gradients[k]);
  }
}

template <class T>
void check_threads() {
  std::vector<Case> all;
  all.push_back({"rows over threads", config_of(20, 75), 41, 12});
  all.push_back({"rows over threads, ragged", config_of(20, 75, 2, true), 41, 12, true, true});
  all.push_back({"units over threads", config_of(100, 300, 2), 3, 9, true});
  all.push_back({"units over threads, both directions", relu(config_of(100, 300, 1, true)), 4, 9, true, true});
  all.push_back({"one row", config_of(256, 400), 1, 12});
  all.push_back({"one step", config_of(256, 400), 1, 1});
  all.push_back({"layers over threads", config_of(30, 64, 3), 1, 150});
  all.push_back({"several ranges of steps", config_of(20, 75), 33, 60, true});
  for (const Case& shape : all) {
    const check::Context context(shape.reason);
    Call<T> expected(shape);
    {
      const ThreadCount one(1);
      expected.train();
    }
    struct Team {
      int threads, part_after;
    };
    constexpr int never = lstmcore::never_part, at_once = lstmcore::part_at_once;
    for (const Team team : {Team{2, never}, {3, never}, {5, never}, {2, at_once}, {2, 0}, {2, 3}, {3, 10}}) {
      const check::Context threads(std::to_string(team.threads) + " threads, part after " +
                                   std::to_string(team.part_after) + " meetings");
      const ThreadCount several(team.threads, team.part_after);
      for (Index recompute : {Index{0}, Index{4}}) {
        Call<T> again(shape);
        again.recompute = recompute;
        again.train();
        require_same(again, expected);
      }
      Call<T> inferred(shape);
      inferred.infer();
      CHECK_SAME_BITS(inferred.y, expected.y);
      CHECK_SAME_BITS(inferred.h, expected.h);
    }
  }
}

TEST("threads change no bit of a simple RNN in float") { check_threads<float>(); }
TEST("threads change no bit of a simple RNN in double") { check_threads<double>(); }

TEST("a simple RNN refuses what it cannot compute") {
  CHECK_THROWS(config_of(0, 3).validate(), "input_size: expected at least 1");
  RnnConfig other = config_of(2, 3);
  other.activation = lstmcore::LstmFunction::sigmoid;
  CHECK_THROWS(other.validate(), "activation: expected \"tanh\" or \"relu\", got \"sigmoid\"");
  Call<float> call({"", config_of(2, 3), 2, 4});
  auto weights = call.weights();
  weights[0].weight_hh = {};
  CHECK_THROWS(lstmcore::Rnn<float>(call.config, weights), "weight_hh_l0: expected");
  const lstmcore::Rnn<float> rnn(call.config, call.weights()), twin(call.config, call.weights());
  lstmcore::LstmTape<float> tape;
  CHECK_THROWS(rnn.backward(tape, call.given(), call.wanted()), "tape: expected one that a training forward filled");
  rnn.forward(call.sequence(), call.output(), call.state(call.h), tape);
  CHECK_THROWS(twin.backward(tape, call.given(), call.wanted()), "tape: expected one of a forward with these weights");
}

}  // namespace
