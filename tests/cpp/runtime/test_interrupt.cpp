// Long calls ask whether to go on: those that go on have the same bits, and those that do not end all their threads.
#include <array>
#include <functional>
#include <list>
#include <lstmcore/cell.hpp>
#include <lstmcore/interrupt.hpp>
#include <lstmcore/ops.hpp>
#include <lstmcore/rnn.hpp>
#include <new>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "lstm_tangent.hpp"
#include "ops/elements.hpp"
#include "ops_kit.hpp"
#include "precision_settings.hpp"
#include "runtime/interrupt.hpp"
#include "runtime/policy.hpp"
#include "same_bits.hpp"

namespace {

using lstmcore::Interruptible;
using lstmcore::View;

/// Makes calls ask at every step until the end of the scope.
struct AtEveryStep {
  AtEveryStep() { lstmcore::ask_every(0); }
  ~AtEveryStep() { lstmcore::ask_every(lstmcore::policy::asking_nanoseconds); }
  AtEveryStep(const AtEveryStep&) = delete;
  AtEveryStep& operator=(const AtEveryStep&) = delete;
};

/// Counts questions, and answers one of them with an error.
struct Caller {
  int questions = 0;
  int stop_at = 0;  ///< 0: never
  std::function<void()> meanwhile;

  static void ask(void* context) {
    Caller& caller = *static_cast<Caller*>(context);
    if (caller.meanwhile) caller.meanwhile();
    if (++caller.questions == caller.stop_at) throw std::runtime_error("the caller has had enough");
  }
};

/// Work divided in every way.
std::vector<Shape> shapes() {
  std::vector<std::int64_t> lengths;
  for (Index n = 0; n < 33; ++n) lengths.push_back(n % 5 == 0 ? 0 : n < 6 ? 60 : n);
  lstmcore::LstmConfig normed = lstm_config(20, 40);
  normed.layer_norm = true;
  lstmcore::LstmConfig projected = lstm_config(100, 300);
  projected.proj_size = 70;
  return {
      {"rows over threads", lstm_config(20, 40, 2), 37, 45},
      {"rows over threads, ragged", lstm_config(20, 40), 33, 60, lengths},
      {"units over threads, which meet at every step", lstm_config(100, 300), 3, 25},
      {"the same with a projection", projected, 3, 25},
      {"layer norms", normed, 3, 60},
      {"layers over threads", lstm_config(30, 32, 3), 1, 150},
      {"both directions", bidirectional(lstm_config(30, 32)), 11, 100},
      {"one thread", lstm_config(3, 5), 2, 200},
  };
}

/// Trains with questions; returns how many there were.
int questions_of(const Problem<float>& p, Result<float>& result, Caller& caller) {
  const Interruptible call(&Caller::ask, &caller);
  result = train(p);
  return caller.questions;
}

/// Operations around an LSTM, with enough work to ask several times. Each writes arrays of its own; some read what one
/// before them has written.
class Operations {
 public:
  struct Operation {
    const char* name;
    std::function<void()> run;
  };

  Operations() {
    add_dense(500, 100, 300);
    add_dense(2, 300, 3000);  // threads share the columns
    for (const std::int64_t stride : {1, 3}) add_convolution(stride);
    add_pooling();
    add_norms();
    add_losses();
    add_embedding();
    add_attention(1, 150, 64, {});
    add_attention(30, 40, 16, {});
    add_attention(2, 40, 64, input<1>({64}));
    add_ctc(1, 100);
    add_ctc(20, 20);
    add_cell();
    for (const Operation& operation : all_) operation.run();
  }

  const std::vector<Operation>& all() const { return all_; }
  using Results = std::pair<std::list<std::vector<float>>, std::list<std::vector<std::int64_t>>>;
  Results results() const { return {results_, places_}; }
  bool has(const Results& expected) const { return results_ == expected.first && places_ == expected.second; }

 private:
  static constexpr std::int64_t rows = 80, steps = 250, width = 64;

  void add(const char* name, std::function<void()> run) { all_.push_back({name, std::move(run)}); }

  template <int Rank>
  View<const float, Rank> input(const std::array<std::int64_t, Rank>& shape) {
    const std::int64_t size = View<float, Rank>(nullptr, shape).size();
    inputs_.push_back(random_values<float>(size, inputs_.size(), 0.5));
    return {inputs_.back().data(), shape};
  }
  template <int Rank>
  View<float, Rank> array(const std::array<std::int64_t, Rank>& shape) {
    const std::int64_t size = View<float, Rank>(nullptr, shape).size();
    results_.emplace_back(static_cast<std::size_t>(size));
    return {results_.back().data(), shape};
  }
  template <int Rank>
  View<std::int64_t, Rank> positions(const std::array<std::int64_t, Rank>& shape) {
    const std::int64_t size = View<float, Rank>(nullptr, shape).size();
    places_.emplace_back(static_cast<std::size_t>(size));
    return {places_.back().data(), shape};
  }
  /// Numbers from `least` on, and below `end`.
  View<const std::int64_t, 1> numbers(std::int64_t count, std::int64_t least, std::int64_t end) {
    std::vector<std::int64_t>& values = numbers_.emplace_back(static_cast<std::size_t>(count));
    for (std::int64_t n = 0; n < count; ++n) values[static_cast<std::size_t>(n)] = least + n * 7 % (end - least);
    return {values.data(), {count}};
  }
  View<const std::int64_t, 1> lengths(std::int64_t count) { return numbers(count, steps - 20, steps + 1); }

  void add_dense(std::int64_t count, std::int64_t features, std::int64_t units) {
    const auto x = input<2>({count, features}), kernel = input<2>({features, units}), dy = input<2>({count, units});
    const auto bias = input<1>({units});
    const auto y = array<2>({count, units}), dx = array<2>({count, features}), dkernel = array<2>({features, units});
    const auto dbias = array<1>({units});
    constexpr auto tanh = lstmcore::Activation::tanh;
    add("dense_forward", [=] { lstmcore::dense_forward<float>(x, kernel, bias, tanh, y); });
    add("dense_backward", [=] { lstmcore::dense_backward<float>(x, kernel, y, dy, tanh, dx, dkernel, dbias); });
  }

  void add_convolution(std::int64_t stride) {
    const lstmcore::Windows windows{5, stride, 1, lstmcore::Padding::same};
    const std::int64_t outputs = windows.count(steps), filters = 48, batch = 12;
    const auto x = input<3>({batch, steps, width}), kernel = input<3>({5, width, filters});
    const auto dy = input<3>({batch, outputs, filters});
    const auto bias = input<1>({filters});
    const auto y = array<3>({batch, outputs, filters}), dx = array<3>({batch, steps, width});
    const auto dkernel = array<3>({5, width, filters}), alone = array<3>({batch, (steps - 5) / stride + 1, filters});
    const auto dbias = array<1>({filters});
    const auto valid = lengths(batch);
    constexpr auto relu = lstmcore::Activation::relu;
    const lstmcore::PackedConvolution<float> packed(kernel, bias, stride, 1, relu);
    add("conv1d_forward", [=] { lstmcore::conv1d_forward<float>(x, valid, kernel, bias, windows, relu, y); });
    add("conv1d_backward",
        [=] { lstmcore::conv1d_backward<float>(x, valid, kernel, y, dy, windows, relu, dx, dkernel, dbias); });
    add("PackedConvolution::forward", [=] { packed.forward(x, 0, 0, alone); });
  }

  void add_pooling() {
    const lstmcore::Windows windows{20, 1, 1, lstmcore::Padding::same};
    const auto x = input<3>({rows, steps, width}), dy = input<3>({rows, steps, width});
    const auto drow = input<2>({rows, width});
    const auto y = array<3>({rows, steps, width}), dx = array<3>({rows, steps, width});
    const auto largest = array<2>({rows, width}), mean = array<2>({rows, width});
    const auto dlargest = array<3>({rows, steps, width}), dmean = array<3>({rows, steps, width});
    const auto argmax = positions<3>({rows, steps, width});
    const auto largest_at = positions<2>({rows, width});
    const auto valid = lengths(rows);
    add("max_pool1d_forward", [=] { lstmcore::max_pool1d_forward<float>(x, valid, windows, y, argmax); });
    add("max_pool1d_backward", [=] { lstmcore::max_pool1d_backward<float>(argmax, dy, dx); });
    add("max_over_time_forward", [=] { lstmcore::max_over_time_forward<float>(x, valid, largest, largest_at); });
    add("max_over_time_backward", [=] { lstmcore::max_over_time_backward<float>(largest_at, drow, dlargest); });
    add("mean_over_time_forward", [=] { lstmcore::mean_over_time_forward<float>(x, valid, mean); });
    add("mean_over_time_backward", [=] { lstmcore::mean_over_time_backward<float>(valid, drow, dmean); });
  }

  void add_norms() {
    const auto x = input<3>({rows, steps, width}), dy = input<3>({rows, steps, width});
    const auto gain = input<1>({width}), flat_x = input<1>({rows * steps * width});
    const auto y = array<3>({rows, steps, width}), dx = array<3>({rows, steps, width});
    const auto moments = array<3>({rows, steps, 2});
    const auto dgain = array<1>({width}), dshift = array<1>({width}), dropped = array<1>({rows * steps * width});
    const auto norm = array<1>({1});
    const auto valid = lengths(rows);
    add("layer_norm_forward", [=] { lstmcore::layer_norm_forward<float>(x, valid, gain, gain, 1e-3, y, moments); });
    add("layer_norm_backward",
        [=] { lstmcore::layer_norm_backward<float>(x, valid, gain, moments, dy, dx, dgain, dshift); });
    add("dropout", [=] { lstmcore::dropout<float>(flat_x, 0.5, 3, dropped); });
    add("squared_norm", [=] { norm.data[0] = static_cast<float>(lstmcore::squared_norm<float>(flat_x)); });
  }

  void add_losses() {
    const auto x = input<2>({rows * steps, width}), targets = input<2>({rows * steps, width});
    const auto dlogits = array<2>({rows * steps, width}), derror = array<2>({rows * steps, width});
    const auto losses = array<1>({2});
    const auto labels = numbers(rows * steps, 0, width);
    add("softmax_cross_entropy", [=] {
      losses.data[0] = static_cast<float>(lstmcore::softmax_cross_entropy<float>(x, labels, {}, 1.0, dlogits));
    });
    add("mean_squared_error",
        [=] { losses.data[1] = static_cast<float>(lstmcore::mean_squared_error<float>(x, targets, {}, 1.0, derror)); });
  }

  void add_embedding() {
    const auto table = input<2>({100, width}), dy = input<2>({rows * steps, width});
    const auto y = array<2>({rows * steps, width}), dtable = array<2>({100, width});
    const auto ids = numbers(rows * steps, 0, 100);
    add("embedding_forward", [=] { lstmcore::embedding_forward<float>(table, ids, y); });
    add("embedding_backward", [=] { lstmcore::embedding_backward<float>(ids, dy, dtable); });
  }

  void add_attention(std::int64_t count, std::int64_t time, std::int64_t units, View<const float, 1> v) {
    const std::array<std::int64_t, 3> shape{count, time, units};
    const auto x = input<3>(shape);
    const auto weights = array<3>({count, time, time}), context = array<3>(shape);
    const auto dkeys = array<3>(shape), dqueries = array<3>(shape), dvalues = array<3>(shape);
    const auto dv = v ? array<1>({units}) : View<float, 1>();
    add("attention_forward", [=] { lstmcore::attention_forward<float>(x, x, x, v, 0.25, {}, {}, weights, context); });
    add("attention_backward", [=] {
      lstmcore::attention_backward<float>(x, x, x, v, 0.25, {}, {}, weights, x, dkeys, dqueries, dvalues, dv);
    });
  }

  void add_ctc(std::int64_t count, std::int64_t time) {
    const auto logits = input<3>({count, time, 8});
    const auto dlogits = array<3>({count, time, 8});
    const auto loss = array<1>({1});
    const auto labels = numbers(count * 5, 1, 8), label_counts = numbers(count, 5, 6);
    add("ctc", [=] {
      const View<const std::int64_t, 2> targets(labels.data, {count, 5});
      loss.data[0] =
          static_cast<float>(lstmcore::ctc<float>(logits, {}, targets, label_counts, 0, {}, false, 1.0, dlogits));
    });
  }

  void add_cell() {
    lstmcore::LstmConfig config;
    config.input_size = 32;
    config.hidden_size = 48;
    const auto weight_ih = input<2>({192, 32}), weight_hh = input<2>({192, 48});
    const auto bias = input<1>({192});
    lstmcore::LstmCellWeights<const float> weights;
    weights.weight_ih = weight_ih;
    weights.weight_hh = weight_hh;
    weights.bias = bias;
    const lstmcore::LstmCell<float> cell(lstmcore::Lstm<float>(config, {weights}));
    std::vector<lstmcore::LstmCellStep<float>> of_steps;
    for (std::int64_t step = 0; step < steps; ++step) {
      of_steps.push_back(
          {20, input<2>({20, 32}).data, input<2>({20, 48}).data, input<2>({20, cell.gradient_width()}).data});
    }
    lstmcore::LstmCellWeights<float> gradients;
    gradients.weight_ih = array<2>({192, 32});
    gradients.weight_hh = array<2>({192, 48});
    gradients.bias = array<1>({192});
    add("LstmCell::weight_gradients", [=] { cell.weight_gradients(of_steps, gradients); });
  }

  std::vector<Operation> all_;
  std::list<std::vector<float>> inputs_, results_;
  std::list<std::vector<std::int64_t>> places_, numbers_;
};

}  // namespace

TEST("calls that ask have the same bits") {
  const AtEveryStep asking;
  for (const Shape& shape : shapes()) {
    const check::Context context(shape.reason);
    const Problem<float> p = make_problem<float>(shape);
    const ThreadCount one(1);
    const Result<float> expected = train(p);
    for (int threads : {1, 2, 4}) {
      const ThreadCount team(threads);
      Caller caller;
      Result<float> result;
      CHECK(questions_of(p, result, caller) > 10);
      check_same_outputs(result, expected);
      check_same_gradients(result, expected);
    }
  }
}

TEST("a call ends with the caller's error wherever it asks, and the next one is whole") {
  const AtEveryStep asking;
  for (const Shape& shape : shapes()) {
    const check::Context context(shape.reason);
    const Problem<float> p = make_problem<float>(shape);
    for (int threads : {1, 2, 4}) {
      const ThreadCount team(threads);
      const Result<float> expected = train(p);
      Caller whole;
      Result<float> result;
      const int count = questions_of(p, result, whole);
      // A thread that is late loses its tasks to the caller's, so that counts differ by up to the number of threads.
      for (int stop_at : {1, 2, 1 + count / 16, 1 + count / 9, threads == 1 ? count : 1}) {
        Caller caller;
        caller.stop_at = stop_at;
        CHECK_THROWS(questions_of(p, result, caller), "the caller has had enough");
        CHECK_EQUAL(caller.questions, stop_at);  // nothing asks once the call has been stopped
      }
      check_same_gradients(train(p), expected);
    }
  }
}

TEST("weights, state and tape after a call that was stopped") {
  const AtEveryStep asking;
  const Problem<float> p = make_problem<float>(shapes().front());
  const Result<float> expected = train(p);
  const lstmcore::Lstm<float> lstm(p.config, p.weights());
  lstmcore::LstmTape<float> tape;
  {
    Outputs<float> out(p);
    Caller caller;
    caller.stop_at = 3;
    const Interruptible call(&Caller::ask, &caller);
    CHECK_THROWS(lstm.forward(p.sequence(), out.y, out.state, tape), "enough");
    CHECK(!tape.ready());
    lstm.forward(p.sequence(), out.y, out.state, tape);  // in the same scope, whose other questions let it go on
    CHECK(tape.ready());
    caller.stop_at = caller.questions + 2;
    CHECK_THROWS(lstm.backward(tape, p.output_gradients(), out.inputs), "enough");
    CHECK(!tape.ready());
  }
  Outputs<float> out(p);
  lstm.forward(p.sequence(), out.y, out.state, tape);
  lstm.backward(tape, p.output_gradients(), out.inputs);
  check_same_outputs(out.result, expected);
  check_same_gradients(out.result, expected);
}

TEST("a simple RNN and tangents ask") {
  const AtEveryStep asking;
  for (int threads : {1, 3}) {
    const ThreadCount team(threads);
    lstmcore::RnnConfig config;
    config.input_size = 5;
    config.hidden_size = 40;
    const std::vector<float> values(40 * 40, 0.01f), x(20 * 300 * 5, 0.5f);
    const lstmcore::Rnn<float> rnn(config,
                                   {{{values.data(), {40, 5}}, {values.data(), {40, 40}}, {values.data(), {40}}}});
    std::vector<float> y(20 * 300 * 40), dx(x.size());
    const lstmcore::LstmSequence<float> sequence(lstmcore::View<const float, 3>(x.data(), {20, 300, 5}));
    const lstmcore::View<float, 3> output(y.data(), {20, 300, 40});
    Caller caller;
    const Interruptible call(&Caller::ask, &caller);
    lstmcore::LstmTape<float> tape;
    rnn.forward(sequence, output, {}, tape);
    const int forward = caller.questions;
    CHECK(forward > 10);
    rnn.backward(tape, {output, {}}, {{dx.data(), {20, 300, 5}}, {}, {}});
    CHECK(caller.questions > forward + 10);
    caller.stop_at = caller.questions + 5;
    CHECK_THROWS(rnn.forward(sequence, output, {}, tape), "enough");

    const Shape shape = {"", lstm_config(20, 40), 5, 30};
    const Problem<float> p = make_problem<float>(shape), along = make_direction<float>(shape);
    caller.questions = caller.stop_at = 0;
    differentiate(p, along);
    const int all = caller.questions;
    CHECK(all > 30);
    for (int stop_at = 1; stop_at < all; stop_at += all / 9) {
      caller.questions = 0;
      caller.stop_at = stop_at;
      CHECK_THROWS(differentiate(p, along), "enough");
    }
  }
}

TEST("what the caller computes before it answers changes nothing, not even on a matrix unit") {
  const AtEveryStep asking;
  const Shape shape = {"", lstm_config(24, 64), 20, 12};
  for (bool emulated : {true, false}) {
    if (emulated && !can_emulate()) continue;
    const Emulation emulation(emulated);
    Problem<float> p = make_problem<float>(shape);
    p.precision = lstmcore::Precision::bf16;
    for (int threads : {1, 2}) {
      const ThreadCount team(threads);
      const Result<float> expected = train(p);
      Caller caller;
      int inner = 0;
      caller.meanwhile = [&] {
        CHECK(lstmcore::InterruptWatch::of_thread() == nullptr);
        if (inner++ % 5 == 0) check_same_gradients(train(p), expected);
      };
      Result<float> result;
      CHECK(questions_of(p, result, caller) > 5);
      check_same_outputs(result, expected);
      check_same_gradients(result, expected);
    }
  }
}

TEST("questions are asked in the caller's floating-point mode") {
  const AtEveryStep asking;
  const Problem<float> p = make_problem<float>(shapes().back());
  volatile float small = 1e-38f;
  Caller caller;
  caller.meanwhile = [&] { CHECK(small * 0.01f > 0); };  // which is zero in the engine's mode
  Result<float> result;
  CHECK(questions_of(p, result, caller) > 10);
}

TEST("single steps never ask, nor do calls of other threads") {
  const AtEveryStep asking;
  const Problem<float> p = make_problem<float>({"", lstm_config(3, 5), 2, 200});
  const lstmcore::Lstm<float> lstm(p.config, p.weights());
  Caller caller;
  caller.stop_at = 1;
  const Interruptible call(&Caller::ask, &caller);
  lstmcore::LstmTape<float> tape;
  lstm.begin(2, {}, tape);
  for (int step = 0; step < 30; ++step) lstm.step({p.x.data(), {2, 3}}, {}, {}, tape);
  lstmcore::LstmStream<float> stream(lstm, 2);
  std::vector<float> h(10);
  for (int step = 0; step < 30; ++step) stream.step(p.x.data(), h.data());
  std::thread([&] { infer(p); }).join();
  CHECK_EQUAL(caller.questions, 0);
  CHECK_THROWS(infer(p), "enough");
}

TEST("scopes nest, and the inner one counts") {
  const AtEveryStep asking;
  const Problem<float> p = make_problem<float>({"", lstm_config(3, 5), 2, 200});
  Caller outer, inner;
  const Interruptible call(&Caller::ask, &outer);
  {
    const Interruptible within(&Caller::ask, &inner);
    infer(p);
  }
  CHECK(inner.questions > 0);
  CHECK_EQUAL(outer.questions, 0);
  infer(p);
  CHECK(outer.questions > 0);
}

TEST("operations ask between two pieces of their work, and have the same bits") {
  const AtEveryStep asking;
  const Operations operations;
  const auto expected = operations.results();
  for (const int threads : {1, 3}) {
    const ThreadCount team(threads);
    for (const Operations::Operation& operation : operations.all()) {
      const check::Context context(operation.name);
      Caller caller;
      const Interruptible call(&Caller::ask, &caller);
      operation.run();
      CHECK(operations.has(expected));
      if (threads == 1) CHECK(caller.questions > 1);
      // Where other threads are quicker, the caller's may have no second piece, before which it would ask.
      bool ended = false;
      for (int tries = 0; tries < 1000 && !ended; ++tries) {
        caller.stop_at = caller.questions + 1;
        try {
          operation.run();
        } catch (const std::runtime_error&) {
          ended = true;
        }
      }
      CHECK(ended);
      CHECK_EQUAL(caller.questions, caller.stop_at);  // nothing asks once the call has been stopped
      operation.run();
      CHECK(operations.has(expected));
    }
  }
}

TEST("an operation ends wherever it asks") {
  const AtEveryStep asking;
  const ThreadCount one(1);
  const Operations operations;
  for (const Operations::Operation& operation : operations.all()) {
    const check::Context context(operation.name);
    Caller caller;
    const Interruptible call(&Caller::ask, &caller);
    operation.run();
    const int count = caller.questions;
    for (int stop_at = 1; stop_at < count; stop_at += 1 + count / 5) {
      caller.questions = 0;
      caller.stop_at = stop_at;
      CHECK_THROWS(operation.run(), "the caller has had enough");
      CHECK_EQUAL(caller.questions, stop_at);
    }
    caller.stop_at = 0;
    operation.run();  // the next operation may read what this one writes
  }
}

TEST("where a thread fails in a call that was stopped, the stop ends that call and no other") {
  const AtEveryStep asking;
  Caller caller;
  caller.stop_at = 1;
  const Interruptible call(&Caller::ask, &caller);
  const auto fail = [](int thread, const lstmcore::InterruptWatch& watch) {
    while (thread == 0 && !watch.stopped()) continue;
    throw std::bad_alloc();
  };
  bool ended = false;
  try {
    lstmcore::ops::parallel_watched(2, fail);
  } catch (const std::runtime_error&) {  // the caller's, not that of the threads
    ended = true;
  }
  CHECK(ended);
  bool whole = false;
  lstmcore::ops::parallel_watched(1, [&](int, const lstmcore::InterruptWatch& watch) { whole = !watch.stopped(); });
  CHECK(whole);
}

TEST("what changes weights in place is whole") {
  const AtEveryStep asking;
  std::vector<float> weights = random_values<float>(1 << 20, 1), m(weights.size()), v(weights.size());
  const std::vector<float> gradients = random_values<float>(1 << 20, 2);
  Caller caller;
  caller.stop_at = 1;
  const Interruptible call(&Caller::ask, &caller);
  for (const int threads : {1, 2}) {
    const ThreadCount team(threads);
    lstmcore::sgd_step<float>(flat(weights), flat(gradients), flat(m), 0.1, 0.9, false);
    lstmcore::rmsprop_step<float>(flat(weights), flat(gradients), flat(v), 0.1, 0.9, 1e-7);
    lstmcore::adam_step<float>(flat(weights), flat(gradients), flat(m), flat(v), 1, 0.1, 0.9, 0.99, 1e-7, 0.01);
    lstmcore::scale<float>(flat(weights), 0.5);
    lstmcore::clip<float>(flat(weights), 0.1);
  }
  CHECK_EQUAL(caller.questions, 0);
}

TEST("short calls never ask") {
  const Problem<float> p = make_problem<float>({"", lstm_config(3, 5), 2, 30});
  Caller caller;
  const Interruptible call(&Caller::ask, &caller);
  infer(p);
  CHECK_EQUAL(caller.questions, 0);
}
