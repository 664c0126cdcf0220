// Subnormal numbers count as zeros inside a call, on every thread, and the caller's floating-point mode is unchanged.
#include <cmath>
#include <limits>
#include <vector>

#include "check.hpp"
#include "lstm_problem.hpp"
#include "runtime/float_mode.hpp"
#include "runtime/threads.hpp"
#include "same_bits.hpp"

namespace {

using lstmcore::EngineFloats;
namespace float_mode = lstmcore::float_mode;

float_mode::Word mode() { return float_mode::read() & ~float_mode::flags; }

/// The processor has a mode to set.
bool has_mode() { return float_mode::wanted(0) != 0; }

volatile float smallest = std::numeric_limits<float>::min();
float half_of_smallest() { return smallest * 0.5f; }

template <class T>
void make_subnormal(std::vector<T>& values) {
  for (std::size_t k = 0; k < values.size(); k += 2) values[k] *= std::numeric_limits<T>::min();
}

template <class T>
Problem<T> decayed(const Shape& shape) {
  Problem<T> p = make_problem<T>(shape);
  for (std::vector<T>* values : {&p.x, &p.dy, &p.h0, &p.c0}) make_subnormal(*values);
  return p;
}

}  // namespace

TEST("results of a scope in the engine's mode are never subnormal, and the mode before returns") {
  CHECK(half_of_smallest() > 0);
  const float_mode::Word before = float_mode::read();
  {
    const EngineFloats floats;
    if (has_mode()) CHECK_EQUAL(half_of_smallest(), 0.0f);
    const EngineFloats again;
    if (has_mode()) CHECK_EQUAL(half_of_smallest(), 0.0f);
  }
  CHECK_EQUAL(float_mode::read(), before);
  CHECK(half_of_smallest() > 0);
}

TEST("every task of a team runs in the engine's mode") {
  const ThreadCount four(4);
  const float_mode::Word before = mode();
  std::vector<float> halves(16, 1.0f);
  lstmcore::parallel(16, [&](int index) { halves[static_cast<std::size_t>(index)] = half_of_smallest(); });
  if (has_mode()) CHECK_SAME_BITS(halves, std::vector<float>(16, 0.0f));
  CHECK_EQUAL(mode(), before);
}

TEST("a call leaves the caller's mode as it was, also when it throws") {
  const Problem<float> p = make_problem<float>({"rows over threads", lstm_config(20, 40), 37, 12});
  const float_mode::Word before = mode();
  train(p);
  CHECK_EQUAL(mode(), before);
  Problem<float> wrong = p;
  wrong.lengths.assign(static_cast<std::size_t>(p.N), p.steps + 1);
  CHECK_THROWS(infer(wrong), "lengths");
  CHECK_EQUAL(mode(), before);
  lstmcore::Lstm<float> lstm(p.config, p.weights());
  lstmcore::LstmStream<float> stream(lstm);
  std::vector<float> x(20, 1e-40f), h(40);
  stream.step(x.data(), h.data());
  CHECK_EQUAL(mode(), before);
}

TEST("subnormal numbers have the same bits for every number of threads and every mode of the caller") {
  for (const Shape& shape : {Shape{"rows over threads", lstm_config(20, 40), 37, 12},
                             Shape{"units over threads", lstm_config(100, 200, 2), 3, 5}}) {
    const check::Context context(shape.reason);
    const Problem<float> p = decayed<float>(shape);
    Result<float> expected;
    {
      const ThreadCount one(1);
      expected = train(p);
    }
    const ThreadCount three(3);
    const Result<float> result = train(p);
    check_same_outputs(result, expected);
    check_same_gradients(result, expected);
    const EngineFloats flushed;
    const Result<float> again = train(p);
    check_same_outputs(again, expected);
    check_same_gradients(again, expected);
  }
}

TEST("a stream has the bits of a whole call where its state has decayed") {
  const Problem<float> p = decayed<float>({"one row", lstm_config(5, 19, 2), 1, 9});
  const Result<float> whole = infer(p);
  const lstmcore::Lstm<float> lstm(p.config, p.weights());
  lstmcore::LstmStream<float> stream(lstm);
  const std::array<Index, 3> shape{2, 1, 19};
  stream.set_state({{p.h0.data(), shape}, {p.c0.data(), shape}});
  std::vector<float> y(whole.y.size());
  for (Index t = 0; t < p.steps; ++t) stream.step(p.x.data() + t * 5, y.data() + t * 19);
  CHECK_SAME_BITS(y, whole.y);
}
