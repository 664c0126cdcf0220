// Embedding, dropout and pooling over time against plain loops.
#include <algorithm>
#include <cmath>
#include <lstmcore/ops.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "ops_kit.hpp"
#include "random.hpp"
#include "reference/philox.hpp"
#include "runtime/isa.hpp"

using lstmcore::View;

namespace {

using Ids = std::vector<std::int64_t>;

// Half of all ids are 1, as padding or a frequent word would be; 0 never occurs.
Ids some_ids(std::int64_t count, std::int64_t vocabulary) {
  Ids ids;
  for (std::int64_t m = 0; m < count; ++m) ids.push_back(m % 2 == 0 ? 1 : 1 + m * 31 % (vocabulary - 1));
  return ids;
}

template <class T>
std::vector<T> embedding_gradient(const Ids& ids, const std::vector<T>& dy, std::int64_t vocabulary,
                                  std::int64_t width) {
  std::vector<T> gradient(static_cast<std::size_t>(vocabulary * width), T(99));
  lstmcore::embedding_backward<T>(flat(ids), view_of(dy, {static_cast<std::int64_t>(ids.size()), width}),
                                  view_of(gradient, {vocabulary, width}));
  return gradient;
}

template <class T>
void check_embedding(std::int64_t count, std::int64_t vocabulary, std::int64_t width) {
  const Ids ids = some_ids(count, vocabulary);
  const std::vector<T> table = random_values<T>(vocabulary * width, 1), dy = random_values<T>(count * width, 2);
  std::vector<T> y(static_cast<std::size_t>(count * width)), expected = y;
  std::vector<T> gradient(static_cast<std::size_t>(vocabulary * width), T(0));
  for (std::int64_t m = 0; m < count; ++m) {
    for (std::int64_t e = 0; e < width; ++e) {
      expected[m * width + e] = table[ids[m] * width + e];
      gradient[ids[m] * width + e] += dy[m * width + e];
    }
  }
  for (int count_of_threads : {1, 2, 3, 7}) {
    const check::Context context("threads " + std::to_string(count_of_threads));
    const ThreadCount threads(count_of_threads);
    lstmcore::embedding_forward<T>(view_of(table, {vocabulary, width}), flat(ids), view_of(y, {count, width}));
    CHECK_SAME_BITS(y, expected);
    // Even the bits of the loop, which sums in the same order.
    CHECK_SAME_BITS(embedding_gradient(ids, dy, vocabulary, width), gradient);
  }
}

template <class T>
void check_dropout(std::int64_t count, double rate, std::uint64_t seed) {
  std::vector<T> x = random_values<T>(count, 1), expected(x.size());
  const T factor = static_cast<T>(1 / (1 - rate));
  for (std::int64_t k = 0; k < count; ++k) {
    const bool kept = lstmcore::reference::dropout_keeps(seed, static_cast<std::uint64_t>(k), rate);
    expected[k] = kept ? x[k] * factor : T(0);
  }
  for (int count_of_threads : {1, 2, 3, 7}) {
    const ThreadCount threads(count_of_threads);
    std::vector<T> y(x.size(), T(99)), in_place = x;
    lstmcore::dropout<T>(flat(std::as_const(x)), rate, seed, flat(y));
    lstmcore::dropout<T>(flat(std::as_const(in_place)), rate, seed, flat(in_place));
    CHECK_SAME_BITS(y, expected);
    CHECK_SAME_BITS(in_place, expected);
  }
}

// N sequences with lengths 0, T, 1 and others.
template <class T>
struct Sequences {
  std::int64_t rows, steps, columns;
  std::vector<T> x;
  Ids lengths;

  Sequences(std::int64_t n, std::int64_t t, std::int64_t c)
      : rows(n), steps(t), columns(c), x(random_values<T>(n * t * c, 1)) {
    for (std::int64_t row = 0; row < n; ++row) lengths.push_back(row == 1 ? t : row * 5 % (t + 1));
    // Elements past the length may have any value.
    for (std::int64_t row = 0; row < n; ++row) {
      for (std::int64_t k = lengths[row] * c; k < t * c; ++k) x[row * t * c + k] = static_cast<T>(std::nan(""));
    }
  }
  T at(std::int64_t n, std::int64_t t, std::int64_t c) const { return x[(n * steps + t) * columns + c]; }
  View<const T, 3> view() const { return view_of(x, {rows, steps, columns}); }
};

template <class T>
void check_max(std::int64_t rows, std::int64_t steps, std::int64_t columns) {
  Sequences<T> s(rows, steps, columns);
  std::vector<T> y(static_cast<std::size_t>(rows * columns), T(99)), alone = y, dx(s.x.size(), T(99)), expected_dx;
  const std::vector<T> dy = random_values<T>(rows * columns, 2);
  Ids argmax(y.size(), 99);
  lstmcore::max_over_time_forward<T>(s.view(), flat(s.lengths), view_of(y, {rows, columns}),
                                     view_of(argmax, {rows, columns}));
  lstmcore::max_over_time_forward<T>(s.view(), flat(s.lengths), view_of(alone, {rows, columns}), {});
  CHECK_SAME_BITS(alone, y);
  lstmcore::max_over_time_backward<T>(view_of(argmax, {rows, columns}), view_of(dy, {rows, columns}),
                                      view_of(dx, {rows, steps, columns}));
  expected_dx.assign(dx.size(), T(0));
  for (std::int64_t n = 0; n < rows; ++n) {
    for (std::int64_t c = 0; c < columns; ++c) {
      std::int64_t best = -1;
      for (std::int64_t t = 0; t < s.lengths[n]; ++t) {
        if (best < 0 || s.at(n, t, c) > s.at(n, best, c)) best = t;
      }
      CHECK_EQUAL(argmax[n * columns + c], best);
      CHECK_EQUAL(y[n * columns + c], best < 0 ? T(0) : s.at(n, best, c));
      if (best >= 0) expected_dx[(n * steps + best) * columns + c] = dy[n * columns + c];
    }
  }
  CHECK_SAME_BITS(dx, expected_dx);
}

template <class T>
void check_mean(std::int64_t rows, std::int64_t steps, std::int64_t columns) {
  Sequences<T> s(rows, steps, columns);
  std::vector<T> y(static_cast<std::size_t>(rows * columns), T(99)), dx(s.x.size(), T(99));
  const std::vector<T> dy = random_values<T>(rows * columns, 2);
  lstmcore::mean_over_time_forward<T>(s.view(), flat(s.lengths), view_of(y, {rows, columns}));
  lstmcore::mean_over_time_backward<T>(flat(s.lengths), view_of(dy, {rows, columns}),
                                       view_of(dx, {rows, steps, columns}));
  for (std::int64_t n = 0; n < rows; ++n) {
    const double length = static_cast<double>(s.lengths[n]);
    for (std::int64_t c = 0; c < columns; ++c) {
      double sum = 0;
      for (std::int64_t t = 0; t < s.lengths[n]; ++t) sum += static_cast<double>(s.at(n, t, c));
      CHECK_CLOSE(y[n * columns + c], length > 0 ? sum / length : 0.0, tolerance<T>(6e-8, 0));  // one rounding
      for (std::int64_t t = 0; t < steps; ++t) {
        const bool valid = t < s.lengths[n];
        CHECK_EQUAL(dx[(n * steps + t) * columns + c], valid ? dy[n * columns + c] / static_cast<T>(length) : T(0));
      }
    }
  }
}

}  // namespace

TEST("embedding and its gradient") {
  check_embedding<float>(23, 7, 5);
  check_embedding<double>(23, 7, 5);
  check_embedding<float>(5000, 300, 100);  // columns are divided among threads
  check_embedding<float>(9000, 5000, 18);  // too few columns: rows of the table too
  CHECK_SAME_BITS(embedding_gradient<float>({}, {}, 3, 2), std::vector<float>(6, 0.0f));
}

TEST("embedding refuses ids out of range and writes nothing") {
  const std::vector<float> table(12, 1.0f), dy(6, 1.0f);
  std::vector<float> y(6, 99.0f), gradient(12, 99.0f);
  for (const auto& wrong :
       {std::pair<Ids, const char*>({2, 4}, "from 0 to 3 (the rows of the table), got 4 at position 1"),
        std::pair<Ids, const char*>({-1, 0}, "got -1 at position 0")}) {
    const Ids& ids = wrong.first;
    const char* const message = wrong.second;
    CHECK_THROWS(lstmcore::embedding_forward<float>(view_of(table, {4, 3}), flat(ids), view_of(y, {2, 3})), message);
    CHECK_THROWS(lstmcore::embedding_backward<float>(flat(ids), view_of(dy, {2, 3}), view_of(gradient, {4, 3})),
                 message);
  }
  const Ids ids = {0, 1};
  CHECK_THROWS(lstmcore::embedding_forward<float>(view_of(table, {4, 3}), flat(ids), view_of(y, {3, 2})),
               "y: expected shape (2, 3), got (3, 2)");
  CHECK_SAME_BITS(y, std::vector<float>(6, 99.0f));
  CHECK_SAME_BITS(gradient, std::vector<float>(12, 99.0f));
}

TEST("dropout applies the reference's mask") {
  for (std::int64_t count : {0, 1, 3, 63, 64, 65, 1003, 50003}) {
    const check::Context context("count " + std::to_string(count));
    check_dropout<float>(count, 0.3, 0x0123456789abcdefu);
    check_dropout<double>(count, 0.5, 1);
  }
  check_dropout<float>(100, 0, 1);
}

TEST("the dropout kernel may start at any element") {
  const std::uint64_t seed = 99;
  std::vector<float> ones(200, 1.0f), y(200);
  // Every position within a block, and counters with a nonzero upper half.
  for (std::uint64_t first : {0ull, 1ull, 2ull, 3ull, 61ull, (1ull << 34) - 5, (1ull << 40) + 7}) {
    lstmcore::active_kernels<float>().dropout(ones.data(), y.data(), 200, seed, first, 0x40000000u, 2.0f);
    for (std::uint64_t k = 0; k < 200; ++k) {
      CHECK_EQUAL(y[k], lstmcore::reference::philox_word(seed, first + k) >= 0x40000000u ? 2.0f : 0.0f);
    }
  }
}

TEST("dropout drops NaN and refuses invalid rates") {
  std::vector<float> x(1000, std::nanf("")), y(1000, 99.0f);
  lstmcore::dropout<float>(flat(std::as_const(x)), 0.5, 3, flat(y));
  for (std::size_t k = 0; k < 1000; ++k) {
    CHECK_EQUAL(std::isnan(y[k]), lstmcore::reference::dropout_keeps(3, k, 0.5));
  }
  y.assign(1000, 99.0f);
  for (double rate : {1.0, -0.1, std::nan("")}) {
    CHECK_THROWS(lstmcore::dropout<float>(flat(std::as_const(x)), rate, 3, flat(y)), "rate: expected 0 <= rate < 1");
  }
  y.pop_back();
  CHECK_THROWS(lstmcore::dropout<float>(flat(std::as_const(x)), 0.5, 3, flat(y)),
               "y: expected shape (1000,), got (999,)");
  CHECK_SAME_BITS(y, std::vector<float>(999, 99.0f));
}

TEST("maximum over time") {
  for (std::int64_t columns : {1, 7, 64, 131}) {
    check_max<float>(5, 9, columns);
    check_max<double>(5, 9, columns);
  }
}

TEST("maximum over time: ties, NaN, all steps") {
  const std::vector<float> x = {1, 5, std::nanf(""), 3, 5, 7, 3, 2, std::nanf("")};  // (1, 3, 3)
  std::vector<float> y(3);
  Ids argmax(3);
  lstmcore::max_over_time_forward<float>(view_of(x, {1, 3, 3}), {}, view_of(y, {1, 3}), view_of(argmax, {1, 3}));
  CHECK_EQUAL(y[0], 3.0f);
  CHECK_EQUAL(y[1], 5.0f);
  CHECK(std::isnan(y[2]));
  CHECK_SAME_BITS(argmax, Ids({1, 0, 0}));
}

TEST("mean over time") {
  for (std::int64_t columns : {1, 7, 131}) {
    check_mean<float>(5, 9, columns);
    check_mean<double>(5, 9, columns);
  }
}

TEST("pooling has the same bits for any number of threads") {
  const Sequences<float> s(40, 50, 70);
  const auto run = [&] {
    std::vector<float> y(5600);
    lstmcore::max_over_time_forward<float>(s.view(), flat(s.lengths), View<float, 2>(y.data(), {40, 70}), {});
    lstmcore::mean_over_time_forward<float>(s.view(), flat(s.lengths), View<float, 2>(y.data() + 2800, {40, 70}));
    return y;
  };
  const ThreadCount before(1);
  const std::vector<float> expected = run();
  for (int count : {2, 3, 7}) {
    const ThreadCount threads(count);
    CHECK_SAME_BITS(run(), expected);
  }
}

TEST("pooling refuses arguments that do not fit and writes nothing") {
  const std::vector<float> x(12, 1.0f), dy(4, 1.0f);
  std::vector<float> y(4, 99.0f), dx(12, 99.0f);
  const View<const float, 3> sequences = view_of(x, {2, 3, 2});
  const View<float, 2> out = view_of(y, {2, 2});
  const View<float, 3> gradient = view_of(dx, {2, 3, 2});
  const Ids above = {3, 4}, negative = {-1, 0}, three = {1, 1, 1}, place = {0, 3, 0, 0};
  CHECK_THROWS(lstmcore::max_over_time_forward<float>(sequences, flat(above), out, {}),
               "lengths: expected values from 0 to 3 (the time steps), got 4 at position 1");
  CHECK_THROWS(lstmcore::mean_over_time_forward<float>(sequences, flat(negative), out), "got -1 at position 0");
  CHECK_THROWS(lstmcore::mean_over_time_forward<float>(sequences, flat(three), out),
               "lengths: expected shape (2,), got (3,)");
  CHECK_THROWS(lstmcore::mean_over_time_backward<float>(flat(above), view_of(dy, {2, 2}), gradient), "lengths: ");
  CHECK_THROWS(lstmcore::max_over_time_backward<float>(view_of(place, {2, 2}), view_of(dy, {2, 2}), gradient),
               "argmax: expected values from -1 to 2, got 3 at position (0, 1)");
  CHECK_THROWS(lstmcore::max_over_time_forward<float>(sequences, {}, view_of(y, {4, 1}), {}),
               "y: expected shape (2, 2), got (4, 1)");
  CHECK_SAME_BITS(y, std::vector<float>(4, 99.0f));
  CHECK_SAME_BITS(dx, std::vector<float>(12, 99.0f));
}
