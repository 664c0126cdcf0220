// Long calls ask whether to go on: those that go on have the same bits, and those that do not end all their threads.
#include <functional>
#include <lstmcore/interrupt.hpp>
#include <lstmcore/ops.hpp>
#include <lstmcore/rnn.hpp>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "lstm_tangent.hpp"
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

TEST("attention and CTC ask between two rows, and have the same bits") {
  const AtEveryStep asking;
  constexpr std::int64_t rows = 40, steps = 30, units = 16;
  const std::vector<float> values = random_values<float>(rows * steps * units, 1, 0.5);
  const View<const float, 3> x(values.data(), {rows, steps, units});
  std::vector<float> weights(rows * steps * steps), context(values.size()), dlogits(values.size());
  std::vector<float> dkeys(values.size()), dqueries(values.size()), dvalues(values.size());
  const std::vector<std::int64_t> labels(rows * 3, 2), counts(rows, 3);
  const View<float, 3> maps(weights.data(), {rows, steps, steps}), y(context.data(), x.shape);

  const std::vector<std::int64_t> all(rows, steps);
  const View<const std::int64_t, 1> valid(all.data(), {rows});
  const std::function<void()> calls[] = {
      [&] { lstmcore::attention_forward<float>(x, x, x, {}, 0.25, valid, valid, maps, y); },
      [&] {
        lstmcore::attention_backward<float>(x, x, x, {}, 0.25, valid, valid, maps, y, {dkeys.data(), x.shape},
                                            {dqueries.data(), x.shape}, {dvalues.data(), x.shape}, {});
      },
      [&] {
        lstmcore::ctc<float>(x, valid, {labels.data(), {rows, 3}}, {counts.data(), {rows}}, 0, {}, false, 1.0,
                             {dlogits.data(), x.shape});
      }};
  const auto results = [&] { return std::vector{weights, context, dkeys, dqueries, dvalues, dlogits}; };
  for (const auto& run : calls) run();
  const auto expected = results();
  for (const int threads : {1, 3}) {
    const ThreadCount team(threads);
    for (const auto& run : calls) {
      Caller caller;
      const Interruptible call(&Caller::ask, &caller);
      run();
      CHECK(results() == expected);
      if (threads == 1) CHECK_EQUAL(caller.questions, static_cast<int>(rows) - 1);
      // Where other threads are quicker, the caller's may have no second row, before which it would ask.
      bool ended = false;
      for (int tries = 0; tries < 1000 && !ended; ++tries) {
        caller.stop_at = caller.questions + 1;
        try {
          run();
        } catch (const std::runtime_error&) {
          ended = true;
        }
      }
      CHECK(ended);
      CHECK_EQUAL(caller.questions, caller.stop_at);
      run();
      CHECK(results() == expected);
    }
  }
}

TEST("short calls never ask") {
  const Problem<float> p = make_problem<float>({"", lstm_config(3, 5), 2, 30});
  Caller caller;
  const Interruptible call(&Caller::ask, &caller);
  infer(p);
  CHECK_EQUAL(caller.questions, 0);
}
