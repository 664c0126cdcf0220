#include <algorithm>
#include <cmath>
#include <limits>
#include <lstmcore/ops.hpp>
#include <type_traits>
#include <vector>

#include "../api/check.hpp"
#include "sequences.hpp"

namespace lstmcore {
namespace {

/// Columns that are pooled together: their running values stay in the first-level cache.
constexpr std::int64_t block_columns = 64;

/// Time steps as integers of the size of T, so that vectors of values and of positions have the same number of lanes.
template <class T>
using Position = std::conditional_t<sizeof(T) == sizeof(std::int32_t), std::int32_t, std::int64_t>;

/// The maximum of each of `width` <= block_columns columns over `length` >= 1 steps of one sequence, and the first step
/// that has it. The first NaN counts as the maximum.
template <class T>
void max_of_columns(const T* x, std::int64_t stride, std::int64_t length, std::int64_t width, T* best,
                    Position<T>* place) {
  for (std::int64_t column = 0; column < width; ++column) {
    best[column] = x[column];
    place[column] = 0;
  }
  for (std::int64_t t = 1; t < length; ++t) {
    x += stride;
    for (std::int64_t column = 0; column < width; ++column) {
      const T value = x[column], before = best[column];
      const bool larger = !(value <= before) & !std::isnan(before);
      best[column] = larger ? value : before;
      place[column] = larger ? static_cast<Position<T>>(t) : place[column];
    }
  }
}

/// max_over_time_forward of one sequence; `argmax` may be null.
template <class T>
void max_of_row(const T* x, std::int64_t length, std::int64_t columns, T* y, std::int64_t* argmax) {
  T best[block_columns];
  Position<T> place[block_columns];
  for (std::int64_t first = 0; first < columns; first += block_columns) {
    const std::int64_t width = std::min(block_columns, columns - first);
    if (length > 0) {
      max_of_columns(x + first, columns, length, width, best, place);
    } else {
      std::fill_n(best, width, T(0));
      std::fill_n(place, width, Position<T>(-1));
    }
    std::copy_n(best, width, y + first);
    if (argmax != nullptr) std::copy_n(place, width, argmax + first);
  }
}

/// mean_over_time_forward of one sequence, summed in double.
template <class T>
void mean_of_row(const T* x, std::int64_t length, std::int64_t columns, T* y) {
  double sum[block_columns];
  for (std::int64_t first = 0; first < columns; first += block_columns) {
    const std::int64_t width = std::min(block_columns, columns - first);
    std::fill_n(sum, width, 0.0);
    for (std::int64_t t = 0; t < length; ++t) {
      const T* const row = x + t * columns + first;
      for (std::int64_t column = 0; column < width; ++column) sum[column] += static_cast<double>(row[column]);
    }
    const double divisor = static_cast<double>(std::max<std::int64_t>(length, 1));
    for (std::int64_t column = 0; column < width; ++column) y[first + column] = static_cast<T>(sum[column] / divisor);
  }
}

/// Throws std::invalid_argument unless max_pool1d can use these windows.
void check_windows(const Windows& windows) {
  windows.validate();
  require(windows.dilation == 1, "dilation: expected 1 for pooling, got ", windows.dilation);
  require(windows.padding != Padding::causal, "padding: expected valid or same for pooling, got causal");
}

/// max_pool1d_forward of some windows of one sequence; `argmax` may be null.
template <class T>
void max_of_windows(const T* x, std::int64_t length, std::int64_t columns, const Windows& windows, Range some, T* y,
                    std::int64_t* argmax) {
  const std::int64_t before = windows.before(length);
  T best[block_columns];
  Position<T> place[block_columns];
  for (std::int64_t t = some.begin; t < some.end; ++t) {
    const std::int64_t start = t * windows.stride - before;
    const std::int64_t begin = std::max<std::int64_t>(start, 0), end = std::min(length, start + windows.size);
    for (std::int64_t first = 0; first < columns; first += block_columns) {
      const std::int64_t width = std::min(block_columns, columns - first);
      max_of_columns(x + begin * columns + first, columns, end - begin, width, best, place);
      std::copy_n(best, width, y + t * columns + first);
      if (argmax == nullptr) continue;
      std::int64_t* const to = argmax + t * columns + first;
      for (std::int64_t column = 0; column < width; ++column) to[column] = begin + place[column];
    }
  }
}

}  // namespace

template <class T>
void max_over_time_forward(View<const T, 3> x, View<const std::int64_t, 1> lengths, View<T, 2> y,
                           View<std::int64_t, 2> argmax) {
  const EngineFloats floats;
  require_contiguous("x", x);
  const std::int64_t rows = x.shape[0], steps = x.shape[1], columns = x.shape[2];
  require(steps <= std::numeric_limits<Position<T>>::max(), "x: expected fewer than 2^31 time steps, got ", steps);
  ops::check_lengths("lengths", lengths, rows, steps);
  require_array("y", y, {rows, columns});
  require_array_or_none("argmax", argmax, {rows, columns});
  ops::parallel_rows(x, [&](std::int64_t n) {
    max_of_row(x.data + n * steps * columns, ops::length_of(lengths, n, steps), columns, y.data + n * columns,
               argmax ? argmax.data + n * columns : nullptr);
  });
}

template <class T>
void max_over_time_backward(View<const std::int64_t, 2> argmax, View<const T, 2> dy, View<T, 3> dx) {
  const EngineFloats floats;
  require_contiguous("dx", dx);
  const std::int64_t rows = dx.shape[0], steps = dx.shape[1], columns = dx.shape[2];
  require_array("argmax", argmax, {rows, columns});
  require_array("dy", dy, {rows, columns});
  for (std::int64_t index = 0; index < rows * columns; ++index) {
    if (argmax.data[index] < -1 || argmax.data[index] >= steps) {
      fail("argmax: expected values from -1 to ", steps - 1, ", got ", argmax.data[index], " at position (",
           index / columns, ", ", index % columns, ")");
    }
  }
  ops::parallel_rows(dx, [&](std::int64_t n) {
    T* const row = dx.data + n * steps * columns;
    std::fill_n(row, steps * columns, T(0));
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t t = argmax.data[n * columns + column];
      if (t >= 0) row[t * columns + column] = dy.data[n * columns + column];
    }
  });
}

template <class T>
void mean_over_time_forward(View<const T, 3> x, View<const std::int64_t, 1> lengths, View<T, 2> y) {
  const EngineFloats floats;
  require_contiguous("x", x);
  const std::int64_t rows = x.shape[0], steps = x.shape[1], columns = x.shape[2];
  ops::check_lengths("lengths", lengths, rows, steps);
  require_array("y", y, {rows, columns});
  ops::parallel_rows(x, [&](std::int64_t n) {
    mean_of_row(x.data + n * steps * columns, ops::length_of(lengths, n, steps), columns, y.data + n * columns);
  });
}

template <class T>
void mean_over_time_backward(View<const std::int64_t, 1> lengths, View<const T, 2> dy, View<T, 3> dx) {
  const EngineFloats floats;
  require_contiguous("dx", dx);
  const std::int64_t rows = dx.shape[0], steps = dx.shape[1], columns = dx.shape[2];
  ops::check_lengths("lengths", lengths, rows, steps);
  require_array("dy", dy, {rows, columns});
  ops::parallel_rows(dx, [&](std::int64_t n) {
    T* const row = dx.data + n * steps * columns;
    const std::int64_t length = ops::length_of(lengths, n, steps);
    if (length > 0) {
      const T divisor = static_cast<T>(length);
      for (std::int64_t column = 0; column < columns; ++column) row[column] = dy.data[n * columns + column] / divisor;
    }
    for (std::int64_t t = 1; t < length; ++t) std::copy_n(row, columns, row + t * columns);
    std::fill(row + length * columns, row + steps * columns, T(0));
  });
}

template <class T>
void max_pool1d_forward(View<const T, 3> x, View<const std::int64_t, 1> lengths, const Windows& windows, View<T, 3> y,
                        View<std::int64_t, 3> argmax) {
  const EngineFloats floats;
  require_contiguous("x", x);
  const std::int64_t rows = x.shape[0], steps = x.shape[1], columns = x.shape[2];
  check_windows(windows);
  ops::check_lengths("lengths", lengths, rows, steps);
  require(lengths || steps >= windows.size || windows.padding != Padding::valid, "x: expected at least ", windows.size,
          " time steps, which one window takes, got ", steps);
  const std::int64_t outputs = windows.count(steps);
  require_array("y", y, {rows, outputs, columns});
  require_array_or_none("argmax", argmax, {rows, outputs, columns});
  const ops::ValidSteps numbers = ops::ValidSteps::of_windows(windows, x, lengths);
  ops::fill_padding(y, numbers, T(0));
  if (argmax) ops::fill_padding(argmax, numbers, std::int64_t{-1});
  const double cost = policy::cost::visited * static_cast<double>(std::min(windows.size, steps) * columns);
  ops::parallel_ranges(numbers.total(), cost, 1, [&](std::int64_t begin, std::int64_t count) {
    numbers.for_runs(begin, begin + count, [&](std::int64_t n, std::int64_t t, std::int64_t, std::int64_t run) {
      const std::int64_t first = n * outputs * columns;
      max_of_windows(x.data + n * steps * columns, ops::length_of(lengths, n, steps), columns, windows, {t, t + run},
                     y.data + first, argmax ? argmax.data + first : nullptr);
    });
  });
}

template <class T>
void max_pool1d_backward(View<const std::int64_t, 3> argmax, View<const T, 3> dy, View<T, 3> dx) {
  const EngineFloats floats;
  require_contiguous("dx", dx);
  require_contiguous("dy", dy);
  const std::int64_t rows = dx.shape[0], steps = dx.shape[1], columns = dx.shape[2], outputs = dy.shape[1];
  require_array("dy", dy, {rows, outputs, columns});
  require_array("argmax", argmax, {rows, outputs, columns});
  const std::int64_t size = argmax.size();
  for (std::int64_t index = 0; index < size; ++index) {
    if (argmax.data[index] < -1 || argmax.data[index] >= steps) {
      fail("argmax: expected values from -1 to ", steps - 1, ", got ", argmax.data[index], " at position (",
           index / columns / outputs, ", ", index / columns % outputs, ", ", index % columns, ")");
    }
  }
  ops::parallel_rows(dx, [&](std::int64_t n) {
    T* const row = dx.data + n * steps * columns;
    std::fill_n(row, steps * columns, T(0));
    for (std::int64_t index = n * outputs * columns; index < (n + 1) * outputs * columns; index += columns) {
      for (std::int64_t column = 0; column < columns; ++column) {
        const std::int64_t t = argmax.data[index + column];
        if (t >= 0) row[t * columns + column] += dy.data[index + column];
      }
    }
  });
}

template void max_over_time_forward<float>(View<const float, 3>, View<const std::int64_t, 1>, View<float, 2>,
                                           View<std::int64_t, 2>);
template void max_over_time_forward<double>(View<const double, 3>, View<const std::int64_t, 1>, View<double, 2>,
                                            View<std::int64_t, 2>);
template void max_over_time_backward<float>(View<const std::int64_t, 2>, View<const float, 2>, View<float, 3>);
template void max_over_time_backward<double>(View<const std::int64_t, 2>, View<const double, 2>, View<double, 3>);
template void mean_over_time_forward<float>(View<const float, 3>, View<const std::int64_t, 1>, View<float, 2>);
template void mean_over_time_forward<double>(View<const double, 3>, View<const std::int64_t, 1>, View<double, 2>);
template void mean_over_time_backward<float>(View<const std::int64_t, 1>, View<const float, 2>, View<float, 3>);
template void mean_over_time_backward<double>(View<const std::int64_t, 1>, View<const double, 2>, View<double, 3>);
template void max_pool1d_forward<float>(View<const float, 3>, View<const std::int64_t, 1>, const Windows&,
                                        View<float, 3>, View<std::int64_t, 3>);
template void max_pool1d_forward<double>(View<const double, 3>, View<const std::int64_t, 1>, const Windows&,
                                         View<double, 3>, View<std::int64_t, 3>);
template void max_pool1d_backward<float>(View<const std::int64_t, 3>, View<const float, 3>, View<float, 3>);
template void max_pool1d_backward<double>(View<const std::int64_t, 3>, View<const double, 3>, View<double, 3>);

}  // namespace lstmcore
