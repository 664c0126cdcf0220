// Convolution and pooling over time against loops in double and against finite differences.
#include <algorithm>
#include <cmath>
#include <lstmcore/ops.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "ops_kit.hpp"
#include "random.hpp"

using lstmcore::Activation;
using lstmcore::Padding;
using lstmcore::View;
using lstmcore::Windows;
using Index = std::int64_t;

namespace {

Windows windows_of(Index size, Index stride, Index dilation, Padding padding) {
  Windows windows;
  windows.size = size;
  windows.stride = stride;
  windows.dilation = dilation;
  windows.padding = padding;
  return windows;
}

constexpr Padding paddings[] = {Padding::valid, Padding::same, Padding::causal};

template <class T>
struct Convolution {
  Index batch, steps, features, filters, outputs;
  Windows windows;
  Activation activation;
  std::vector<Index> lengths;
  std::vector<T> x, kernel, bias, y, dy, dx, dkernel, dbias;

  Convolution(Index n, Index t, Index c, Index f, const Windows& w, Activation how = Activation::linear,
              std::vector<Index> valid = {})
      : batch(n),
        steps(t),
        features(c),
        filters(f),
        outputs(w.count(t)),
        windows(w),
        activation(how),
        lengths(std::move(valid)) {
    x = random_values<T>(n * t * c, 1);
    kernel = random_values<T>(w.size * c * f, 2);
    bias = random_values<T>(f, 3);
    dy = random_values<T>(n * outputs * f, 4);
    y.assign(dy.size(), T(99));
    dx.assign(x.size(), T(99));
    dkernel.assign(kernel.size(), T(99));
    dbias.assign(bias.size(), T(99));
  }

  View<const Index, 1> lengths_view() const { return lengths.empty() ? View<const Index, 1>() : flat(lengths); }
  Index length(Index n) const { return lengths.empty() ? steps : lengths[n]; }

  void forward() {
    lstmcore::conv1d_forward<T>(view_of(x, {batch, steps, features}), lengths_view(),
                                view_of(kernel, {windows.size, features, filters}), flat(bias), windows, activation,
                                view_of(y, {batch, outputs, filters}));
  }

  void backward() {
    lstmcore::conv1d_backward<T>(
        view_of(x, {batch, steps, features}), lengths_view(), view_of(kernel, {windows.size, features, filters}),
        view_of(y, {batch, outputs, filters}), view_of(dy, {batch, outputs, filters}), windows, activation,
        view_of(dx, {batch, steps, features}), view_of(dkernel, {windows.size, features, filters}), flat(dbias));
  }

  // Calls body(n, t, k, step) for every element k of every window t that lies on a step of row n.
  template <class Body>
  void for_places(Body&& body) const {
    for (Index n = 0; n < batch; ++n) {
      for (Index t = 0; t < windows.count(length(n)); ++t) {
        for (Index k = 0; k < windows.size; ++k) {
          const Index step = t * windows.stride - windows.before(length(n)) + k * windows.dilation;
          if (step >= 0 && step < length(n)) body(n, t, k, step);
        }
      }
    }
  }

  // y by loops, for relu or linear.
  std::vector<double> expected() const {
    std::vector<double> z(y.size(), 0.0);
    for (Index n = 0; n < batch; ++n) {
      for (Index t = 0; t < windows.count(length(n)); ++t) {
        for (Index f = 0; f < filters; ++f) z[(n * outputs + t) * filters + f] = static_cast<double>(bias[f]);
      }
    }
    for_places([&](Index n, Index t, Index k, Index step) {
      for (Index c = 0; c < features; ++c) {
        for (Index f = 0; f < filters; ++f) {
          z[(n * outputs + t) * filters + f] += static_cast<double>(x[(n * steps + step) * features + c]) *
                                                static_cast<double>(kernel[(k * features + c) * filters + f]);
        }
      }
    });
    for (double& value : z) value = activation == Activation::relu ? std::fmax(value, 0.0) : value;
    return z;
  }
};

struct Gradients {
  std::vector<double> x, kernel, bias;
};

template <class T>
Gradients expected_gradients(const Convolution<T>& d) {
  Gradients g{std::vector<double>(d.x.size()), std::vector<double>(d.kernel.size()),
              std::vector<double>(d.bias.size())};
  const auto dz = [&](Index n, Index t, Index f) {
    const Index place = (n * d.outputs + t) * d.filters + f;
    return d.activation == Activation::relu && !(d.y[place] > 0) ? 0.0 : static_cast<double>(d.dy[place]);
  };
  for (Index n = 0; n < d.batch; ++n) {
    for (Index t = 0; t < d.windows.count(d.length(n)); ++t) {
      for (Index f = 0; f < d.filters; ++f) g.bias[f] += dz(n, t, f);
    }
  }
  d.for_places([&](Index n, Index t, Index k, Index step) {
    for (Index c = 0; c < d.features; ++c) {
      for (Index f = 0; f < d.filters; ++f) {
        const Index in = (n * d.steps + step) * d.features + c, weight = (k * d.features + c) * d.filters + f;
        g.x[in] += dz(n, t, f) * static_cast<double>(d.kernel[weight]);
        g.kernel[weight] += dz(n, t, f) * static_cast<double>(d.x[in]);
      }
    }
  });
  return g;
}

template <class T>
void check_all(Convolution<T> d) {
  const check::Context context("size " + std::to_string(d.windows.size) + ", stride " +
                               std::to_string(d.windows.stride) + ", dilation " + std::to_string(d.windows.dilation) +
                               ", padding " + std::to_string(static_cast<int>(d.windows.padding)) + ", steps " +
                               std::to_string(d.steps) + ", filters " + std::to_string(d.filters));
  d.forward();
  d.backward();
  // A few hundred roundings in a sum of terms of similar size.
  const double error = tolerance<T>(4e-6, 1e-14);
  CHECK_ARRAYS_CLOSE(d.y, d.expected(), error);
  const Gradients g = expected_gradients(d);
  CHECK_ARRAYS_CLOSE(d.dx, g.x, error);
  CHECK_ARRAYS_CLOSE(d.dkernel, g.kernel, error);
  CHECK_ARRAYS_CLOSE(d.dbias, g.bias, error);
}

template <class T>
void check_windows(const Windows& windows) {
  for (const Index filters : {2, 19}) {
    check_all(Convolution<T>(3, 13, 5, filters, windows, Activation::relu));
    check_all(Convolution<T>(5, 13, 5, filters, windows, Activation::linear, {13, 0, 1, 6, 12}));
  }
}

// The loss is the sum of y dy.
std::vector<double> central_differences(Convolution<double>& d, std::vector<double>& values) {
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

template <class T>
void check_threads(const Convolution<T>& start) {
  Convolution<T> one = start;
  {
    const ThreadCount threads(1);
    one.forward();
    one.backward();
  }
  for (const int count : {2, 3, 5}) {
    const ThreadCount threads(count);
    Convolution<T> many = start;
    many.forward();
    many.backward();
    CHECK_SAME_BITS(many.y, one.y);
    CHECK_SAME_BITS(many.dx, one.dx);
    CHECK_SAME_BITS(many.dkernel, one.dkernel);
    CHECK_SAME_BITS(many.dbias, one.dbias);
  }
}

}  // namespace

TEST("the number of windows") {
  const auto count = [](Index steps, Index size, Index stride, Index dilation, Padding padding) {
    return windows_of(size, stride, dilation, padding).count(steps);
  };
  CHECK_EQUAL(count(10, 3, 1, 1, Padding::valid), 8);
  CHECK_EQUAL(count(10, 3, 2, 1, Padding::valid), 4);
  CHECK_EQUAL(count(10, 3, 2, 4, Padding::valid), 1);
  CHECK_EQUAL(count(2, 3, 1, 1, Padding::valid), 0);
  CHECK_EQUAL(count(0, 1, 1, 1, Padding::valid), 0);
  CHECK_EQUAL(count(10, 3, 3, 1, Padding::same), 4);
  CHECK_EQUAL(count(10, 3, 3, 1, Padding::causal), 4);
  CHECK_EQUAL(count(0, 3, 3, 1, Padding::causal), 0);
  const Index big = Index{1} << 60;
  CHECK_EQUAL(count(big, 1, 1, 1, Padding::same), big);
  CHECK_EQUAL(windows_of(4, 1, 1, Padding::same).before(10), 1);  // three zeros, two of them at the end
  CHECK_EQUAL(windows_of(3, 2, 1, Padding::same).before(10), 0);
  CHECK_EQUAL(windows_of(3, 2, 1, Padding::same).before(9), 1);
  CHECK_EQUAL(windows_of(2, 5, 1, Padding::same).before(10), 0);
  CHECK_EQUAL(windows_of(3, 2, 4, Padding::causal).before(10), 8);
  CHECK_THROWS(windows_of(0, 1, 1, Padding::same).validate(), "size: expected 1 to 2147483647, got 0");
  CHECK_THROWS(windows_of(1, -1, 1, Padding::same).validate(), "stride: expected 1 to");
  CHECK_THROWS(windows_of(1, 1, Index{1} << 31, Padding::same).validate(), "dilation: expected 1 to");
  CHECK_THROWS(windows_of(1, 1, 1, static_cast<Padding>(3)).validate(), "padding: expected valid, same or causal");
}

TEST("convolution forward and backward against loops") {
  for (const Padding padding : paddings) {
    for (const Index size : {1, 2, 3, 5}) {
      for (const Index stride : {1, 2, 3, 7}) {
        for (const Index dilation : {1, 2, 3}) {
          if (padding == Padding::valid && (size - 1) * dilation + 1 > 13) continue;
          check_windows<float>(windows_of(size, stride, dilation, padding));
          check_windows<double>(windows_of(size, stride, dilation, padding));
        }
      }
    }
  }
}

TEST("convolution with sizes that fill tiles and blocks") {
  check_all(Convolution<float>(4, 70, 40, 70, windows_of(5, 1, 1, Padding::same)));
  check_all(Convolution<double>(4, 70, 40, 70, windows_of(5, 1, 1, Padding::causal), Activation::relu, {70, 3, 0, 55}));
  check_all(Convolution<float>(2, 300, 150, 9, windows_of(3, 2, 2, Padding::same)));
  check_all(Convolution<float>(1, 9, 1, 200, windows_of(4, 1, 1, Padding::valid)));
}

TEST("convolution gradients against finite differences") {
  for (const Activation activation :
       {Activation::linear, Activation::relu, Activation::tanh, Activation::sigmoid, Activation::softmax}) {
    const check::Context context("activation " + std::to_string(static_cast<int>(activation)));
    for (const Padding padding : paddings) {
      Convolution<double> d(3, 7, 2, 3, windows_of(3, 2, 1, padding), activation, {7, 4, 0});
      d.forward();
      d.backward();
      // Central differences with a step of 1e-5 err by 1e-10 (truncation) and 1e-11 (rounding).
      const Convolution<double> result = d;
      CHECK_ARRAYS_CLOSE(result.dx, central_differences(d, d.x), 1e-9);
      CHECK_ARRAYS_CLOSE(result.dkernel, central_differences(d, d.kernel), 1e-9);
      CHECK_ARRAYS_CLOSE(result.dbias, central_differences(d, d.bias), 1e-9);
    }
  }
}

TEST("convolution has the same bits for any number of threads") {
  const Windows same = windows_of(5, 1, 1, Padding::same), apart = windows_of(3, 2, 3, Padding::causal);
  check_threads(Convolution<float>(9, 80, 33, 40, same, Activation::tanh));  // rows are divided among threads
  check_threads(Convolution<double>(5, 80, 33, 40, apart, Activation::relu, {80, 1, 0, 44, 79}));
  check_threads(Convolution<float>(1, 5, 150, 700, same));  // too few rows: columns are divided
  check_threads(Convolution<float>(30, 400, 3, 5, same));   // a small kernel, summed over many rows
}

TEST("a row of a convolution has the same bits alone and in a batch, whatever the padding") {
  for (const Padding padding : paddings) {
    for (const Index stride : {1, 3}) {
      const Windows windows = windows_of(4, stride, 2, padding);
      Convolution<float> all(4, 30, 7, 18, windows, Activation::sigmoid, {30, 11, 7, 18});
      for (Index n = 0; n < 4; ++n) {
        for (Index k = all.length(n) * 7; k < 30 * 7; ++k) all.x[n * 210 + k] = std::nanf("");
        const Index count = windows.count(all.length(n));
        for (Index k = count * 18; k < all.outputs * 18; ++k) all.dy[n * all.outputs * 18 + k] = std::nanf("");
      }
      all.forward();
      all.backward();
      for (const float value : all.dkernel) CHECK(!std::isnan(value));
      for (Index n = 0; n < 4; ++n) {
        const Index length = all.length(n);
        Convolution<float> alone(1, length, 7, 18, windows, Activation::sigmoid);
        std::copy_n(all.x.begin() + n * 210, alone.x.size(), alone.x.begin());
        std::copy_n(all.dy.begin() + n * all.outputs * 18, alone.dy.size(), alone.dy.begin());
        alone.forward();
        alone.backward();
        const auto part = [](const std::vector<float>& values, Index begin, std::size_t size) {
          return std::vector<float>(values.begin() + begin, values.begin() + begin + static_cast<Index>(size));
        };
        CHECK_SAME_BITS(part(all.y, n * all.outputs * 18, alone.y.size()), alone.y);
        CHECK_SAME_BITS(part(all.dx, n * 210, alone.dx.size()), alone.dx);
        const Index rest = (30 - length) * 7;
        CHECK_SAME_BITS(part(all.dx, n * 210 + length * 7, rest), std::vector<float>(rest, 0.0f));
        const Index behind = (all.outputs - alone.outputs) * 18;
        CHECK_SAME_BITS(part(all.y, (n * all.outputs + alone.outputs) * 18, behind), std::vector<float>(behind, 0.0f));
      }
    }
  }
}

TEST("convolution without rows or steps") {
  for (const Padding padding : paddings) {
    Convolution<float> none(0, 5, 3, 2, windows_of(2, 1, 1, padding));
    none.forward();
    none.backward();
    CHECK_SAME_BITS(none.dkernel, std::vector<float>(12, 0.0f));
    CHECK_SAME_BITS(none.dbias, std::vector<float>(2, 0.0f));
    Convolution<float> empty(2, 1, 3, 2, windows_of(2, 1, 1, padding), Activation::softmax, {0, 0});
    empty.forward();
    empty.backward();
    CHECK_SAME_BITS(empty.dkernel, std::vector<float>(12, 0.0f));
    CHECK_SAME_BITS(empty.dx, std::vector<float>(6, 0.0f));
  }
}

TEST("convolution computes only the requested gradients") {
  Convolution<float> d(2, 6, 3, 4, windows_of(3, 1, 1, Padding::same), Activation::tanh);
  d.forward();
  d.backward();
  const Convolution<float> all = d;
  const View<const float, 3> x = view_of(all.x, {2, 6, 3}), kernel = view_of(all.kernel, {3, 3, 4}),
                             y = view_of(all.y, {2, 6, 4}), dy = view_of(all.dy, {2, 6, 4});
  for (std::vector<float>* part : {&d.dx, &d.dkernel, &d.dbias}) part->assign(part->size(), 99.0f);
  lstmcore::conv1d_backward<float>(x, {}, kernel, y, dy, d.windows, d.activation, {}, {}, flat(d.dbias));
  CHECK_SAME_BITS(d.dbias, all.dbias);
  lstmcore::conv1d_backward<float>(x, {}, kernel, y, dy, d.windows, d.activation, view_of(d.dx, {2, 6, 3}), {}, {});
  CHECK_SAME_BITS(d.dx, all.dx);
  CHECK_EQUAL(d.dkernel[0], 99.0f);
  lstmcore::conv1d_backward<float>(x, {}, kernel, y, dy, d.windows, d.activation, {}, view_of(d.dkernel, {3, 3, 4}),
                                   {});
  CHECK_SAME_BITS(d.dkernel, all.dkernel);
}

TEST("convolution refuses arguments that do not fit and writes nothing") {
  Convolution<float> d(2, 6, 3, 4, windows_of(3, 1, 1, Padding::valid));
  const View<const float, 3> x = view_of(d.x, {2, 6, 3}), kernel = view_of(d.kernel, {3, 3, 4});
  const auto forward = [&](View<const float, 3> a, View<const Index, 1> lengths, View<const float, 3> b,
                           const Windows& windows, Index outputs) {
    lstmcore::conv1d_forward<float>(a, lengths, b, flat(d.bias), windows, Activation::linear,
                                    view_of(d.y, {2, outputs, 4}));
  };
  CHECK_THROWS(forward(view_of(d.x, {2, 9, 2}), {}, kernel, d.windows, 4), "x: expected shape (N, T, 3)");
  CHECK_THROWS(forward(x, {}, kernel, d.windows, 3), "y: expected shape (2, 4, 4), got (2, 3, 4)");
  CHECK_THROWS(forward(x, {}, kernel, windows_of(2, 1, 1, Padding::valid), 4), "windows: expected the size of the ker");
  CHECK_THROWS(forward(x, {}, kernel, windows_of(3, 1, 3, Padding::valid), 0), "x: expected at least 7 time steps");
  CHECK_THROWS(forward(x, {}, kernel, windows_of(3, 0, 1, Padding::valid), 4), "stride: expected 1 to");
  const std::vector<Index> wrong = {6, 7};
  CHECK_THROWS(forward(x, flat(wrong), kernel, d.windows, 4), "lengths: expected values from 0 to 6");
  CHECK_SAME_BITS(d.y, std::vector<float>(32, 99.0f));
  CHECK_THROWS(
      lstmcore::conv1d_backward<float>(x, {}, kernel, view_of(d.y, {2, 4, 4}), view_of(d.dy, {2, 4, 4}), d.windows,
                                       Activation::linear, view_of(d.dx, {2, 6, 3}), {}, view_of(d.dbias, {1})),
      "dbias: expected shape (4,), got (1,)");
  CHECK_SAME_BITS(d.dx, std::vector<float>(36, 99.0f));
}

// ---- packed once ----------------------------------------------------------------------------------------------------

namespace {

// A convolution of sequences with zeros written before and after them.
template <class T>
void check_packed(Index steps, Index before, Index after, const Windows& windows, Activation activation) {
  const Index batch = 3, features = 5, filters = 19, longer = before + steps + after;
  Convolution<T> d(batch, longer, features, filters, windows, activation);
  std::vector<T> x;
  for (Index n = 0; n < batch; ++n) {
    T* const row = d.x.data() + n * longer * features;
    std::fill_n(row, before * features, T(0));
    std::fill_n(row + (before + steps) * features, after * features, T(0));
    x.insert(x.end(), row + before * features, row + (before + steps) * features);
  }
  d.forward();
  const lstmcore::PackedConvolution<T> packed(view_of(d.kernel, {windows.size, features, filters}), flat(d.bias),
                                              windows.stride, windows.dilation, activation);
  CHECK_EQUAL(packed.count(steps, before, after), d.outputs);
  CHECK_EQUAL(packed.kernel_shape()[2], filters);
  std::vector<T> y(d.y.size(), T(99));
  packed.forward(view_of(x, {batch, steps, features}), before, after, view_of(y, {batch, d.outputs, filters}));
  CHECK_SAME_BITS(y, d.y);
}

}  // namespace

TEST("a packed convolution has the bits of one with zeros around its sequences") {
  for (const Activation activation : {Activation::linear, Activation::relu}) {
    for (const Index stride : {1, 2, 5}) {
      for (const Index dilation : {1, 3}) {
        const Windows windows = windows_of(3, stride, dilation, Padding::valid);
        check_packed<float>(9, 0, 0, windows, activation);
        check_packed<float>(9, 1, 1, windows, activation);
        check_packed<double>(9, 0, 4, windows, activation);
        check_packed<double>(2, 7, 0, windows, activation);
        check_packed<float>(0, 4, 5, windows, activation);
      }
    }
  }
  check_packed<float>(700, 1, 2, windows_of(8, 1, 1, Padding::valid), Activation::sigmoid);
}

TEST("a packed convolution refuses arguments that do not fit and writes nothing") {
  const Convolution<float> d(2, 6, 3, 4, windows_of(3, 1, 1, Padding::valid));
  const View<const float, 3> x = view_of(d.x, {2, 6, 3}), kernel = view_of(d.kernel, {3, 3, 4});
  const lstmcore::PackedConvolution<float> packed(kernel, flat(d.bias), 1, 1, Activation::linear);
  std::vector<float> y(48, 99.0f);
  const auto forward = [&](View<const float, 3> a, Index before, Index after, Index outputs) {
    packed.forward(a, before, after, view_of(y, {2, outputs, 4}));
  };
  CHECK_THROWS(forward(view_of(d.x, {2, 9, 2}), 0, 0, 4), "x: expected shape (N, T, 3)");
  CHECK_THROWS(forward(x, 0, 0, 3), "y: expected shape (2, 4, 4), got (2, 3, 4)");
  CHECK_THROWS(forward(x, -1, 0, 3), "before: expected 0 to");
  CHECK_THROWS(forward(x, 0, -1, 3), "after: expected 0 to");
  CHECK_THROWS(forward(view_of(d.x, {2, 1, 3}), 1, 0, 0), "x: expected at least 3 time steps");
  CHECK_SAME_BITS(y, std::vector<float>(48, 99.0f));
  const auto make = [&](View<const float, 3> weights, View<const float, 1> bias, Index stride, Index dilation) {
    return lstmcore::PackedConvolution<float>(weights, bias, stride, dilation, Activation::linear);
  };
  CHECK_THROWS(make(kernel, flat(d.bias), 0, 1), "stride: expected 1 to");
  CHECK_THROWS(make(kernel, flat(d.bias), 1, 0), "dilation: expected 1 to");
  CHECK_THROWS(make(kernel, flat(d.x), 1, 1), "bias: expected shape (4,)");
  CHECK_THROWS(make(view_of(d.kernel, {0, 3, 4}), flat(d.bias), 1, 1), "kernel: expected at least one step");
}

// ---- pooling --------------------------------------------------------------------------------------------------------

namespace {

template <class T>
struct Pooling {
  Index batch, steps, features, outputs;
  Windows windows;
  std::vector<Index> lengths, argmax;
  std::vector<T> x, y, dy, dx;

  Pooling(Index n, Index t, Index c, const Windows& w, std::vector<Index> valid = {})
      : batch(n), steps(t), features(c), outputs(w.count(t)), windows(w), lengths(std::move(valid)) {
    x = random_values<T>(n * t * c, 1);
    dy = random_values<T>(n * outputs * c, 2);
    y.assign(dy.size(), T(99));
    argmax.assign(dy.size(), 99);
    dx.assign(x.size(), T(99));
  }

  Index length(Index n) const { return lengths.empty() ? steps : lengths[n]; }

  void run() {
    lstmcore::max_pool1d_forward<T>(
        view_of(x, {batch, steps, features}), lengths.empty() ? View<const Index, 1>() : flat(lengths), windows,
        view_of(y, {batch, outputs, features}), view_of(argmax, {batch, outputs, features}));
    const std::vector<Index>& places = argmax;
    lstmcore::max_pool1d_backward<T>(view_of(places, {batch, outputs, features}),
                                     view_of(dy, {batch, outputs, features}), view_of(dx, {batch, steps, features}));
  }
};

template <class T>
void check_pooling(Pooling<T> d) {
  d.run();
  std::vector<T> y(d.y.size(), T(0)), dx(d.x.size(), T(0));
  for (Index n = 0; n < d.batch; ++n) {
    for (Index t = 0; t < d.windows.count(d.length(n)); ++t) {
      for (Index c = 0; c < d.features; ++c) {
        Index best = -1;
        for (Index k = 0; k < d.windows.size; ++k) {
          const Index step = t * d.windows.stride - d.windows.before(d.length(n)) + k;
          if (step < 0 || step >= d.length(n)) continue;
          if (best < 0 || d.x[(n * d.steps + step) * d.features + c] > d.x[best]) {
            best = (n * d.steps + step) * d.features + c;
          }
        }
        const Index place = (n * d.outputs + t) * d.features + c;
        y[place] = d.x[best];
        dx[best] += d.dy[place];
      }
    }
  }
  CHECK_SAME_BITS(d.y, y);
  CHECK_SAME_BITS(d.dx, dx);
}

}  // namespace

TEST("pooling against loops") {
  for (const Padding padding : {Padding::valid, Padding::same}) {
    for (const Index size : {1, 2, 3, 8}) {
      for (const Index stride : {1, 2, 5}) {
        const Windows windows = windows_of(size, stride, 1, padding);
        check_pooling(Pooling<float>(3, 11, 70, windows));
        check_pooling(Pooling<double>(4, 11, 5, windows, {11, 0, 1, 6}));
      }
    }
  }
}

TEST("pooling has the same bits for any number of threads") {
  Pooling<float> one(20, 60, 200, windows_of(3, 2, 1, Padding::same));
  {
    const ThreadCount threads(1);
    one.run();
  }
  for (const int count : {2, 3}) {
    const ThreadCount threads(count);
    Pooling<float> many(20, 60, 200, one.windows);
    many.run();
    CHECK_SAME_BITS(many.y, one.y);
    CHECK_SAME_BITS(many.dx, one.dx);
  }
}

TEST("pooling propagates NaN, and takes the first of equal values") {
  Pooling<float> d(1, 6, 1, windows_of(3, 3, 1, Padding::valid));
  d.x = {1, std::nanf(""), 3, 2, 5, 5};
  d.run();
  CHECK(std::isnan(d.y[0]));
  CHECK_EQUAL(d.argmax[0], 1);
  CHECK_EQUAL(d.y[1], 5.0f);
  CHECK_EQUAL(d.argmax[1], 4);
}

TEST("pooling refuses arguments that do not fit and writes nothing") {
  Pooling<float> d(2, 6, 3, windows_of(2, 2, 1, Padding::valid));
  const View<const float, 3> x = view_of(d.x, {2, 6, 3});
  const auto forward = [&](const Windows& windows, Index outputs) {
    lstmcore::max_pool1d_forward<float>(x, {}, windows, view_of(d.y, {2, outputs, 3}), {});
  };
  CHECK_THROWS(forward(windows_of(2, 2, 2, Padding::valid), 3), "dilation: expected 1 for pooling");
  CHECK_THROWS(forward(windows_of(2, 2, 1, Padding::causal), 3), "padding: expected valid or same for pooling");
  CHECK_THROWS(forward(windows_of(7, 2, 1, Padding::valid), 0), "x: expected at least 7 time steps");
  CHECK_THROWS(forward(d.windows, 2), "y: expected shape (2, 3, 3), got (2, 2, 3)");
  CHECK_SAME_BITS(d.y, std::vector<float>(18, 99.0f));
  d.argmax.assign(18, 0);
  d.argmax[4] = 6;
  const std::vector<Index>& places = d.argmax;
  CHECK_THROWS(lstmcore::max_pool1d_backward<float>(view_of(places, {2, 3, 3}), view_of(d.dy, {2, 3, 3}),
                                                    view_of(d.dx, {2, 6, 3})),
               "argmax: expected values from -1 to 5, got 6 at position (0, 1, 1)");
  CHECK_SAME_BITS(d.dx, std::vector<float>(36, 99.0f));
}
