// CTC against a sum over all alignments, against finite differences, and at its limits.
#include <algorithm>
#include <cmath>
#include <limits>
#include <lstmcore/ops.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "ops_kit.hpp"
#include "random.hpp"

using lstmcore::View;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

using Labels = std::vector<std::int64_t>;

/// The labels that an alignment reads as: equal neighbours are one, blanks are gone.
Labels read(const Labels& alignment, std::int64_t blank) {
  Labels found;
  std::int64_t before = blank;
  for (std::int64_t symbol : alignment) {
    if (symbol != blank && symbol != before) found.push_back(symbol);
    before = symbol;
  }
  return found;
}

template <class T>
struct CtcProblem {
  std::int64_t rows, steps, classes, blank;
  std::int64_t width = 0;
  std::vector<T> logits, weights, gradient;
  std::vector<std::int64_t> lengths, targets, target_lengths;
  bool zero_infinite = false;

  CtcProblem(std::int64_t t, std::int64_t u, std::int64_t blank_class, const std::vector<Labels>& labels,
             double scale = 3)
      : rows(static_cast<std::int64_t>(labels.size())), steps(t), classes(u), blank(blank_class) {
    logits = random_values<T>(rows * t * u, 1, scale);
    weights = random_values<T>(rows, 2);
    gradient.assign(logits.size(), T(99));
    for (const Labels& row : labels) width = std::max(width, static_cast<std::int64_t>(row.size()));
    for (const Labels& row : labels) {
      lengths.push_back(t);
      target_lengths.push_back(static_cast<std::int64_t>(row.size()));
      targets.insert(targets.end(), row.begin(), row.end());
      targets.resize(target_lengths.size() * static_cast<std::size_t>(width), -7);  // padding is not read
    }
  }

  double loss(double scale = 1, bool weighted = true, bool with_gradient = true) {
    return lstmcore::ctc<T>(view_of(logits, {rows, steps, classes}), flat(lengths), view_of(targets, {rows, width}),
                            flat(target_lengths), blank,
                            weighted ? View<const T, 1>(flat(weights)) : View<const T, 1>(), zero_infinite, scale,
                            with_gradient ? view_of(gradient, {rows, steps, classes}) : View<T, 3>());
  }

  Labels labels(std::int64_t n) const {
    const auto first = targets.begin() + n * width;
    return {first, first + target_lengths[n]};
  }
};

/// The loss of row n and its gradient, by a walk through all U^T alignments, in long double.
template <class T>
double sum_over_alignments(const CtcProblem<T>& p, std::int64_t n, std::vector<double>& gradient) {
  const std::int64_t steps = p.lengths[n];
  const T* const x = &p.logits[n * p.steps * p.classes];
  std::vector<long double> softmax;
  for (std::int64_t t = 0; t < steps; ++t) {
    long double sum = 0;
    for (std::int64_t u = 0; u < p.classes; ++u) sum += std::exp(static_cast<long double>(x[t * p.classes + u]));
    for (std::int64_t u = 0; u < p.classes; ++u) {
      softmax.push_back(std::exp(static_cast<long double>(x[t * p.classes + u])) / sum);
    }
  }
  long double total = 0;
  std::vector<long double> shares(softmax.size(), 0);
  Labels alignment(static_cast<std::size_t>(steps), 0);
  const Labels wanted = p.labels(n);
  for (bool more = true; more;) {
    if (read(alignment, p.blank) == wanted) {
      long double probability = 1;
      for (std::int64_t t = 0; t < steps; ++t) probability *= softmax[t * p.classes + alignment[t]];
      total += probability;
      for (std::int64_t t = 0; t < steps; ++t) shares[t * p.classes + alignment[t]] += probability;
    }
    std::int64_t t = 0;
    while (t < steps && ++alignment[t] == p.classes) alignment[t++] = 0;
    more = t < steps;
  }
  for (std::size_t k = 0; k < softmax.size(); ++k) {
    gradient[n * p.steps * p.classes + k] = total > 0 ? static_cast<double>(softmax[k] - shares[k] / total) : 0;
  }
  return static_cast<double>(-std::log(total));
}

const std::vector<Labels> every_kind = {{1, 3, 1}, {2, 2}, {}, {3}, {1, 1, 1}, {3, 2, 1, 2}};

template <class T>
void check_sums(std::int64_t blank) {
  std::vector<Labels> kinds = every_kind;
  for (Labels& row : kinds) {
    for (std::int64_t& label : row) label = (label + blank) % 4;  // all labels but the blank, whichever it is
  }
  CtcProblem<T> p(5, 4, blank, kinds);
  p.lengths = {5, 4, 3, 1, 5, 5};
  std::vector<double> expected(p.logits.size(), 0);
  double total = 0;
  const double scale = 0.25;
  for (std::int64_t n = 0; n < p.rows; ++n) {
    const double weight = static_cast<double>(p.weights[n]);
    total += weight * sum_over_alignments(p, n, expected);
    for (std::int64_t k = 0; k < 20; ++k) expected[n * 20 + k] *= scale * weight;
  }
  CHECK_CLOSE(p.loss(scale), total, 1e-13);
  // Probabilities are summed in double, whatever the type of the logits, and the gradient is rounded to it.
  CHECK_ARRAYS_CLOSE(p.gradient, expected, tolerance<T>(1e-7, 1e-14));
  CHECK_EQUAL(p.gradient[2 * 20 + 3 * 4], T(0));  // past a row's length
}

}  // namespace

TEST("CTC against the sum over all alignments") {
  for (std::int64_t blank : {0, 2, 3}) {
    const check::Context context("blank " + std::to_string(blank));
    check_sums<float>(blank);
    check_sums<double>(blank);
  }
}

TEST("the gradient of CTC against finite differences") {
  // More symbols than a vector, more steps than labels by far.
  CtcProblem<double> p(23, 11, 4, {{1, 1, 0, 10, 5}, {3}, {9, 8, 7, 6, 5, 3, 2, 1, 0}});
  p.lengths = {23, 17, 20};
  p.loss();
  const std::vector<double> gradient = p.gradient;
  std::vector<double> differences;
  constexpr double step = 1e-4;
  for (double& logit : p.logits) {
    const double before = logit;
    logit = before + step;
    const double above = p.loss(1, true, false);
    logit = before - step;
    differences.push_back((above - p.loss(1, true, false)) / (2 * step));
    logit = before;
  }
  CHECK_ARRAYS_CLOSE(gradient, differences, 1e-8);  // the step's square
}

TEST("CTC has the same bits for any number of threads") {
  std::vector<Labels> labels;
  for (std::int64_t n = 0; n < 40; ++n) {
    labels.emplace_back();
    for (std::int64_t s = 0; s < n % 13; ++s) labels.back().push_back(1 + (n * s + s) % 29);
  }
  CtcProblem<float> one(60, 30, 0, labels), many = one;
  for (std::int64_t n = 0; n < 40; ++n) one.lengths[n] = many.lengths[n] = 60 - n;
  double expected = 0;
  {
    const ThreadCount threads(1);
    expected = one.loss();
  }
  for (int count : {2, 3, 7}) {
    const ThreadCount threads(count);
    CHECK_EQUAL(many.loss(), expected);
    CHECK_SAME_BITS(many.gradient, one.gradient);
  }
}

TEST("CTC without a gradient") {
  CtcProblem<float> p(9, 5, 0, {{1, 2, 2}, {}, {4}});
  CHECK_EQUAL(p.loss(1, true, false), p.loss());
}

TEST("CTC of targets without any alignment") {
  // Too many labels, equal neighbours that need a blank, no steps at all; an empty target without steps is certain.
  CtcProblem<double> p(3, 3, 0, {{1, 2, 1, 2}, {1, 1}, {1}, {}});
  p.lengths = {3, 2, 0, 0};
  p.weights = {1, 1, 1, 1};
  CHECK_EQUAL(p.loss(), infinity);
  CHECK_SAME_BITS(p.gradient, std::vector<double>(p.gradient.size(), 0.0));
  p.zero_infinite = true;
  CHECK_EQUAL(p.loss(), 0.0);
  CHECK_SAME_BITS(p.gradient, std::vector<double>(p.gradient.size(), 0.0));
}

TEST("CTC of symbols with the logit -infinity") {
  CtcProblem<float> p(4, 3, 0, {{1}, {2}});
  p.weights = {1, 1};
  for (std::int64_t k = 0; k < 24; ++k) p.logits[k] = k % 3 == 2 ? static_cast<float>(-infinity) : 0;
  CHECK_EQUAL(p.loss(), infinity);
  p.zero_infinite = true;
  // Ten of the sixteen alignments of blanks and 1 have one run of it.
  CHECK_CLOSE(p.loss(), std::log(1.6), 1e-14);
  for (std::int64_t k = 0; k < 12; ++k) CHECK_EQUAL(p.gradient[12 + k], 0.0f);
  CHECK_EQUAL(p.gradient[2], 0.0f);
}

TEST("CTC of huge logits") {
  CtcProblem<float> p(2, 2, 0, {{1}});
  p.logits = {3e38f, -3e38f, 3e38f, -3e38f};
  const double top = static_cast<double>(3e38f);
  CHECK_CLOSE(p.loss(1, false), 2 * top, 1e-15);  // one label, one blank
  CHECK_SAME_BITS(p.gradient, std::vector<float>({0.5f, -0.5f, 0.5f, -0.5f}));
}

TEST("the gradient of CTC keeps its digits where the labels are nearly certain") {
  for (float shift : {0.0f, 1e6f}) {
    CtcProblem<float> p(1, 2, 0, {{1}});
    p.logits = {shift, shift + 20};
    const double wrong = std::exp(-20.0);  // 1 - wrong is rounded to a multiple of 1e-16, 5e-8 of it
    CHECK_CLOSE(p.loss(1, false), wrong, 1e-7);
    CHECK_CLOSE(p.gradient[0], wrong, 1e-7);
    CHECK_CLOSE(p.gradient[1], -wrong, 1e-7);
  }
}

TEST("a long CTC does not underflow") {
  // Every alignment has the probability 2^-5000: log p = log(number of alignments with one run of 1) - 5000 log 2.
  CtcProblem<double> p(5000, 2, 0, {{1}});
  std::fill(p.logits.begin(), p.logits.end(), 7.0);
  CHECK_CLOSE(p.loss(1, false), 5000 * std::log(2.0) - std::log(5000.0 * 5001 / 2), 1e-12);
}

TEST("rows of weight 0 are ignored by CTC") {
  CtcProblem<float> p(6, 4, 0, {{1, 2}, {3}, {2}}), without = p;
  p.weights = without.weights = {1, 0, 2};
  p.targets[p.width] = 0;
  p.logits[24 + 5] = std::nanf("");
  CHECK_EQUAL(p.loss(), without.loss());
  CHECK_SAME_BITS(p.gradient, without.gradient);
  for (std::int64_t k = 0; k < 24; ++k) CHECK_EQUAL(p.gradient[24 + k], 0.0f);
}

TEST("CTC propagates NaN, row by row, and never reads past a row's length") {
  for (std::int64_t place : {0, 1, 3, 23}) {  // the blank, a label, a symbol that no label names, the last step
    CtcProblem<float> p(7, 4, 0, {{1, 2}, {2, 1}, {1, 1}});
    p.lengths = {7, 6, 7};
    p.logits[28 + place] = std::nanf("");
    CHECK(std::isnan(p.loss()));
    CHECK(std::isnan(p.gradient[28 + place]));
    CHECK(!std::isnan(p.gradient[0]) && !std::isnan(p.gradient[56]));
  }
  CtcProblem<float> p(7, 4, 0, {{1, 2}, {2, 1}});
  p.lengths = {7, 6};
  const double expected = p.loss();
  p.logits[28 + 6 * 4] = std::nanf("");
  CHECK_EQUAL(p.loss(), expected);
}

TEST("CTC over no rows, and of empty targets only") {
  CtcProblem<float> none(4, 3, 0, {});
  CHECK_EQUAL(none.loss(), 0.0);
  CtcProblem<double> p(3, 2, 1, {{}, {}});
  std::fill(p.logits.begin(), p.logits.end(), 0.0);
  CHECK_CLOSE(p.loss(1, false), 6 * std::log(2.0), 1e-15);
}

TEST("CTC refuses arguments that do not fit and writes nothing") {
  CtcProblem<float> p(4, 3, 0, {{1, 2}, {2}});
  const auto changed = [&](auto change) {
    CtcProblem<float> other = p;
    change(other);
    return other;
  };
  CHECK_THROWS(changed([](auto& o) { o.targets[0] = 3; }).loss(),
               "targets: expected values from 0 to 2 other than the blank, 0, got 3 at position (0, 0)");
  CHECK_THROWS(changed([](auto& o) { o.targets[2] = 0; }).loss(),
               "targets: expected values from 0 to 2 other than the blank, 0, got 0 at position (1, 0)");
  CHECK_THROWS(changed([](auto& o) { o.blank = 3; }).loss(), "blank: expected 0 to 2, got 3");
  CHECK_THROWS(changed([](auto& o) { o.blank = -1; }).loss(), "blank: expected 0 to 2, got -1");
  CHECK_THROWS(changed([](auto& o) { o.lengths[1] = 5; }).loss(), "lengths: expected values from 0 to 4");
  CHECK_THROWS(changed([](auto& o) { o.target_lengths[1] = 3; }).loss(), "target_lengths: expected values from 0 to 2");
  CHECK_THROWS(changed([](auto& o) { o.weights.pop_back(); }).loss(), "weights: expected shape (2,), got (1,)");
  CHECK_THROWS(lstmcore::ctc<float>(view_of(p.logits, {2, 4, 3}), {}, view_of(p.targets, {1, 4}),
                                    flat(p.target_lengths), 0, {}, false, 1, view_of(p.gradient, {2, 4, 3})),
               "targets: expected shape (2, 4), got (1, 4)");
  p.target_lengths[0] = 9;
  CHECK_THROWS(p.loss(), "target_lengths");
  CHECK_SAME_BITS(p.gradient, std::vector<float>(24, 99.0f));
}
