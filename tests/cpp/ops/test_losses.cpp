// The losses against loops in long double and against finite differences.
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

template <class T>
struct Problem {
  std::int64_t rows, classes;
  std::vector<T> logits, targets, weights, gradient;
  std::vector<std::int64_t> labels;

  Problem(std::int64_t m, std::int64_t u) : rows(m), classes(u) {
    logits = random_values<T>(m * u, 1, 8);
    targets = random_values<T>(m * u, 2);
    for (T& target : targets) target = target < 0 ? T(0) : target;  // rows need not sum to 1, some entries are 0
    weights = random_values<T>(m, 3);
    for (std::int64_t row = 0; row < m; ++row) labels.push_back(row * 7 % u);
    gradient.assign(logits.size(), T(99));
  }

  double by_label(double scale, bool weighted = true) {
    return lstmcore::softmax_cross_entropy<T>(view_of(logits, {rows, classes}), flat(labels), chosen(weighted), scale,
                                              view_of(gradient, {rows, classes}));
  }
  double by_target(double scale, bool weighted = true) {
    return lstmcore::softmax_cross_entropy<T>(view_of(logits, {rows, classes}),
                                              View<const T, 2>(view_of(targets, {rows, classes})), chosen(weighted),
                                              scale, view_of(gradient, {rows, classes}));
  }
  double squared(double scale, bool weighted = true) {
    return lstmcore::mean_squared_error<T>(view_of(logits, {rows, classes}), view_of(targets, {rows, classes}),
                                           chosen(weighted), scale, view_of(gradient, {rows, classes}));
  }

  View<const T, 1> chosen(bool weighted) { return weighted ? View<const T, 1>(flat(weights)) : View<const T, 1>(); }
  std::vector<T> one_hot() const {
    std::vector<T> hot(logits.size(), T(0));
    for (std::int64_t m = 0; m < rows; ++m) hot[m * classes + labels[m]] = 1;
    return hot;
  }
};

struct Expected {
  double loss = 0;
  std::vector<double> gradient;
};

// Softmax cross-entropy with targets, as in textbooks, in long double.
template <class T>
Expected cross_entropy(const Problem<T>& p, const std::vector<T>& targets, double scale, bool weighted) {
  Expected expected;
  long double loss = 0;
  for (std::int64_t m = 0; m < p.rows; ++m) {
    const long double weight = weighted ? static_cast<long double>(p.weights[m]) : 1.0L;
    const T *x = &p.logits[m * p.classes], *target = &targets[m * p.classes];
    long double sum = 0, mass = 0;
    for (std::int64_t u = 0; u < p.classes; ++u) {
      sum += std::exp(static_cast<long double>(x[u]));
      mass += static_cast<long double>(target[u]);
    }
    for (std::int64_t u = 0; u < p.classes; ++u) {
      const long double softmax = std::exp(static_cast<long double>(x[u])) / sum;
      loss -= weight * static_cast<long double>(target[u]) * std::log(softmax);
      expected.gradient.push_back(static_cast<double>(static_cast<long double>(scale) * weight *
                                                      (mass * softmax - static_cast<long double>(target[u]))));
    }
  }
  expected.loss = static_cast<double>(loss);
  return expected;
}

template <class T>
Expected squared_error(const Problem<T>& p, double scale, bool weighted) {
  Expected expected;
  for (std::int64_t k = 0; k < p.rows * p.classes; ++k) {
    const double weight = weighted ? static_cast<double>(p.weights[k / p.classes]) : 1.0;
    const double error = static_cast<double>(p.logits[k]) - static_cast<double>(p.targets[k]);
    expected.loss += weight * error * error / static_cast<double>(p.classes);
    expected.gradient.push_back(scale * weight * 2 / static_cast<double>(p.classes) * error);
  }
  return expected;
}

// The sum of exponentials is in double, each of them as accurate as its type: 4e-7 in float.
template <class T>
void check_losses(std::int64_t rows, std::int64_t classes, bool weighted) {
  const check::Context context("M " + std::to_string(rows) + " U " + std::to_string(classes));
  Problem<T> p(rows, classes);
  const double scale = 0.125;
  Expected expected = cross_entropy(p, p.one_hot(), scale, weighted);
  CHECK_CLOSE(p.by_label(scale, weighted), expected.loss, tolerance<T>(4e-7, 1e-13));
  CHECK_ARRAYS_CLOSE(p.gradient, expected.gradient, tolerance<T>(4e-7, 1e-14));
  expected = cross_entropy(p, p.targets, scale, weighted);
  CHECK_CLOSE(p.by_target(scale, weighted), expected.loss, tolerance<T>(4e-7, 1e-13));
  CHECK_ARRAYS_CLOSE(p.gradient, expected.gradient, tolerance<T>(4e-7, 1e-14));
  expected = squared_error(p, scale, weighted);
  CHECK_CLOSE(p.squared(scale, weighted), expected.loss, 1e-13);
  CHECK_ARRAYS_CLOSE(p.gradient, expected.gradient, tolerance<T>(1e-7, 1e-15));
}

template <class Loss>
void check_differences(Problem<double>& p, Loss loss) {
  constexpr double step = 1e-4;
  loss(1.0);
  const std::vector<double> gradient = p.gradient;
  std::vector<double> differences;
  for (double& logit : p.logits) {
    const double before = logit;
    logit = before + step;
    const double above = loss(1.0);
    logit = before - step;
    differences.push_back((above - loss(1.0)) / (2 * step));
    logit = before;
  }
  CHECK_ARRAYS_CLOSE(gradient, differences, 1e-8);  // the step's square
}

}  // namespace

TEST("losses and their gradients against loops") {
  // Two classes, one, a little more than a vector, and a row that is larger than a chunk of scratch.
  for (std::int64_t classes : {2, 1, 5, 19, 5000}) {
    for (bool weighted : {false, true}) {
      check_losses<float>(classes == 5000 ? 3 : 67, classes, weighted);
      check_losses<double>(classes == 5000 ? 3 : 67, classes, weighted);
    }
  }
}

TEST("loss gradients against finite differences") {
  Problem<double> p(4, 5);
  check_differences(p, [&](double scale) { return p.by_label(scale); });
  check_differences(p, [&](double scale) { return p.by_target(scale); });
  check_differences(p, [&](double scale) { return p.squared(scale); });
}

TEST("losses have the same bits for any number of threads") {
  Problem<float> one(3000, 50), many = one;
  for (int count : {2, 3, 7}) {
    for (auto loss : {&Problem<float>::by_label, &Problem<float>::by_target, &Problem<float>::squared}) {
      double expected = 0, actual = 0;
      {
        const ThreadCount threads(1);
        expected = (one.*loss)(1.0, true);
      }
      const ThreadCount threads(count);
      actual = (many.*loss)(1.0, true);
      CHECK_EQUAL(actual, expected);
      CHECK_SAME_BITS(many.gradient, one.gradient);
    }
  }
}

TEST("losses without a gradient") {
  Problem<float> p(40, 3);
  const View<const float, 2> logits = view_of(p.logits, {40, 3}), targets = view_of(p.targets, {40, 3});
  CHECK_EQUAL(lstmcore::softmax_cross_entropy<float>(logits, flat(p.labels), flat(p.weights), 1, {}), p.by_label(1));
  CHECK_EQUAL(lstmcore::softmax_cross_entropy<float>(logits, targets, flat(p.weights), 1, {}), p.by_target(1));
  CHECK_EQUAL(lstmcore::mean_squared_error<float>(logits, targets, flat(p.weights), 1, {}), p.squared(1));
}

TEST("cross-entropy of huge logits") {
  Problem<float> p(3, 3);
  p.logits = {3e38f, -3e38f, 0, 1e30f, 1e30f, -1e30f, -1e4f, -1e4f, -1e4f};
  p.labels = {1, 0, 2};
  const double top = static_cast<double>(3e38f);
  CHECK_CLOSE(p.by_label(1, false), 2 * top + std::log(2.0) + std::log(3.0), 1e-15);
  const std::vector<float> third(3, 1.0f / 3);
  CHECK_SAME_BITS(std::vector<float>(p.gradient.begin(), p.gradient.begin() + 6),
                  std::vector<float>({1, -1, 0, -0.5f, 0.5f, 0}));
  CHECK_ARRAYS_CLOSE(std::vector<float>(p.gradient.begin() + 6, p.gradient.end()),
                     std::vector<float>({third[0], third[1], third[2] - 1}), 1e-7);
}

TEST("the gradient of a correct prediction keeps its digits") {
  Problem<float> p(1, 2);
  p.logits = {20, 0};
  p.labels = {0};
  const double wrong = std::exp(-20.0);  // in float, 1 - wrong is 1; in double it keeps seven digits of `wrong`
  CHECK_CLOSE(p.by_label(1, false), wrong, 1e-6);
  CHECK_CLOSE(p.gradient[0], -wrong, 1e-6);
  CHECK_CLOSE(p.gradient[1], wrong, 1e-6);
}

TEST("rows of weight 0 are ignored") {
  Problem<float> p(5, 4), without(5, 4);
  p.weights = {1, 0, 2, 0, 1};
  without.weights = p.weights;
  p.labels[1] = -7;
  p.labels[3] = 1000;
  p.logits[4] = std::nanf("");
  p.logits[13] = std::numeric_limits<float>::infinity();
  CHECK_EQUAL(p.by_label(1), without.by_label(1));
  CHECK_SAME_BITS(p.gradient, without.gradient);
  CHECK_EQUAL(p.by_target(1), without.by_target(1));
  CHECK_SAME_BITS(p.gradient, without.gradient);
  CHECK_EQUAL(p.squared(1), without.squared(1));
  CHECK_SAME_BITS(p.gradient, without.gradient);
  for (std::int64_t u = 0; u < 4; ++u) CHECK_EQUAL(p.gradient[4 + u], 0.0f);
}

TEST("losses propagate NaN, row by row") {
  for (auto loss : {&Problem<float>::by_label, &Problem<float>::by_target, &Problem<float>::squared}) {
    for (std::int64_t place : {0, 1, 8, 20}) {  // the label's own class, another one, a late one
      Problem<float> p(3, 21);
      p.logits[21 + place] = std::nanf("");
      p.labels[1] = 0;
      p.targets.assign(p.targets.size(), 0.5f);
      CHECK(std::isnan((p.*loss)(1, true)));
      CHECK(std::isnan(p.gradient[21 + place]));
      CHECK(!std::isnan(p.gradient[0]) && !std::isnan(p.gradient[42]));
    }
  }
}

TEST("a class whose target is 0 may have the logit -infinity") {
  Problem<double> p(1, 3);
  p.logits = {0, -std::numeric_limits<double>::infinity(), 0};
  p.targets = {1, 0, 0};
  p.labels = {0};
  CHECK_CLOSE(p.by_target(1, false), std::log(2.0), 1e-15);
  CHECK_CLOSE(p.by_label(1, false), std::log(2.0), 1e-15);
  CHECK_SAME_BITS(p.gradient, std::vector<double>({-0.5, 0, 0.5}));
}

TEST("losses over no rows") {
  Problem<float> p(0, 3);
  CHECK_EQUAL(p.by_label(1), 0.0);
  CHECK_EQUAL(p.by_target(1), 0.0);
  CHECK_EQUAL(p.squared(1), 0.0);
}

TEST("losses refuse arguments that do not fit and write nothing") {
  Problem<float> p(4, 3);
  p.weights = {1, 1, 1, 1};
  p.labels = {0, 1, 3, 2};
  CHECK_THROWS(p.by_label(1), "labels: expected values from 0 to 2, got 3 at position 2");
  p.labels = {0, 1, 2, -1};
  CHECK_THROWS(p.by_label(1), "labels: expected values from 0 to 2, got -1 at position 3");
  p.labels = {0, 1, 2};
  CHECK_THROWS(p.by_label(1), "labels: expected shape (4,), got (3,)");
  p.weights = {1};
  CHECK_THROWS(p.by_target(1), "weights: expected shape (4,), got (1,)");
  CHECK_THROWS(p.squared(1), "weights: expected shape (4,), got (1,)");
  CHECK_THROWS(lstmcore::mean_squared_error<float>(view_of(p.logits, {4, 3}), view_of(p.targets, {3, 4}), {}, 1, {}),
               "target: expected shape (4, 3), got (3, 4)");
  CHECK_THROWS(lstmcore::softmax_cross_entropy<float>(view_of(p.logits, {4, 3}),
                                                      View<const float, 2>(view_of(p.targets, {3, 4})), {}, 1, {}),
               "targets: expected shape (4, 3), got (3, 4)");
  CHECK_SAME_BITS(p.gradient, std::vector<float>(12, 99.0f));
}
