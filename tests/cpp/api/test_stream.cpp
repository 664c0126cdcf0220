// LstmStream: the whole-sequence call, one step at a time.
#include <string>
#include <utility>
#include <vector>

#include "allocation_counter.hpp"
#include "check.hpp"
#include "lanes.hpp"
#include "lstm_problem.hpp"
#include "runtime/isa.hpp"

using lstmcore::Lstm;
using lstmcore::LstmStream;

static_assert(noexcept(std::declval<LstmStream<float>&>().step(nullptr, nullptr)));
static_assert(noexcept(std::declval<LstmStream<double>&>().step(nullptr, nullptr)));
static_assert(noexcept(std::declval<LstmStream<float>&>().reset()));
static_assert(noexcept(std::declval<LstmStream<float>&>().reset(0)));

namespace {

std::vector<Shape> stream_shapes(Index V) {
  std::vector<Shape> all;
  all.push_back({"the smallest", lstm_config(1, 1), 1, 3});
  all.push_back({"one row, H below a vector", lstm_config(3, below_a_vector(V)), 1, 5});
  all.push_back({"one row, H above a panel", lstm_config(5, 4 * V + 3), 1, 5});
  all.push_back({"one row, three layers", lstm_config(5, V + 1, 3), 1, 6});
  all.push_back({"some rows, two layers", lstm_config(5, V + 1, 2), 7, 6});
  all.push_back({"many rows", lstm_config(20, 40), 37, 4});
  all.push_back({"units that a whole call would split over threads", lstm_config(200, 300, 2), 1, 4});
  return all;
}

// x of step `t`, (N, C).
template <class T>
std::vector<T> at_step(const Problem<T>& p, const std::vector<T>& values, Index width, Index t) {
  std::vector<T> step;
  for (Index n = 0; n < p.N; ++n) {
    const auto start = values.begin() + (n * p.steps + t) * width;
    step.insert(step.end(), start, start + width);
  }
  return step;
}

template <class T>
lstmcore::LstmState<const T> views(const Problem<T>& p, const std::vector<T>& h, const std::vector<T>& c) {
  const std::array<Index, 3> shape{p.cells(), p.N, p.config.hidden_size};
  return {{h.data(), shape}, {c.data(), shape}};
}

template <class T>
lstmcore::LstmState<T> views(const Problem<T>& p, std::vector<T>& h, std::vector<T>& c) {
  const std::array<Index, 3> shape{p.cells(), p.N, p.config.hidden_size};
  return {{h.data(), shape}, {c.data(), shape}};
}

template <class T>
void check_stream_is_forward() {
  for (const Shape& shape : stream_shapes(lstmcore::active_kernels<T>().lanes)) {
    const check::Context context(shape.reason);
    const Problem<T> p = make_problem<T>(shape);
    const Result<T> whole = infer(p);
    LstmStream<T> stream(Lstm<T>(p.config, p.weights()), p.N);  // may outlive the Lstm
    CHECK_EQUAL(stream.batch_size(), p.N);
    CHECK_EQUAL(stream.config().hidden_size, p.config.hidden_size);
    stream.set_state(views(p, p.h0, p.c0));
    for (Index t = 0; t < p.steps; ++t) {
      const std::vector<T> x = at_step(p, p.x, p.config.input_size, t);
      std::vector<T> y = not_a_number<T>(static_cast<std::size_t>(p.N * p.config.hidden_size));
      stream.step(x.data(), y.data());
      CHECK_SAME_BITS(y, at_step(p, whole.y, p.config.hidden_size, t));
    }
    std::vector<T> h = not_a_number<T>(whole.h.size()), c = h;
    stream.get_state(views(p, h, c));
    CHECK_SAME_BITS(h, whole.h);
    CHECK_SAME_BITS(c, whole.c);
  }
}

// One row has tiles of its own; two rows take those of a batch. H runs over the numbers of blocks that are divided
// differently, with weights that the first-level cache holds and with larger ones, and the order of the blocks is
// reversed.
template <class T>
void check_one_row_is_a_row_of_two() {
  const Index V = lstmcore::active_kernels<T>().lanes;
  for (const Index C : {1, 70}) {
    for (Index blocks = 1; blocks <= 13; ++blocks) {
      const Index H = blocks * V - (blocks % 3 == 0 ? V / 2 : 0);
      const check::Context context("C " + std::to_string(C) + ", H " + std::to_string(H));
      const Problem<T> p = make_problem<T>({"", lstm_config(C, H), 1, 1});
      const Lstm<T> lstm(p.config, p.weights());
      LstmStream<T> one(lstm), two(lstm, 2);
      std::vector<T> both = p.x, single(static_cast<std::size_t>(H)), pair(single.size() * 2);
      both.insert(both.end(), p.x.begin(), p.x.end());
      for (int t = 0; t < 4; ++t) {
        one.step(p.x.data(), single.data());
        two.step(both.data(), pair.data());
        CHECK_SAME_BITS(single, std::vector<T>(pair.begin() + H, pair.end()));
      }
    }
  }
}

// All steps of `p`, from the stream's current state.
template <class T>
std::vector<T> steps(LstmStream<T>& stream, const Problem<T>& p) {
  std::vector<T> all;
  for (Index t = 0; t < p.steps; ++t) {
    const std::vector<T> x = at_step(p, p.x, p.config.input_size, t);
    std::vector<T> y(static_cast<std::size_t>(p.N * p.config.hidden_size));
    stream.step(x.data(), y.data());
    all.insert(all.end(), y.begin(), y.end());
  }
  return all;
}

template <class T>
void check_reset() {
  const Problem<T> p = make_problem<T>({"", lstm_config(3, 9, 2), 3, 5});
  LstmStream<T> stream(Lstm<T>(p.config, p.weights()), p.N);
  const std::vector<T> fresh = steps(stream, p), second = steps(stream, p);
  CHECK(fresh != second);  // the state is carried on
  stream.reset();
  CHECK_SAME_BITS(steps(stream, p), fresh);
  stream.reset(1);
  const std::vector<T> mixed = steps(stream, p);
  for (std::size_t k = 0; k < mixed.size(); ++k) {
    const bool row_1 = k / 9 % 3 == 1;
    CHECK_EQUAL(mixed[k], row_1 ? fresh[k] : second[k]);
  }
}

template <class T>
void check_state_halves_and_moves() {
  const Problem<T> p = make_problem<T>({"", lstm_config(3, 9, 2), 3, 5});
  const Lstm<T> lstm(p.config, p.weights());
  LstmStream<T> first(lstm, p.N);
  steps(first, p);
  std::vector<T> h(p.h0.size()), c(p.c0.size());
  first.get_state({views(p, h, c).h, {}});
  first.get_state({{}, views(p, h, c).c});
  LstmStream<T> second(lstm, p.N);
  second.set_state({views<T>(p, std::as_const(h), std::as_const(c)).h, {}});
  second.set_state({{}, views<T>(p, std::as_const(h), std::as_const(c)).c});
  LstmStream<T> moved(std::move(second));
  CHECK_SAME_BITS(steps(moved, p), steps(first, p));
}

template <class T>
void check_no_allocation() {
  for (Index N : {1, 7, 64}) {
    for (Index H : {5, 64, 300}) {
      const check::Context context("N " + std::to_string(N) + ", H " + std::to_string(H));
      const Problem<T> p = make_problem<T>({"", lstm_config(40, H, 2), N, 1});
      const long at_start = allocations();
      LstmStream<T> stream(Lstm<T>(p.config, p.weights()), N);
      std::vector<T> y(static_cast<std::size_t>(N * H));
      const long after_construction = allocations();
      CHECK(after_construction > at_start);  // the counter counts
      for (int t = 0; t < 5; ++t) stream.step(p.x.data(), y.data());
      stream.reset();
      stream.reset(N - 1);
      CHECK_EQUAL(allocations() - after_construction, 0);
    }
  }
}

template <class T>
void check_refusals() {
  const Problem<T> p = make_problem<T>({"", lstm_config(3, 5, 2), 2, 1});
  const Lstm<T> lstm(p.config, p.weights());
  CHECK_THROWS(LstmStream<T>(lstm, 0), "batch_size");
  CHECK_THROWS(LstmStream<T>(lstm, -3), "got -3");
  const Problem<T> both = make_problem<T>({"", bidirectional(lstm_config(3, 5)), 1, 1});
  CHECK_THROWS(LstmStream<T>(Lstm<T>(both.config, both.weights())), "bidirectional");
  const Problem<T> back = make_problem<T>({"", backwards(lstm_config(3, 5)), 1, 1});
  CHECK_THROWS(LstmStream<T>(Lstm<T>(back.config, back.weights())), "go_backwards");

  LstmStream<T> stream(lstm, 2);
  std::vector<T> h = p.h0, c = p.c0;
  lstmcore::LstmState<T> wrong = views(p, h, c);
  wrong.c.shape[1] = 3;
  CHECK_THROWS(stream.get_state(wrong), "(2, 2, 5)");
  CHECK_THROWS(stream.set_state({wrong.h, wrong.c}), "(2, 3, 5)");
  CHECK_SAME_BITS(h, p.h0);
  // No part of the refused state was taken: h has not changed.
  stream.get_state(views(p, h, c));
  CHECK_SAME_BITS(h, std::vector<T>(h.size(), T(0)));
}

}  // namespace

TEST("the same bits as the whole-sequence call") {
  check_stream_is_forward<float>();
  check_stream_is_forward<double>();
}
TEST("one row has the bits of a row of two") {
  check_one_row_is_a_row_of_two<float>();
  check_one_row_is_a_row_of_two<double>();
}
TEST("reset, of all rows or one") {
  check_reset<float>();
  check_reset<double>();
}
TEST("h and c one at a time, and moved streams") {
  check_state_halves_and_moves<float>();
  check_state_halves_and_moves<double>();
}
TEST("a step allocates nothing") {
  if (!allocations_are_counted()) {
    std::printf("       (allocations are not counted in this build)\n");
    return;
  }
  check_no_allocation<float>();
  check_no_allocation<double>();
}
TEST("configurations without a stream and bad states are refused") {
  check_refusals<float>();
  check_refusals<double>();
}
