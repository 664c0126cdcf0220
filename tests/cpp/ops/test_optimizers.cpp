// Optimizer steps, norms and clipping against loops in double.
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

// Not a multiple of any vector's length.
constexpr std::int64_t count = 1003;

template <class T>
std::vector<double> wide(const std::vector<T>& values) {
  return std::vector<double>(values.begin(), values.end());
}

// Every step rounds a few times, and ten steps add up.
template <class T>
constexpr double step_tolerance = tolerance<T>(1e-6, 2e-15);

template <class T>
void check_sgd(double momentum, bool nesterov) {
  std::vector<T> parameter = random_values<T>(count, 1), velocity(count, T(0));
  std::vector<double> p = wide(parameter), v(count, 0.0);
  for (std::uint64_t step = 0; step < 10; ++step) {
    const std::vector<T> gradient = random_values<T>(count, 10 + step);
    lstmcore::sgd_step<T>(flat(parameter), flat(gradient), momentum > 0 ? flat(velocity) : View<T, 1>(), 0.05, momentum,
                          nesterov);
    for (std::int64_t k = 0; k < count; ++k) {
      const double push = -0.05 * static_cast<double>(gradient[k]);
      v[k] = momentum * v[k] + push;
      p[k] += nesterov ? momentum * v[k] + push : v[k];
    }
  }
  CHECK_ARRAYS_CLOSE(parameter, p, step_tolerance<T>);
  if (momentum > 0) CHECK_ARRAYS_CLOSE(velocity, v, step_tolerance<T>);
}

template <class T>
void check_rmsprop() {
  std::vector<T> parameter = random_values<T>(count, 1), mean_square(count, T(0));
  std::vector<double> p = wide(parameter), s(count, 0.0);
  for (std::uint64_t step = 0; step < 10; ++step) {
    const std::vector<T> gradient = random_values<T>(count, 10 + step);
    lstmcore::rmsprop_step<T>(flat(parameter), flat(gradient), flat(mean_square), 0.01, 0.99, 1e-7);
    for (std::int64_t k = 0; k < count; ++k) {
      const double g = static_cast<double>(gradient[k]);
      s[k] = 0.99 * s[k] + (1 - 0.99) * g * g;
      p[k] -= 0.01 * g / (std::sqrt(s[k]) + 1e-7);
    }
  }
  CHECK_ARRAYS_CLOSE(parameter, p, step_tolerance<T>);
  CHECK_ARRAYS_CLOSE(mean_square, s, step_tolerance<T>);
}

template <class T>
void check_adam(double weight_decay) {
  std::vector<T> parameter = random_values<T>(count, 1), m(count, T(0)), v(count, T(0));
  std::vector<double> p = wide(parameter), mean(count, 0.0), square(count, 0.0);
  const double beta1 = 0.9, beta2 = 0.999, rate = 0.01, epsilon = 1e-7;
  for (int step = 1; step <= 10; ++step) {
    const std::vector<T> gradient = random_values<T>(count, 10 + static_cast<std::uint64_t>(step));
    lstmcore::adam_step<T>(flat(parameter), flat(gradient), flat(m), flat(v), step, rate, beta1, beta2, epsilon,
                           weight_decay);
    for (std::int64_t k = 0; k < count; ++k) {
      const double g = static_cast<double>(gradient[k]);
      mean[k] = beta1 * mean[k] + (1 - beta1) * g;
      square[k] = beta2 * square[k] + (1 - beta2) * g * g;
      const double m_hat = mean[k] / (1 - std::pow(beta1, step)), v_hat = square[k] / (1 - std::pow(beta2, step));
      p[k] -= rate * (weight_decay * p[k] + m_hat / (std::sqrt(v_hat) + epsilon));
    }
  }
  CHECK_ARRAYS_CLOSE(parameter, p, step_tolerance<T>);
  CHECK_ARRAYS_CLOSE(m, mean, step_tolerance<T>);
  CHECK_ARRAYS_CLOSE(v, square, step_tolerance<T>);
}

template <class T>
std::vector<T> all_steps(std::int64_t size) {
  std::vector<T> p = random_values<T>(size, 1), a(p.size(), T(0.25)), b(p.size(), T(0.5));
  const std::vector<T> gradient = random_values<T>(size, 2);
  lstmcore::sgd_step<T>(flat(p), flat(gradient), flat(a), 0.1, 0.9, true);
  lstmcore::rmsprop_step<T>(flat(p), flat(gradient), flat(b), 0.1, 0.9, 1e-8);
  lstmcore::adam_step<T>(flat(p), flat(gradient), flat(a), flat(b), 3, 0.1, 0.9, 0.99, 1e-8, 0.01);
  lstmcore::scale<T>(flat(p), 1.7);
  lstmcore::clip<T>(flat(p), 1.1);
  p.push_back(static_cast<T>(lstmcore::squared_norm<T>(flat(gradient))));
  return p;
}

}  // namespace

TEST("SGD against loops") {
  for (bool nesterov : {false, true}) {
    check_sgd<float>(0.9, nesterov);
    check_sgd<double>(0.9, nesterov);
    check_sgd<float>(0, nesterov);
    check_sgd<double>(0, nesterov);
  }
}

TEST("RMSprop against loops") {
  check_rmsprop<float>();
  check_rmsprop<double>();
}

TEST("Adam and AdamW against loops") {
  for (double weight_decay : {0.0, 0.1}) {
    check_adam<float>(weight_decay);
    check_adam<double>(weight_decay);
  }
}

TEST("Adam over the whole range of a gradient") {
  // The first step is learning_rate in the gradient's direction, whatever its size, unless 1e-3 of its square is
  // subnormal.
  std::vector<float> p(40, 0.0f), m(40, 0.0f), v(40, 0.0f), gradient;
  for (int k = 0; k < 40; ++k) gradient.push_back(static_cast<float>(std::pow(10.0, k % 20 - 17)));
  gradient[39] = std::numeric_limits<float>::infinity();
  gradient[38] = 0;
  lstmcore::adam_step<float>(flat(p), flat(gradient), flat(m), flat(v), 1, 0.5, 0.9, 0.999, 1e-30, 0);
  for (std::size_t k = 0; k < 38; ++k) CHECK_CLOSE(p[k], -0.5, 1e-3);
  CHECK_EQUAL(p[38], 0.0f);
  CHECK(std::isnan(p[39]));
}

TEST("the steps have the same bits for any number of threads and at any position") {
  const ThreadCount before(1);
  const std::vector<float> single = all_steps<float>(100003);
  const std::vector<double> twice = all_steps<double>(100003);
  for (int threads : {2, 3, 7}) {
    const ThreadCount now(threads);
    CHECK_SAME_BITS(all_steps<float>(100003), single);
    CHECK_SAME_BITS(all_steps<double>(100003), twice);
  }
  std::vector<float> few = all_steps<float>(77);  // the same numbers, of which the last are in a partial vector
  few.pop_back();
  CHECK_SAME_BITS(few, std::vector<float>(single.begin(), single.begin() + 77));
}

TEST("squared norm") {
  for (std::int64_t size : {0, 1, 5, 16, 1003, 100003}) {
    const std::vector<float> values = random_values<float>(size, 5);
    long double sum = 0;
    for (float value : values) sum += static_cast<long double>(value) * static_cast<long double>(value);
    CHECK_CLOSE(lstmcore::squared_norm<float>(flat(values)), static_cast<double>(sum), 1e-13);
  }
  const std::vector<float> large(3, 1e30f);  // the square overflows float
  const double square = static_cast<double>(1e30f) * static_cast<double>(1e30f);
  CHECK_CLOSE(lstmcore::squared_norm<float>(flat(large)), 3 * square, 1e-15);
}

TEST("scale and clip") {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> values;
  for (int k = -20; k <= 20; ++k) values.push_back(static_cast<float>(k) / 4);
  values.push_back(infinity);
  values.push_back(-infinity);
  values.push_back(std::nanf(""));
  std::vector<float> clipped = values, scaled = values;
  lstmcore::clip<float>(flat(clipped), 2.5);
  lstmcore::scale<float>(flat(scaled), 0.5);
  for (std::size_t k = 0; k + 1 < values.size(); ++k) {
    CHECK_EQUAL(clipped[k], std::fmin(std::fmax(values[k], -2.5f), 2.5f));
    CHECK_EQUAL(scaled[k], values[k] * 0.5f);
  }
  CHECK(std::isnan(clipped.back()));
  CHECK(std::isnan(scaled.back()));
}

TEST("optimizer steps refuse arguments that do not fit and write nothing") {
  std::vector<float> p(5, 1.0f), slot(5, 1.0f), other(4, 1.0f);
  const std::vector<float> gradient(5, 1.0f);
  CHECK_THROWS(lstmcore::sgd_step<float>(flat(p), flat(other), {}, 0.1, 0, false),
               "gradient: expected shape (5,), got (4,)");
  CHECK_THROWS(lstmcore::sgd_step<float>(flat(p), flat(gradient), {}, 0.1, 0.9, false), "velocity: ");
  CHECK_THROWS(lstmcore::sgd_step<float>(flat(p), flat(gradient), flat(slot), 0.1, 1.5, false), "momentum: ");
  CHECK_THROWS(lstmcore::sgd_step<float>(flat(p), flat(gradient), {}, std::nan(""), 0, false), "learning_rate: ");
  CHECK_THROWS(lstmcore::rmsprop_step<float>(flat(p), flat(gradient), flat(other), 0.1, 0.9, 1e-7), "mean_square: ");
  CHECK_THROWS(lstmcore::rmsprop_step<float>(flat(p), flat(gradient), flat(slot), 0.1, 0.9, -1), "epsilon: ");
  CHECK_THROWS(lstmcore::adam_step<float>(flat(p), flat(gradient), flat(slot), flat(slot), 0, 0.1, 0.9, 0.999, 1e-7, 0),
               "step: expected a number >= 1, got 0");
  CHECK_THROWS(lstmcore::adam_step<float>(flat(p), flat(gradient), flat(slot), flat(slot), 1, 0.1, 0.9, 1, 1e-7, 0),
               "beta2: ");
  CHECK_THROWS(lstmcore::clip<float>(flat(p), -1), "limit: expected a number >= 0, got -1");
  CHECK_THROWS(lstmcore::clip<float>(flat(p), std::nan("")), "limit: ");
  CHECK_THROWS(lstmcore::scale<float>(View<float, 1>(p.data(), {2}, {2}), 2), "values: expected contiguous");
  CHECK_SAME_BITS(p, std::vector<float>(5, 1.0f));
  CHECK_SAME_BITS(slot, p);
}
