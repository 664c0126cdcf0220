// The dense layer against loops in double and against finite differences.
#include <cmath>
#include <lstmcore/ops.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "ops_kit.hpp"
#include "random.hpp"

using lstmcore::Activation;
using lstmcore::View;

namespace {

constexpr Activation activations[] = {Activation::linear, Activation::relu, Activation::tanh, Activation::sigmoid,
                                      Activation::softmax};

template <class T>
struct Dense {
  std::int64_t rows, features, units;
  Activation activation;
  std::vector<T> x, kernel, bias, y, dy, dx, dkernel, dbias;

  Dense(std::int64_t m, std::int64_t c, std::int64_t u, Activation how)
      : rows(m), features(c), units(u), activation(how) {
    x = random_values<T>(m * c, 1);
    kernel = random_values<T>(c * u, 2);
    bias = random_values<T>(u, 3);
    dy = random_values<T>(m * u, 4);
    y.assign(static_cast<std::size_t>(m * u), T(99));
    dx.assign(x.size(), T(99));
    dkernel.assign(kernel.size(), T(99));
    dbias.assign(bias.size(), T(99));
  }

  void forward(bool with_bias = true) {
    lstmcore::dense_forward<T>(view_of(x, {rows, features}), view_of(kernel, {features, units}),
                               with_bias ? View<const T, 1>(flat(bias)) : View<const T, 1>(), activation,
                               view_of(y, {rows, units}));
  }

  void backward() {
    lstmcore::dense_backward<T>(view_of(x, {rows, features}), view_of(kernel, {features, units}),
                                view_of(y, {rows, units}), view_of(dy, {rows, units}), activation,
                                view_of(dx, {rows, features}), view_of(dkernel, {features, units}), flat(dbias));
  }
};

void activate(Activation activation, double* y, std::int64_t units) {
  double sum = 0;
  for (std::int64_t u = 0; u < units; ++u) sum += std::exp(y[u]);
  for (std::int64_t u = 0; u < units; ++u) {
    switch (activation) {
      case Activation::linear:
        break;
      case Activation::relu:
        y[u] = std::fmax(y[u], 0.0);
        break;
      case Activation::tanh:
        y[u] = std::tanh(y[u]);
        break;
      case Activation::sigmoid:
        y[u] = 1 / (1 + std::exp(-y[u]));
        break;
      case Activation::softmax:
        y[u] = std::exp(y[u]) / sum;
        break;
    }
  }
}

template <class T>
std::vector<double> forward_in_double(const Dense<T>& d, bool with_bias) {
  std::vector<double> y(d.y.size());
  for (std::int64_t m = 0; m < d.rows; ++m) {
    for (std::int64_t u = 0; u < d.units; ++u) {
      double sum = with_bias ? static_cast<double>(d.bias[u]) : 0.0;
      for (std::int64_t c = 0; c < d.features; ++c) {
        sum += static_cast<double>(d.x[m * d.features + c]) * static_cast<double>(d.kernel[c * d.units + u]);
      }
      y[m * d.units + u] = sum;
    }
    activate(d.activation, &y[m * d.units], d.units);
  }
  return y;
}

// Replaces dy of one row with dz, with the textbook Jacobian.
void activate_backward(Activation activation, const double* y, double* dy, std::int64_t units) {
  double sum = 0;
  for (std::int64_t u = 0; u < units; ++u) sum += dy[u] * y[u];
  for (std::int64_t u = 0; u < units; ++u) {
    switch (activation) {
      case Activation::linear:
        break;
      case Activation::relu:
        dy[u] = y[u] > 0 ? dy[u] : 0;
        break;
      case Activation::tanh:
        dy[u] *= 1 - y[u] * y[u];
        break;
      case Activation::sigmoid:
        dy[u] *= y[u] * (1 - y[u]);
        break;
      case Activation::softmax:
        dy[u] = y[u] * (dy[u] - sum);
        break;
    }
  }
}

struct Gradients {
  std::vector<double> x, kernel, bias;
};

template <class T>
Gradients backward_in_double(const Dense<T>& d) {
  Gradients g{std::vector<double>(d.x.size()), std::vector<double>(d.kernel.size()),
              std::vector<double>(d.bias.size())};
  const std::vector<double> y(d.y.begin(), d.y.end());
  std::vector<double> dz(d.dy.begin(), d.dy.end());
  for (std::int64_t m = 0; m < d.rows; ++m) {
    activate_backward(d.activation, &y[m * d.units], &dz[m * d.units], d.units);
    for (std::int64_t u = 0; u < d.units; ++u) {
      const double gradient = dz[m * d.units + u];
      g.bias[u] += gradient;
      for (std::int64_t c = 0; c < d.features; ++c) {
        g.x[m * d.features + c] += gradient * static_cast<double>(d.kernel[c * d.units + u]);
        g.kernel[c * d.units + u] += gradient * static_cast<double>(d.x[m * d.features + c]);
      }
    }
  }
  return g;
}

struct Shape {
  std::int64_t rows, features, units;
};

// One of everything; the classes of a classifier; one column more than a panel of the widest and of the narrowest
// vectors; more rows than a chunk of 192 and a chunk of 256.
constexpr Shape shapes[] = {{1, 1, 1}, {32, 70, 2}, {33, 7, 5}, {6, 19, 65}, {7, 3, 9}, {421, 33, 130}};

template <class T>
void check_shape(const Shape& shape, Activation activation) {
  const check::Context context("M " + std::to_string(shape.rows) + " C " + std::to_string(shape.features) + " U " +
                               std::to_string(shape.units) + " activation " +
                               std::to_string(static_cast<int>(activation)));
  Dense<T> d(shape.rows, shape.features, shape.units, activation);
  // One running sum of up to 70 products of numbers below 1: partial sums reach about 4, and each addition rounds.
  d.forward(false);
  CHECK_ARRAYS_CLOSE(d.y, forward_in_double(d, false), tolerance<T>(2e-6, 4e-15));
  d.forward();
  CHECK_ARRAYS_CLOSE(d.y, forward_in_double(d, true), tolerance<T>(2e-6, 4e-15));
  // The sums over 421 rows are larger, and so is the entry to which errors are relative. Rounding of an activation
  // weighs more in its derivative: near y = 1, 1 - y^2 loses as many bits as y^2 has leading ones.
  d.backward();
  const Gradients expected = backward_in_double(d);
  CHECK_ARRAYS_CLOSE(d.dx, expected.x, tolerance<T>(2e-6, 1e-14));
  CHECK_ARRAYS_CLOSE(d.dkernel, expected.kernel, tolerance<T>(2e-6, 1e-14));
  CHECK_ARRAYS_CLOSE(d.dbias, expected.bias, tolerance<T>(2e-6, 1e-14));
}

double weighted_sum(Dense<double>& d) {
  d.forward();
  double sum = 0;
  for (std::size_t k = 0; k < d.y.size(); ++k) sum += d.dy[k] * d.y[k];
  return sum;
}

std::vector<double> central_differences(Dense<double>& d, std::vector<double>& argument) {
  constexpr double step = 1e-5;
  std::vector<double> gradient;
  for (double& value : argument) {
    const double before = value;
    value = before + step;
    const double above = weighted_sum(d);
    value = before - step;
    gradient.push_back((above - weighted_sum(d)) / (2 * step));
    value = before;
  }
  return gradient;
}

template <class T>
void check_threads(std::int64_t rows, std::int64_t features, std::int64_t units) {
  Dense<T> one(rows, features, units, Activation::softmax), many = one;
  {
    const ThreadCount threads(1);
    one.forward();
    one.backward();
  }
  for (int count : {2, 3, 7}) {
    const check::Context context("threads " + std::to_string(count) + ", M " + std::to_string(rows));
    const ThreadCount threads(count);
    many.forward();
    many.backward();
    CHECK_SAME_BITS(many.y, one.y);
    CHECK_SAME_BITS(many.dx, one.dx);
    CHECK_SAME_BITS(many.dkernel, one.dkernel);
    CHECK_SAME_BITS(many.dbias, one.dbias);
  }
}

}  // namespace

TEST("dense forward and backward against loops") {
  for (const Shape& shape : shapes) {
    for (Activation activation : activations) {
      check_shape<float>(shape, activation);
      check_shape<double>(shape, activation);
    }
  }
}

TEST("dense gradients against finite differences") {
  for (Activation activation : activations) {
    const check::Context context("activation " + std::to_string(static_cast<int>(activation)));
    Dense<double> d(5, 4, 3, activation);
    d.forward();
    d.backward();
    // Central differences with a step of 1e-5 err by 1e-10 (truncation) and 1e-11 (rounding).
    CHECK_ARRAYS_CLOSE(d.dx, central_differences(d, d.x), 1e-9);
    CHECK_ARRAYS_CLOSE(d.dkernel, central_differences(d, d.kernel), 1e-9);
    CHECK_ARRAYS_CLOSE(d.dbias, central_differences(d, d.bias), 1e-9);
  }
}

TEST("dense has the same bits for any number of threads") {
  check_threads<float>(700, 40, 70);  // rows are divided among threads
  check_threads<double>(300, 40, 70);
  check_threads<float>(5, 600, 1200);  // too few rows: columns are divided
  check_threads<float>(9000, 3, 5);    // a small kernel, summed over many rows
}

TEST("a dense row has the same bits alone and in a batch") {
  for (Activation activation : activations) {
    Dense<float> all(50, 37, 21, activation);
    all.forward();
    for (std::int64_t row : {0, 13, 49}) {
      Dense<float> alone(1, 37, 21, activation);
      alone.x.assign(all.x.begin() + row * 37, all.x.begin() + (row + 1) * 37);
      alone.forward();
      CHECK_SAME_BITS(alone.y, std::vector<float>(all.y.begin() + row * 21, all.y.begin() + (row + 1) * 21));
    }
  }
}

TEST("dense computes only the requested gradients") {
  Dense<float> all(9, 6, 5, Activation::tanh);
  all.forward();
  all.backward();
  Dense<float> d(9, 6, 5, Activation::tanh);
  d.forward();
  const View<const float, 2> x = view_of(d.x, {9, 6}), kernel = view_of(d.kernel, {6, 5}), y = view_of(d.y, {9, 5}),
                             dy = view_of(d.dy, {9, 5});
  lstmcore::dense_backward<float>(x, kernel, y, dy, d.activation, {}, {}, flat(d.dbias));
  CHECK_SAME_BITS(d.dbias, all.dbias);
  CHECK_EQUAL(d.dkernel[0], 99.0f);
  lstmcore::dense_backward<float>(x, kernel, y, dy, d.activation, view_of(d.dx, {9, 6}), {}, {});
  CHECK_SAME_BITS(d.dx, all.dx);
  CHECK_EQUAL(d.dkernel[0], 99.0f);
  lstmcore::dense_backward<float>(x, kernel, y, dy, d.activation, {}, view_of(d.dkernel, {6, 5}), {});
  CHECK_SAME_BITS(d.dkernel, all.dkernel);
}

TEST("dense over no rows") {
  Dense<float> d(0, 3, 2, Activation::softmax);
  d.forward();
  d.backward();
  CHECK_SAME_BITS(d.dkernel, std::vector<float>(6, 0.0f));
  CHECK_SAME_BITS(d.dbias, std::vector<float>(2, 0.0f));
}

TEST("dense propagates NaN, row by row") {
  for (Activation activation : activations) {
    const check::Context context("activation " + std::to_string(static_cast<int>(activation)));
    Dense<float> d(4, 3, 20, activation);
    d.x[3] = std::nanf("");
    d.forward();
    d.backward();
    for (std::int64_t u = 0; u < 20; ++u) {
      CHECK(!std::isnan(d.y[u]) && !std::isnan(d.y[40 + u]));
      CHECK(std::isnan(d.y[20 + u]));
      CHECK(std::isnan(d.dkernel[u]));
    }
  }
}

TEST("softmax of huge numbers") {
  for (std::int64_t units : {2, 5, 40}) {
    Dense<float> d(1, 1, units, Activation::softmax);
    d.x = {1};
    d.kernel.assign(static_cast<std::size_t>(units), -3e38f);
    d.kernel[1] = 3e38f;
    d.forward(false);
    std::vector<float> expected(static_cast<std::size_t>(units), 0.0f);
    expected[1] = 1;
    CHECK_SAME_BITS(d.y, expected);
  }
}

TEST("dense refuses arguments that do not fit and writes nothing") {
  Dense<float> d(4, 3, 2, Activation::linear);
  const View<const float, 2> x = view_of(d.x, {4, 3}), kernel = view_of(d.kernel, {3, 2});
  const auto forward = [&](View<const float, 2> a, View<const float, 2> b, View<const float, 1> c, View<float, 2> out) {
    lstmcore::dense_forward<float>(a, b, c, Activation::linear, out);
  };
  const View<float, 2> y = view_of(d.y, {4, 2});
  CHECK_THROWS(forward(view_of(d.x, {6, 2}), kernel, {}, y), "x: expected shape (M, 3)");
  CHECK_THROWS(forward({}, kernel, {}, y), "x: ");
  CHECK_THROWS(forward(x, kernel, view_of(d.bias, {1}), y), "bias: expected shape (2,), got (1,)");
  CHECK_THROWS(forward(x, kernel, {}, view_of(d.y, {2, 4})), "y: expected shape (4, 2), got (2, 4)");
  CHECK_THROWS(forward(x, View<const float, 2>(d.kernel.data(), {3, 2}, {1, 3}), {}, y), "kernel: expected contiguous");
  CHECK_THROWS(forward(View<const float, 2>(nullptr, {4, 3}), kernel, {}, y), "x: expected an array, got none");
  CHECK_THROWS(forward(x, kernel, {}, View<float, 2>(d.y.data(), {-4, 2})), "y: expected shape (4, 2), got (-4, 2)");
  CHECK_SAME_BITS(d.y, std::vector<float>(8, 99.0f));
  CHECK_THROWS(lstmcore::dense_backward<float>(x, kernel, view_of(d.y, {4, 2}), view_of(d.dy, {4, 2}),
                                               Activation::linear, view_of(d.dx, {4, 3}), {}, view_of(d.dbias, {1})),
               "dbias: expected shape (2,), got (1,)");
  CHECK_SAME_BITS(d.dx, std::vector<float>(12, 99.0f));
}
