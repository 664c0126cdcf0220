// Attention against plain loops, alone and in a batch, one query and several, on any number of threads.
#include <algorithm>
#include <cmath>
#include <lstmcore/ops.hpp>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "ops_kit.hpp"
#include "random.hpp"

namespace {

using Ids = std::vector<std::int64_t>;

struct Sizes {
  std::int64_t rows, steps, query_count, units, columns;
};

// Rows of length 0, of all steps and of others, with NaN past their ends.
template <class T>
struct Case {
  Sizes size;
  std::vector<T> keys, queries, values, v, dcontext;
  Ids lengths, query_lengths;
  double scale;

  Case(Sizes sizes, bool additive, double factor)
      : size(sizes),
        keys(random_values<T>(sizes.rows * sizes.steps * sizes.units, 1)),
        queries(random_values<T>(sizes.rows * sizes.query_count * sizes.units, 2)),
        values(random_values<T>(sizes.rows * sizes.steps * sizes.columns, 3)),
        dcontext(random_values<T>(sizes.rows * sizes.query_count * sizes.columns, 4)),
        scale(factor) {
    if (additive) v = random_values<T>(sizes.units, 5);
    for (std::int64_t n = 0; n < sizes.rows; ++n) {
      lengths.push_back(n == 1 ? sizes.steps : n * 5 % (sizes.steps + 1));
      query_lengths.push_back(n == 1 ? sizes.query_count : n * 3 % (sizes.query_count + 1));
      spoil(keys, n, sizes.steps * sizes.units, lengths.back() * sizes.units);
      spoil(values, n, sizes.steps * sizes.columns, lengths.back() * sizes.columns);
      spoil(queries, n, sizes.query_count * sizes.units, query_lengths.back() * sizes.units);
      spoil(dcontext, n, sizes.query_count * sizes.columns, query_lengths.back() * sizes.columns);
    }
  }

  static void spoil(std::vector<T>& values, std::int64_t n, std::int64_t width, std::int64_t from) {
    for (std::int64_t k = from; k < width; ++k) values[n * width + k] = static_cast<T>(std::nan(""));
  }
};

template <class T>
struct Result {
  std::vector<T> weights, context, dkeys, dqueries, dvalues, dv;
};

template <class T>
Result<T> run(const Case<T>& c) {
  const auto& [rows, steps, query_count, units, columns] = c.size;
  Result<T> r;
  r.weights.assign(rows * query_count * steps, T(99));
  r.context.assign(rows * query_count * columns, T(99));
  r.dkeys.assign(c.keys.size(), T(99));
  r.dqueries.assign(c.queries.size(), T(99));
  r.dvalues.assign(c.values.size(), T(99));
  r.dv.assign(c.v.size(), T(99));
  const auto keys = view_of(c.keys, {rows, steps, units});
  const auto queries = view_of(c.queries, {rows, query_count, units});
  const auto values = view_of(c.values, {rows, steps, columns});
  const bool additive = !c.v.empty();
  const auto v = additive ? flat(c.v) : lstmcore::View<const T, 1>();
  lstmcore::attention_forward<T>(keys, queries, values, v, c.scale, flat(c.lengths), flat(c.query_lengths),
                                 view_of(r.weights, {rows, query_count, steps}),
                                 view_of(r.context, {rows, query_count, columns}));
  lstmcore::attention_backward<T>(
      keys, queries, values, v, c.scale, flat(c.lengths), flat(c.query_lengths),
      view_of(std::as_const(r.weights), {rows, query_count, steps}), view_of(c.dcontext, {rows, query_count, columns}),
      view_of(r.dkeys, {rows, steps, units}), view_of(r.dqueries, {rows, query_count, units}),
      view_of(r.dvalues, {rows, steps, columns}), additive ? flat(r.dv) : lstmcore::View<T, 1>());
  return r;
}

// Forward and backward of one query, in double, added to the gradients.
template <class T>
void add_plain(const Case<T>& c, std::int64_t n, std::int64_t s, Result<double>& r) {
  const std::int64_t steps = c.size.steps, query_count = c.size.query_count, units = c.size.units,
                     columns = c.size.columns;
  const std::int64_t length = c.lengths[n], query = n * query_count + s;
  if (length == 0 || s >= c.query_lengths[n]) return;
  const auto key = [&](std::int64_t t, std::int64_t u) { return double(c.keys[(n * steps + t) * units + u]); };
  const auto ask = [&](std::int64_t u) { return double(c.queries[query * units + u]); };
  const auto value = [&](std::int64_t t, std::int64_t k) { return double(c.values[(n * steps + t) * columns + k]); };
  double* const weights = r.weights.data() + query * steps;
  double sum = 0;
  for (std::int64_t t = 0; t < length; ++t) {
    double score = 0;
    for (std::int64_t u = 0; u < units; ++u) {
      score += c.v.empty() ? key(t, u) * ask(u) : double(c.v[u]) * std::tanh(key(t, u) + ask(u));
    }
    sum += weights[t] = std::exp(c.scale * score);
  }
  double shift = 0;
  std::vector<double> slopes(length);
  for (std::int64_t t = 0; t < length; ++t) {
    weights[t] /= sum;
    for (std::int64_t k = 0; k < columns; ++k) {
      const double dy = double(c.dcontext[query * columns + k]);
      r.context[query * columns + k] += weights[t] * value(t, k);
      r.dvalues[(n * steps + t) * columns + k] += weights[t] * dy;
      slopes[t] += dy * value(t, k);
    }
    shift += slopes[t] * weights[t];
  }
  for (std::int64_t t = 0; t < length; ++t) {
    const double slope = c.scale * weights[t] * (slopes[t] - shift);
    for (std::int64_t u = 0; u < units; ++u) {
      double& dkey = r.dkeys[(n * steps + t) * units + u];
      double& dquery = r.dqueries[query * units + u];
      if (c.v.empty()) {
        dkey += slope * ask(u);
        dquery += slope * key(t, u);
        continue;
      }
      const double blended = std::tanh(key(t, u) + ask(u));
      const double inner = slope * double(c.v[u]) * (1 - blended * blended);
      dkey += inner;
      dquery += inner;
      r.dv[u] += slope * blended;
    }
  }
}

template <class T>
void check_case(const Case<T>& c) {
  const auto& [rows, steps, query_count, units, columns] = c.size;
  const check::Context context(std::to_string(units) + " units, " + std::to_string(query_count) + " queries" +
                               (c.v.empty() ? "" : ", additive"));
  Result<double> expected;
  expected.weights.assign(rows * query_count * steps, 0);
  expected.context.assign(rows * query_count * columns, 0);
  expected.dkeys.assign(c.keys.size(), 0);
  expected.dqueries.assign(c.queries.size(), 0);
  expected.dvalues.assign(c.values.size(), 0);
  expected.dv.assign(c.v.size(), 0);
  for (std::int64_t n = 0; n < rows; ++n) {
    for (std::int64_t s = 0; s < query_count; ++s) add_plain(c, n, s, expected);
  }
  const ThreadCount one(1);
  const Result<T> result = run(c);
  // Sums of up to a few hundred products, and exponentials of scores of a few units.
  const double close = tolerance<T>(2e-5, 2e-13);
  CHECK_ARRAYS_CLOSE(result.weights, expected.weights, close);
  CHECK_ARRAYS_CLOSE(result.context, expected.context, close);
  CHECK_ARRAYS_CLOSE(result.dkeys, expected.dkeys, close);
  CHECK_ARRAYS_CLOSE(result.dqueries, expected.dqueries, close);
  CHECK_ARRAYS_CLOSE(result.dvalues, expected.dvalues, close);
  if (!c.v.empty()) CHECK_ARRAYS_CLOSE(result.dv, expected.dv, close);
  for (int count : {2, 3, 7}) {
    const ThreadCount threads(count);
    const Result<T> other = run(c);
    CHECK_SAME_BITS(other.weights, result.weights);
    CHECK_SAME_BITS(other.context, result.context);
    CHECK_SAME_BITS(other.dkeys, result.dkeys);
    CHECK_SAME_BITS(other.dqueries, result.dqueries);
    CHECK_SAME_BITS(other.dvalues, result.dvalues);
    CHECK_SAME_BITS(other.dv, result.dv);
  }
}

// The context of query s of row n, computed without other rows, other queries or padding.
std::vector<float> alone(const Case<float>& c, std::int64_t n, std::int64_t s) {
  const auto& [rows, steps, query_count, units, columns] = c.size;
  const std::int64_t length = c.lengths[n];
  std::vector<float> weights(length), context(columns);
  const float* const keys = c.keys.data() + n * steps * units;
  const float* const values = c.values.data() + n * steps * columns;
  const float* const query = c.queries.data() + (n * query_count + s) * units;
  lstmcore::attention_forward<float>(lstmcore::View<const float, 3>(keys, {1, length, units}),
                                     lstmcore::View<const float, 3>(query, {1, 1, units}),
                                     lstmcore::View<const float, 3>(values, {1, length, columns}),
                                     c.v.empty() ? lstmcore::View<const float, 1>() : flat(c.v), c.scale, {}, {},
                                     view_of(weights, {1, 1, length}), view_of(context, {1, 1, columns}));
  return context;
}

}  // namespace

TEST("attention and its gradients") {
  for (const bool additive : {false, true}) {
    check_case(Case<double>({5, 9, 4, 7, 3}, additive, 1));
    check_case(Case<double>({3, 40, 1, 16, 70}, additive, 0.25));
    check_case(Case<float>({6, 33, 5, 65, 20}, additive, 1));
    check_case(Case<float>({4, 70, 1, 1, 1}, additive, 1));
  }
  check_case(Case<double>({2, 5, 800, 3, 2}, false, 1));  // more queries than one transposed product takes
}

TEST("attention to a row has the same bits alone and in a batch") {
  for (const bool additive : {false, true}) {
    const Case<float> c({6, 37, 5, 19, 23}, additive, 0.5);
    const Result<float> all = run(c);
    for (std::int64_t n = 0; n < 6; ++n) {
      for (std::int64_t s = 0; s < c.query_lengths[n] && c.lengths[n] > 0; ++s) {
        const float* const context = all.context.data() + (n * 5 + s) * 23;
        CHECK_SAME_BITS(alone(c, n, s), std::vector<float>(context, context + 23));
      }
    }
  }
}

TEST("attention without rows, steps or queries") {
  for (const bool additive : {false, true}) {
    check_case(Case<double>({0, 3, 2, 4, 5}, additive, 1));
    check_case(Case<double>({2, 0, 2, 4, 5}, additive, 1));
    check_case(Case<double>({2, 3, 0, 4, 5}, additive, 1));
  }
}

TEST("attention refuses arguments that do not fit and writes nothing") {
  const std::vector<float> keys(24, 1.0f), queries(8, 1.0f), values(18, 1.0f), v(4, 1.0f);
  std::vector<float> weights(6, 99.0f), context(6, 99.0f);
  const auto forward = [&](double scale, const Ids& lengths, const Ids& query_lengths, std::int64_t width) {
    lstmcore::attention_forward<float>(view_of(keys, {2, 3, 4}), view_of(queries, {2, 1, 4}),
                                       view_of(values, {2, 3, 3}), flat(v), scale, flat(lengths), flat(query_lengths),
                                       view_of(weights, {2, 1, width}), view_of(context, {2, 1, 3}));
  };
  CHECK_THROWS(forward(1, {3, 4}, {1, 1}, 3), "lengths: expected values from 0 to 3 (the time steps), got 4");
  CHECK_THROWS(forward(1, {3, 3}, {1, 2}, 3), "query_lengths: expected values from 0 to 1");
  CHECK_THROWS(forward(1, {3}, {1, 1}, 3), "lengths: expected shape (2,), got (1,)");
  CHECK_THROWS(forward(0, {3, 3}, {1, 1}, 3), "scale: expected a positive number, got 0");
  CHECK_THROWS(forward(std::nan(""), {3, 3}, {1, 1}, 3), "scale: ");
  CHECK_THROWS(forward(1, {3, 3}, {1, 1}, 2), "weights: expected shape (2, 1, 3), got (2, 1, 2)");
  CHECK_THROWS(lstmcore::attention_forward<float>(view_of(keys, {2, 3, 4}), view_of(queries, {2, 2, 2}),
                                                  view_of(values, {2, 3, 3}), {}, 1, {}, {},
                                                  view_of(weights, {2, 1, 3}), view_of(context, {2, 1, 3})),
               "queries: expected shape (2, 2, 4), got (2, 2, 2)");
  CHECK_SAME_BITS(weights, std::vector<float>(6, 99.0f));
  CHECK_SAME_BITS(context, std::vector<float>(6, 99.0f));
}
