// Connectionist temporal classification (Graves et al. 2006): the loss of a sequence of labels whose places in time are
// not known. Probabilities are stored as logarithms in double, whatever the type of the logits.
#include <algorithm>
#include <cmath>
#include <limits>
#include <lstmcore/ops.hpp>
#include <vector>

#include "../api/check.hpp"
#include "../runtime/buffer.hpp"
#include "../runtime/interrupt.hpp"
#include "../runtime/isa.hpp"
#include "row_sums.hpp"
#include "sequences.hpp"

namespace lstmcore {
namespace {

/// Logarithm of 0. It is finite, so that differences of two of them are no NaN, and it stays far below every sum of
/// logarithms of probabilities that a type can express, however many steps are added to it.
constexpr double impossible = -1e200;
/// Smaller logarithms are those of 0.
constexpr double least_possible = -1e150;

/// Positions that a path may jump over or begin beyond: one blank and one label.
constexpr std::int64_t margin = 2;

/// The positions that alignments walk through: blank, first label, blank, ..., last label, blank.
std::int64_t positions_of(std::int64_t labels) { return 2 * labels + 1; }

/// What turns the logits of a step into logarithms of probabilities: (x - shift) - log_sum. One after the other, since
/// their sum would lose the digits of the smaller.
struct Norm {
  double shift;  // the largest logit
  double log_sum;
};

/// What one thread needs to compute the loss of any row of a batch.
class CtcWorkspace {
 public:
  CtcWorkspace(std::int64_t steps, std::int64_t most_labels, std::int64_t classes)
      : width_(positions_of(most_labels) + margin),
        norms_(static_cast<std::size_t>(steps)),
        alpha_(static_cast<std::size_t>(steps * width_)),
        jumps_(static_cast<std::size_t>(width_)),
        beta_(static_cast<std::size_t>(width_)),
        ahead_(static_cast<std::size_t>(width_)),
        exponentials_(static_cast<std::size_t>(3 * width_)),
        shares_(static_cast<std::size_t>(classes)),
        symbols_(static_cast<std::size_t>(width_)) {}

  /// Logarithms alpha[s] of step t; alpha[-margin] and alpha[-1] are impossible.
  double* alpha(std::int64_t t) { return alpha_.data() + t * width_ + margin; }
  Norm& norm(std::int64_t t) { return norms_[static_cast<std::size_t>(t)]; }
  double* jumps() { return jumps_.data(); }
  double* beta() { return beta_.data(); }
  double* ahead() { return ahead_.data(); }
  double* exponentials() { return exponentials_.data(); }
  double* shares() { return shares_.data(); }
  std::int64_t* symbols() { return symbols_.data(); }

 private:
  std::int64_t width_;
  Buffer<Norm> norms_;
  Buffer<double> alpha_, jumps_, beta_, ahead_, exponentials_, shares_;
  Buffer<std::int64_t> symbols_;
};

/// One row of the batch: T steps of U logits, and the labels.
template <class T>
struct CtcRow {
  const T* logits;
  std::int64_t steps, classes;
  const std::int64_t* labels;
  std::int64_t count, blank;

  std::int64_t positions() const { return positions_of(count); }
};

/// The forward and backward sums over all alignments of one row.
template <class T>
class Alignments {
 public:
  /// `stored_steps` are those of `work`: all steps of the row, or 2 if only `log_probability` is called. Once the call
  /// is to end, what it returns and writes is unspecified.
  Alignments(const CtcRow<T>& row, CtcWorkspace& work, std::int64_t stored_steps, const InterruptWatch& watch)
      : row_(row), positions_(row.positions()), work_(work), stored_steps_(stored_steps), watch_(watch) {
    for (std::int64_t s = 0; s < positions_; ++s) {
      const std::int64_t label = s / 2;
      const bool is_label = s % 2 == 1;
      work_.symbols()[s] = is_label ? row.labels[label] : row.blank;
      // From one label to the next without a blank between them, unless they are equal and would be read as one.
      const bool may_jump = is_label && label > 0 && row.labels[label] != row.labels[label - 1];
      work_.jumps()[s] = may_jump ? 0.0 : impossible;
    }
    std::fill_n(work_.jumps() + positions_, margin, impossible);
  }

  /// log p(labels | logits), NaN if a logit is, below `least_possible` if no alignment is possible.
  double log_probability() {
    if (row_.steps == 0) return row_.count == 0 ? 0.0 : impossible;
    begin();
    for (std::int64_t t = 1; t < row_.steps && !watch_.stopped(); ++t) {
      const double* const before = alpha(t - 1);
      double* const now = alpha(t);
      add_logarithms(before, before - 1, before - 2, work_.jumps(), now);
      emit(t, now, now);
      std::fill_n(now - margin, margin, impossible);
    }
    const double* const last = alpha(row_.steps - 1);
    return positions_ == 1 ? last[0] : log_sum(last[positions_ - 1], last[positions_ - 2]);
  }

  /// out[t, u] = factor * (softmax(logits[t])[u] - the probability that the alignment has symbol u at step t), after
  /// log_probability().
  void gradient(double factor, T* out) {
    double *const beta = work_.beta(), *const ahead = work_.ahead(), *const shares = work_.shares();
    // ahead[s]: logarithm of the sum over all ways on from position s after step t. The last positions end an
    // alignment.
    std::fill_n(ahead, positions_, impossible);
    std::fill_n(ahead + std::max<std::int64_t>(0, positions_ - 2), std::min<std::int64_t>(2, positions_), 0.0);
    for (std::int64_t t = row_.steps - 1; t >= 0 && !watch_.stopped(); --t) {
      const T* const x = logits(t);
      const Norm norm = norm_of(t);
      for (std::int64_t u = 0; u < row_.classes; ++u) shares[u] = log_softmax(x[u], norm);
      kernels_.exp(shares, shares, row_.classes);
      const double* const occupied = occupation(t);
      const std::int64_t* const symbols = work_.symbols();
      for (std::int64_t s = 0; s < positions_; ++s) shares[symbols[s]] -= occupied[s];
      T* const gradient = out + t * row_.classes;
      for (std::int64_t u = 0; u < row_.classes; ++u) gradient[u] = static_cast<T>(factor * shares[u]);
      if (t == 0) break;
      emit(t, ahead, beta);
      std::fill_n(beta + positions_, margin, impossible);
      add_logarithms(beta, beta + 1, beta + 2, work_.jumps() + 2, ahead);
    }
  }

 private:
  double* alpha(std::int64_t t) { return work_.alpha(t % stored_steps_); }
  Norm& norm_of(std::int64_t t) { return work_.norm(t % stored_steps_); }
  const T* logits(std::int64_t t) const { return row_.logits + t * row_.classes; }

  /// The probability of each position at step t, given the labels. Dividing by the sum of a step, and not by the
  /// probability of the labels, leaves out the rounding errors of all other steps.
  const double* occupation(std::int64_t t) {
    const double *const behind = alpha(t), *const ahead = work_.ahead();
    double* const found = work_.exponentials();
    for (std::int64_t s = 0; s < positions_; ++s) found[s] = behind[s] + ahead[s];
    const double largest = ops::largest_of(found, positions_);
    for (std::int64_t s = 0; s < positions_; ++s) found[s] -= largest;
    kernels_.exp(found, found, positions_);
    const double sum = ops::sum_of(positions_, [&](std::int64_t s) { return found[s]; });
    for (std::int64_t s = 0; s < positions_; ++s) found[s] /= sum;
    return found;
  }

  /// Before the first step, an alignment is at the first blank or at the first label.
  void begin() {
    double* const first = alpha(0);
    std::fill_n(first - margin, margin + positions_, impossible);
    std::fill_n(first, std::min<std::int64_t>(2, positions_), 0.0);
    emit(0, first, first);
  }

  /// out[s] = x[s] + log softmax(logits[t])[symbol of s]. Computes the norm of step t on the way forward.
  void emit(std::int64_t t, const double* x, double* out) {
    if (t >= normed_steps_) set_norm(t);
    const std::int64_t* const symbols = work_.symbols();
    const T* const scores = logits(t);
    const Norm norm = norm_of(t);
    for (std::int64_t s = 0; s < positions_; ++s) out[s] = x[s] + log_softmax(scores[symbols[s]], norm);
  }

  void set_norm(std::int64_t t) {
    const T* const x = logits(t);
    double* const shares = work_.shares();
    const double shift = static_cast<double>(ops::largest_of(x, row_.classes));
    for (std::int64_t u = 0; u < row_.classes; ++u) shares[u] = static_cast<double>(x[u]) - shift;
    kernels_.exp(shares, shares, row_.classes);
    const double sum = ops::sum_of(row_.classes, [&](std::int64_t u) { return shares[u]; });
    norm_of(t) = {shift, std::log(sum)};
    normed_steps_ = t + 1;
  }

  static double log_softmax(T logit, const Norm& norm) {
    const double value = (static_cast<double>(logit) - norm.shift) - norm.log_sum;
    return value < impossible ? impossible : value;  // NaN stays
  }

  static double log_sum(double a, double b) {
    const double largest = a > b ? a : b;
    return largest + std::log(std::exp(a - largest) + std::exp(b - largest));
  }

  /// out[s] = log(exp(stay[s]) + exp(step[s]) + exp(jump[s] + jumps[s])).
  void add_logarithms(const double* stay, const double* step, const double* jump, const double* jumps, double* out) {
    double* const a = work_.exponentials();
    double *const b = a + positions_, *const c = b + positions_;
    for (std::int64_t s = 0; s < positions_; ++s) {
      const double jumped = jump[s] + jumps[s];
      const double larger = stay[s] > step[s] ? stay[s] : step[s];
      const double largest = larger > jumped ? larger : jumped;
      a[s] = stay[s] - largest;
      b[s] = step[s] - largest;
      c[s] = jumped - largest;
      out[s] = largest;
    }
    kernels_.exp(a, a, 3 * positions_);
    for (std::int64_t s = 0; s < positions_; ++s) out[s] += std::log(a[s] + b[s] + c[s]);
  }

  const kernels::Kernels<double>& kernels_ = active_kernels<double>();
  const CtcRow<T> row_;
  const std::int64_t positions_;
  CtcWorkspace& work_;
  const std::int64_t stored_steps_;
  const InterruptWatch& watch_;
  std::int64_t normed_steps_ = 0;
};

/// The arguments of `ctc`, checked.
template <class T>
struct CtcBatch {
  View<const T, 3> logits;
  View<const std::int64_t, 1> lengths;
  View<const std::int64_t, 2> targets;
  View<const std::int64_t, 1> target_lengths;
  std::int64_t blank;
  View<const T, 1> weights;

  std::int64_t rows() const { return logits.shape[0]; }
  CtcRow<T> row(std::int64_t n) const {
    const std::int64_t steps = logits.shape[1], classes = logits.shape[2];
    return {logits.data + n * steps * classes,
            ops::length_of(lengths, n, steps),
            classes,
            targets.data + n * targets.shape[1],
            target_lengths.data[n],
            blank};
  }
  double weight(std::int64_t n) const { return ops::weight_of(weights, n); }

  void check(const View<T, 3>& dlogits) const {
    require_contiguous("logits", logits);
    const std::int64_t classes = logits.shape[2];
    require(classes >= 1, "logits: expected at least one class, got shape ", shape_text(logits));
    ops::check_lengths("lengths", lengths, rows(), logits.shape[1]);
    require_contiguous("targets", targets);
    require_array("targets", targets, {rows(), targets.shape[1]});
    require_present("target_lengths", target_lengths);
    ops::check_lengths("target_lengths", target_lengths, rows(), targets.shape[1]);
    require(blank >= 0 && blank < classes, "blank: expected 0 to ", classes - 1, ", got ", blank);
    require_array_or_none("weights", weights, {rows()});
    require_array_or_none("dlogits", dlogits, logits.shape);
    for (std::int64_t n = 0; n < rows(); ++n) {
      if (weight(n) != 0) check_labels(n);
    }
  }

  void check_labels(std::int64_t n) const {
    const CtcRow<T> labels = row(n);
    for (std::int64_t s = 0; s < labels.count; ++s) {
      const std::int64_t label = labels.labels[s];
      if (label < 0 || label >= labels.classes || label == blank) {
        fail("targets: expected values from 0 to ", labels.classes - 1, " other than the blank, ", blank, ", got ",
             label, " at position (", n, ", ", s, ")");
      }
    }
  }
};

/// The largest sizes of the rows that count, and the cost of all of them.
struct CtcSizes {
  std::int64_t steps = 1, labels = 0;
  double flops = 0;

  template <class T>
  explicit CtcSizes(const CtcBatch<T>& batch) {
    for (std::int64_t n = 0; n < batch.rows(); ++n) {
      if (batch.weight(n) == 0) continue;
      const CtcRow<T> row = batch.row(n);
      steps = std::max(steps, row.steps);
      labels = std::max(labels, row.count);
      const double cost_of_step = policy::cost::alignment * static_cast<double>(row.positions()) +
                                  policy::cost::cross_entropy * static_cast<double>(row.classes);
      flops += cost_of_step * static_cast<double>(row.steps);
    }
  }
};

/// The loss of row n times its weight. Its gradient goes to `out`, unless that is null; returns how many steps of it
/// are written, in `written`.
template <class T>
double row_loss(const CtcBatch<T>& batch, std::int64_t n, bool zero_infinite, double scale, T* out,
                CtcWorkspace& workspace, std::int64_t stored_steps, const InterruptWatch& watch,
                std::int64_t& written) {
  written = 0;
  const double weight = batch.weight(n);
  if (weight == 0) return 0;
  const CtcRow<T> row = batch.row(n);
  Alignments<T> alignments(row, workspace, stored_steps, watch);
  const double log_probability = alignments.log_probability();
  if (log_probability < least_possible) {
    return zero_infinite ? 0 : weight * std::numeric_limits<double>::infinity();
  }
  if (out != nullptr) {
    alignments.gradient(scale * weight, out);
    written = row.steps;
  }
  return -weight * log_probability;
}

}  // namespace

template <class T>
double ctc(View<const T, 3> logits, View<const std::int64_t, 1> lengths, View<const std::int64_t, 2> targets,
           View<const std::int64_t, 1> target_lengths, std::int64_t blank, View<const T, 1> weights, bool zero_infinite,
           double scale, View<T, 3> dlogits) {
  const EngineFloats floats;
  const CtcBatch<T> batch{logits, lengths, targets, target_lengths, blank, weights};
  batch.check(dlogits);
  const CtcSizes sizes(batch);
  const std::int64_t rows = batch.rows(), row_size = logits.shape[1] * logits.shape[2];
  const auto threads =
      static_cast<int>(std::min<std::int64_t>(threads_for(sizes.flops), std::max<std::int64_t>(1, rows)));
  // The backward sums need those of all steps before; the loss alone only those of the step before.
  const std::int64_t stored_steps = dlogits ? sizes.steps : std::min<std::int64_t>(2, sizes.steps);
  std::vector<CtcWorkspace> workspaces;
  for (int thread = 0; thread < threads; ++thread) {
    workspaces.emplace_back(stored_steps, sizes.labels, logits.shape[2]);
  }
  Buffer<double> losses(static_cast<std::size_t>(rows));
  Interruptible* const call = InterruptWatch::of_thread();
  parallel_tasks(threads, rows, [&](std::int64_t n, int thread) {
    const InterruptWatch watch(call);
    if (watch.stopped()) return;
    T* const out = dlogits ? dlogits.data + n * row_size : nullptr;
    std::int64_t written = 0;
    losses[static_cast<std::size_t>(n)] =
        row_loss(batch, n, zero_infinite, scale, out, workspaces[static_cast<std::size_t>(thread)], stored_steps, watch,
                 written);
    if (out != nullptr) std::fill(out + written * logits.shape[2], out + row_size, T(0));
  });
  InterruptWatch::end_if_stopped();
  return ops::sum_in_order(losses, rows);
}

template double ctc<float>(View<const float, 3>, View<const std::int64_t, 1>, View<const std::int64_t, 2>,
                           View<const std::int64_t, 1>, std::int64_t, View<const float, 1>, bool, double,
                           View<float, 3>);
template double ctc<double>(View<const double, 3>, View<const std::int64_t, 1>, View<const std::int64_t, 2>,
                            View<const std::int64_t, 1>, std::int64_t, View<const double, 1>, bool, double,
                            View<double, 3>);

}  // namespace lstmcore
