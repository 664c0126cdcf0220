// Layer normalization against loops in double and against finite differences.
#include <algorithm>
#include <cmath>
#include <lstmcore/ops.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "ops_kit.hpp"
#include "random.hpp"

using lstmcore::View;
using Index = std::int64_t;

namespace {

template <class T>
struct Normalization {
  Index batch, steps, width;
  bool affine;
  double epsilon = 1e-3;
  std::vector<Index> lengths;
  std::vector<T> x, gain, shift, y, moments, dy, dx, dgain, dshift;

  Normalization(Index n, Index t, Index c, bool with_weights, std::vector<Index> valid = {})
      : batch(n), steps(t), width(c), affine(with_weights), lengths(std::move(valid)) {
    x = random_values<T>(n * t * c, 1);
    for (T& value : x) value += T(3);
    gain = random_values<T>(c, 2);
    shift = random_values<T>(c, 3);
    dy = random_values<T>(n * t * c, 4);
    y.assign(x.size(), T(99));
    moments.assign(static_cast<std::size_t>(2 * n * t), T(99));
    dx.assign(x.size(), T(99));
    dgain.assign(gain.size(), T(99));
    dshift.assign(gain.size(), T(99));
  }

  View<const Index, 1> lengths_view() const { return lengths.empty() ? View<const Index, 1>() : flat(lengths); }
  View<const T, 1> factor() const { return affine ? flat(gain) : View<const T, 1>(); }
  Index length(Index n) const { return lengths.empty() ? steps : lengths[n]; }

  void forward() {
    lstmcore::layer_norm_forward<T>(view_of(x, {batch, steps, width}), lengths_view(), factor(),
                                    affine ? View<const T, 1>(flat(shift)) : View<const T, 1>(), epsilon,
                                    view_of(y, {batch, steps, width}), view_of(moments, {batch, steps, 2}));
  }

  void backward() {
    lstmcore::layer_norm_backward<T>(view_of(x, {batch, steps, width}), lengths_view(), factor(),
                                     view_of(moments, {batch, steps, 2}), view_of(dy, {batch, steps, width}),
                                     view_of(dx, {batch, steps, width}), flat(dgain), flat(dshift));
  }
};

template <class T>
void check_all(Normalization<T> d) {
  const check::Context context("width " + std::to_string(d.width));
  d.forward();
  d.backward();
  std::vector<double> y(d.x.size(), 0.0), dx(d.x.size(), 0.0), dgain(d.gain.size(), 0.0), dshift(d.gain.size(), 0.0);
  const double count = static_cast<double>(d.width);
  for (Index n = 0; n < d.batch; ++n) {
    for (Index t = 0; t < d.length(n); ++t) {
      const Index row = (n * d.steps + t) * d.width;
      double mean = 0, square = 0, slope = 0, tilt = 0;
      for (Index c = 0; c < d.width; ++c) mean += static_cast<double>(d.x[row + c]) / count;
      for (Index c = 0; c < d.width; ++c) square += std::pow(static_cast<double>(d.x[row + c]) - mean, 2) / count;
      const double scale = 1 / std::sqrt(square + d.epsilon);
      const auto z = [&](Index c) { return (static_cast<double>(d.x[row + c]) - mean) * scale; };
      const auto g = [&](Index c) {
        return static_cast<double>(d.dy[row + c]) * (d.affine ? static_cast<double>(d.gain[c]) : 1.0);
      };
      for (Index c = 0; c < d.width; ++c) {
        y[row + c] = d.affine ? z(c) * static_cast<double>(d.gain[c]) + static_cast<double>(d.shift[c]) : z(c);
        slope += g(c) / count;
        tilt += g(c) * z(c) / count;
        dgain[c] += static_cast<double>(d.dy[row + c]) * z(c);
        dshift[c] += static_cast<double>(d.dy[row + c]);
      }
      for (Index c = 0; c < d.width; ++c) dx[row + c] = scale * (g(c) - slope - z(c) * tilt);
    }
  }
  // x is about five standard deviations from zero, and 1 / sqrt(epsilon) of a row with one feature is 32.
  const double error = tolerance<T>(2e-5, 4e-14);
  CHECK_ARRAYS_CLOSE(d.y, y, error);
  CHECK_ARRAYS_CLOSE(d.dgain, dgain, error);
  CHECK_ARRAYS_CLOSE(d.dshift, dshift, error);
  if (d.width > 1) CHECK_ARRAYS_CLOSE(d.dx, dx, error);
}

std::vector<double> central_differences(Normalization<double>& d, std::vector<double>& values) {
  const double step = 1e-5;
  std::vector<double> result;
  const auto loss = [&] {
    d.forward();
    double sum = 0;
    for (std::size_t k = 0; k < d.y.size(); ++k) sum += d.y[k] * d.dy[k];
    return sum;
  };
  for (double& value : values) {
    const double before = value;
    value = before + step;
    const double above = loss();
    value = before - step;
    const double below = loss();
    value = before;
    result.push_back((above - below) / (2 * step));
  }
  return result;
}

}  // namespace

TEST("layer normalization against loops") {
  for (const Index width : {1, 2, 3, 7, 8, 15, 16, 17, 33, 64, 100, 257}) {
    for (const bool affine : {false, true}) {
      check_all(Normalization<float>(3, 5, width, affine));
      check_all(Normalization<double>(4, 5, width, affine, {5, 0, 1, 3}));
    }
  }
  check_all(Normalization<float>(7, 100, 9, true));  // several groups of steps
}

TEST("layer normalization gradients against finite differences") {
  for (const bool affine : {false, true}) {
    Normalization<double> d(3, 4, 5, affine, {4, 2, 0});
    d.forward();
    d.backward();
    const Normalization<double> result = d;
    CHECK_ARRAYS_CLOSE(result.dx, central_differences(d, d.x), 1e-8);
    if (!affine) continue;
    CHECK_ARRAYS_CLOSE(result.dgain, central_differences(d, d.gain), 1e-9);
    CHECK_ARRAYS_CLOSE(result.dshift, central_differences(d, d.shift), 1e-9);
  }
}

TEST("layer normalization has the same bits for any number of threads, and whatever the padding") {
  Normalization<float> one(30, 90, 65, true, std::vector<Index>(30, 80));
  {
    const ThreadCount threads(1);
    one.forward();
    one.backward();
  }
  for (const int count : {2, 3, 7}) {
    const ThreadCount threads(count);
    Normalization<float> many = one;
    many.forward();
    many.backward();
    CHECK_SAME_BITS(many.y, one.y);
    CHECK_SAME_BITS(many.dx, one.dx);
    CHECK_SAME_BITS(many.dgain, one.dgain);
    CHECK_SAME_BITS(many.dshift, one.dshift);
  }
  Normalization<float> cut(30, 80, 65, true);
  for (Index n = 0; n < 30; ++n) {
    std::copy_n(one.x.begin() + n * 90 * 65, 80 * 65, cut.x.begin() + n * 80 * 65);
    std::copy_n(one.dy.begin() + n * 90 * 65, 80 * 65, cut.dy.begin() + n * 80 * 65);
  }
  cut.forward();
  cut.backward();
  CHECK_SAME_BITS(cut.dgain, one.dgain);
  CHECK_SAME_BITS(cut.dshift, one.dshift);
}

TEST("layer normalization propagates NaN, step by step") {
  Normalization<float> d(1, 3, 20, true);
  d.x[25] = std::nanf("");
  d.forward();
  for (Index c = 0; c < 20; ++c) {
    CHECK(!std::isnan(d.y[c]) && !std::isnan(d.y[40 + c]));
    CHECK(std::isnan(d.y[20 + c]));
  }
}

TEST("layer normalization refuses arguments that do not fit and writes nothing") {
  Normalization<float> d(2, 3, 4, true);
  const View<const float, 3> x = view_of(d.x, {2, 3, 4});
  const View<float, 3> y = view_of(d.y, {2, 3, 4});
  const auto forward = [&](View<const float, 1> gain, double epsilon, View<float, 3> out) {
    lstmcore::layer_norm_forward<float>(x, {}, gain, {}, epsilon, out, {});
  };
  CHECK_THROWS(forward(view_of(d.gain, {3}), 1e-3, y), "gain: expected shape (4,), got (3,)");
  CHECK_THROWS(forward({}, 0.0, y), "epsilon: expected a number greater than 0");
  CHECK_THROWS(forward({}, std::nan(""), y), "epsilon: expected a number greater than 0");
  CHECK_THROWS(forward({}, 1e-3, view_of(d.y, {3, 2, 4})), "y: expected shape (2, 3, 4)");
  const std::vector<Index> wrong = {3, -1};
  CHECK_THROWS(lstmcore::layer_norm_forward<float>(x, flat(wrong), {}, {}, 1e-3, y, {}), "lengths: expected values");
  CHECK_SAME_BITS(d.y, std::vector<float>(24, 99.0f));
  CHECK_THROWS(lstmcore::layer_norm_backward<float>(x, {}, {}, view_of(d.moments, {2, 3, 2}), view_of(d.dy, {2, 3, 4}),
                                                    view_of(d.dx, {2, 3, 4}), {}, view_of(d.dshift, {2})),
               "dshift: expected shape (4,), got (2,)");
  CHECK_SAME_BITS(d.dx, std::vector<float>(24, 99.0f));
}
