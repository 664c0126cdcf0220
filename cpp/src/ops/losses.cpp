#include <algorithm>
#include <cmath>
#include <lstmcore/ops.hpp>

#include "../api/check.hpp"
#include "../runtime/buffer.hpp"
#include "../runtime/isa.hpp"
#include "elements.hpp"
#include "row_sums.hpp"

namespace lstmcore {
namespace {

/// Elements of the rows that a thread computes together: they stay in its first-level cache.
constexpr std::int64_t chunk_elements = 4096;

/// exp(logits - shift) of one row, and the sum of that.
template <class T>
struct ExpRow {
  const T* exponentials;
  double sum;
  double shift;  // the largest logit
};

/// The loop over rows that both kinds of targets share. row_loss(m, row) returns the loss of a row without its weight;
/// row_gradient(m, row, factor, out) writes its gradient times factor. Rows of weight 0 are skipped: they may hold NaN.
template <class T, class RowLoss, class RowGradient>
double cross_entropy(const View<const T, 2>& logits, const View<const T, 1>& weights, double scale,
                     const View<T, 2>& dlogits, RowLoss&& row_loss, RowGradient&& row_gradient) {
  const auto& kernels = active_kernels<T>();
  const std::int64_t rows = logits.shape[0], classes = logits.shape[1];
  const std::int64_t chunk = std::max<std::int64_t>(1, chunk_elements / classes);
  const int threads =
      threads_for(policy::cost::cross_entropy * static_cast<double>(rows) * static_cast<double>(classes));
  Buffer<double> losses(static_cast<std::size_t>(rows));
  Buffer<T> scratch(static_cast<std::size_t>(threads * chunk * classes));

  const auto shift_row = [&](std::int64_t m, T* shifted) {
    const T* const x = logits.data + m * classes;
    if (ops::weight_of(weights, m) == 0) {
      std::fill_n(shifted, classes, T(0));
      return;
    }
    const T shift = ops::largest_of(x, classes);
    for (std::int64_t u = 0; u < classes; ++u) shifted[u] = x[u] - shift;
    losses[static_cast<std::size_t>(m)] = static_cast<double>(shift);
  };
  const auto finish_row = [&](std::int64_t m, const T* exponentials) {
    double& loss = losses[static_cast<std::size_t>(m)];
    const double weight = ops::weight_of(weights, m);
    if (weight == 0) {
      loss = 0;
      if (dlogits) std::fill_n(dlogits.data + m * classes, classes, T(0));
      return;
    }
    const double sum = ops::sum_of(classes, [&](std::int64_t u) { return static_cast<double>(exponentials[u]); });
    const ExpRow<T> row{exponentials, sum, loss};
    loss = weight * row_loss(m, row);
    if (dlogits) row_gradient(m, row, scale * weight, dlogits.data + m * classes);
  };
  ops::parallel_watched(threads, [&](int thread, const InterruptWatch& watch) {
    const Range range = split(rows, threads, thread);
    T* const exponentials = scratch.data() + thread * chunk * classes;
    for (std::int64_t begin = range.begin; begin < range.end && !watch.stopped(); begin += chunk) {
      const std::int64_t count = std::min(chunk, range.end - begin);
      for (std::int64_t m = 0; m < count; ++m) shift_row(begin + m, exponentials + m * classes);
      kernels.exp(exponentials, exponentials, count * classes);
      for (std::int64_t m = 0; m < count; ++m) finish_row(begin + m, exponentials + m * classes);
    }
  });
  return ops::sum_in_order(losses, rows);
}

template <class T>
void check_logits(const View<const T, 2>& logits, const View<const T, 1>& weights, const View<T, 2>& dlogits) {
  require_contiguous("logits", logits);
  require(logits.shape[1] >= 1, "logits: expected at least one class, got shape ", shape_text(logits));
  require_array_or_none("weights", weights, {logits.shape[0]});
  require_array_or_none("dlogits", dlogits, logits.shape);
}

}  // namespace

template <class T>
double softmax_cross_entropy(View<const T, 2> logits, View<const std::int64_t, 1> labels, View<const T, 1> weights,
                             double scale, View<T, 2> dlogits) {
  const EngineFloats floats;
  check_logits(logits, weights, dlogits);
  const std::int64_t rows = logits.shape[0], classes = logits.shape[1];
  require_array("labels", labels, {rows});
  for (std::int64_t m = 0; m < rows; ++m) {
    if (ops::weight_of(weights, m) != 0 && (labels.data[m] < 0 || labels.data[m] >= classes)) {
      fail("labels: expected values from 0 to ", classes - 1, ", got ", labels.data[m], " at position ", m);
    }
  }
  const auto row_loss = [&](std::int64_t m, const ExpRow<T>& row) {
    const double logit = static_cast<double>(logits.data[m * classes + labels.data[m]]);
    return std::log(row.sum) + (row.shift - logit);
  };
  const auto row_gradient = [&](std::int64_t m, const ExpRow<T>& row, double factor, T* out) {
    // In double for the label's own class, where softmax - 1 cancels if the prediction is right.
    const std::int64_t label = labels.data[m];
    const double own = factor * ((static_cast<double>(row.exponentials[label]) - row.sum) / row.sum);
    const T share = static_cast<T>(factor / row.sum);
    for (std::int64_t u = 0; u < classes; ++u) out[u] = row.exponentials[u] * share;
    out[label] = static_cast<T>(own);
  };
  return cross_entropy(logits, weights, scale, dlogits, row_loss, row_gradient);
}

template <class T>
double softmax_cross_entropy(View<const T, 2> logits, View<const T, 2> targets, View<const T, 1> weights, double scale,
                             View<T, 2> dlogits) {
  const EngineFloats floats;
  check_logits(logits, weights, dlogits);
  require_array("targets", targets, logits.shape);
  const std::int64_t classes = logits.shape[1];
  const auto row_loss = [&](std::int64_t m, const ExpRow<T>& row) {
    const T *const x = logits.data + m * classes, *const target = targets.data + m * classes;
    const double log_sum = std::log(row.sum);
    return ops::sum_of(classes, [&](std::int64_t u) {
      const double probability = static_cast<double>(target[u]);
      // A class of probability 0 adds nothing, even if its logit is -infinity.
      return probability == 0 ? 0.0 : probability * (log_sum + (row.shift - static_cast<double>(x[u])));
    });
  };
  const auto row_gradient = [&](std::int64_t m, const ExpRow<T>& row, double factor, T* out) {
    // This is the derivative for targets of any sum, not only 1.
    const T* const target = targets.data + m * classes;
    const double mass = ops::sum_of(classes, [&](std::int64_t u) { return static_cast<double>(target[u]); });
    const double share = mass / row.sum;
    for (std::int64_t u = 0; u < classes; ++u) {
      out[u] =
          static_cast<T>(factor * (share * static_cast<double>(row.exponentials[u]) - static_cast<double>(target[u])));
    }
  };
  return cross_entropy(logits, weights, scale, dlogits, row_loss, row_gradient);
}

template <class T>
double mean_squared_error(View<const T, 2> prediction, View<const T, 2> target, View<const T, 1> weights, double scale,
                          View<T, 2> dprediction) {
  const EngineFloats floats;
  require_contiguous("prediction", prediction);
  const std::int64_t rows = prediction.shape[0], units = prediction.shape[1];
  require(units >= 1, "prediction: expected at least one column, got shape ", shape_text(prediction));
  require_array("target", target, prediction.shape);
  require_array_or_none("weights", weights, {rows});
  require_array_or_none("dprediction", dprediction, prediction.shape);
  Buffer<double> losses(static_cast<std::size_t>(rows));
  const auto do_row = [&](std::int64_t m) {
    double& loss = losses[static_cast<std::size_t>(m)];
    T* const out = dprediction ? dprediction.data + m * units : nullptr;
    const double weight = ops::weight_of(weights, m), count = static_cast<double>(units);
    if (weight == 0) {
      loss = 0;
      if (out != nullptr) std::fill_n(out, units, T(0));
      return;
    }
    const T *const p = prediction.data + m * units, *const t = target.data + m * units;
    const auto error = [&](std::int64_t u) { return static_cast<double>(p[u]) - static_cast<double>(t[u]); };
    loss = weight * (ops::sum_of(units, [&](std::int64_t u) { return error(u) * error(u); }) / count);
    const double factor = scale * weight * 2 / count;
    for (std::int64_t u = 0; out != nullptr && u < units; ++u) out[u] = static_cast<T>(factor * error(u));
  };
  ops::parallel_ranges(rows, policy::cost::activated * static_cast<double>(units), 1,
                       [&](std::int64_t begin, std::int64_t count) {
                         for (std::int64_t m = begin; m < begin + count; ++m) do_row(m);
                       });
  return ops::sum_in_order(losses, rows);
}

template double softmax_cross_entropy<float>(View<const float, 2>, View<const std::int64_t, 1>, View<const float, 1>,
                                             double, View<float, 2>);
template double softmax_cross_entropy<double>(View<const double, 2>, View<const std::int64_t, 1>, View<const double, 1>,
                                              double, View<double, 2>);
template double softmax_cross_entropy<float>(View<const float, 2>, View<const float, 2>, View<const float, 1>, double,
                                             View<float, 2>);
template double softmax_cross_entropy<double>(View<const double, 2>, View<const double, 2>, View<const double, 1>,
                                              double, View<double, 2>);
template double mean_squared_error<float>(View<const float, 2>, View<const float, 2>, View<const float, 1>, double,
                                          View<float, 2>);
template double mean_squared_error<double>(View<const double, 2>, View<const double, 2>, View<const double, 1>, double,
                                           View<double, 2>);

}  // namespace lstmcore
