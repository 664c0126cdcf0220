#include <algorithm>
#include <cmath>
#include <lstmcore/ops.hpp>

#include "../api/check.hpp"
#include "../runtime/buffer.hpp"
#include "../runtime/isa.hpp"
#include "sequences.hpp"

namespace lstmcore {
namespace {

/// Steps whose parts of dgain and dshift are summed together. These groups follow from the lengths alone, and their
/// sums are added in order: the same bits for any number of threads.
constexpr std::int64_t group_steps = policy::norm_group_steps;

template <class T>
void check(const View<const T, 3>& x, const View<const std::int64_t, 1>& lengths, const View<const T, 1>& gain) {
  require_contiguous("x", x);
  require(x.shape[2] >= 1, "x: expected at least one feature, got shape ", shape_text(x));
  ops::check_lengths("lengths", lengths, x.shape[0], x.shape[1]);
  require_array_or_none("gain", gain, {x.shape[2]});
}

}  // namespace

template <class T>
void layer_norm_forward(View<const T, 3> x, View<const std::int64_t, 1> lengths, View<const T, 1> gain,
                        View<const T, 1> shift, double epsilon, View<T, 3> y, View<T, 3> moments) {
  const EngineFloats floats;
  check(x, lengths, gain);
  const std::int64_t steps = x.shape[1], width = x.shape[2];
  require_array_or_none("shift", shift, {width});
  require(epsilon > 0 && std::isfinite(epsilon), "epsilon: expected a number greater than 0, got ", epsilon);
  require_array("y", y, x.shape);
  require_array_or_none("moments", moments, {x.shape[0], steps, 2});
  const auto& kernels = active_kernels<T>();
  const auto valid = ops::ValidSteps::within(x, lengths);
  ops::zero_padding(y, valid);
  if (moments) ops::zero_padding(moments, valid);
  ops::parallel_ranges(
      valid.total(), policy::cost::normalized * static_cast<double>(width), 1,
      [&](std::int64_t begin, std::int64_t count) {
        valid.for_runs(begin, begin + count, [&](std::int64_t n, std::int64_t t, std::int64_t, std::int64_t run) {
          for (std::int64_t row = n * steps + t; row < n * steps + t + run; ++row) {
            T unused[2];
            kernels.normalize(x.data + row * width, gain.data, shift.data, epsilon, y.data + row * width,
                              moments ? moments.data + 2 * row : unused, width);
          }
        });
      });
}

template <class T>
void layer_norm_backward(View<const T, 3> x, View<const std::int64_t, 1> lengths, View<const T, 1> gain,
                         View<const T, 3> moments, View<const T, 3> dy, View<T, 3> dx, View<T, 1> dgain,
                         View<T, 1> dshift) {
  const EngineFloats floats;
  check(x, lengths, gain);
  const std::int64_t steps = x.shape[1], width = x.shape[2];
  require_array("moments", moments, {x.shape[0], steps, 2});
  require_array("dy", dy, x.shape);
  require_array_or_none("dx", dx, x.shape);
  require_array_or_none("dgain", dgain, {width});
  require_array_or_none("dshift", dshift, {width});
  const auto& kernels = active_kernels<T>();
  const auto valid = ops::ValidSteps::within(x, lengths);
  if (dx) ops::zero_padding(dx, valid);
  const std::int64_t groups = (valid.total() + group_steps - 1) / group_steps;
  Buffer<T> sums(static_cast<std::size_t>(2 * groups * width));
  const double group_cost = policy::cost::norm_backward * static_cast<double>(width) * static_cast<double>(group_steps);
  ops::parallel_ranges(groups, group_cost, 1, [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t group = first; group < first + count; ++group) {
      T* const gain_sums = sums.data() + 2 * group * width;
      std::fill_n(gain_sums, 2 * width, T(0));
      const std::int64_t begin = group * group_steps, end = std::min(begin + group_steps, valid.total());
      valid.for_runs(begin, end, [&](std::int64_t n, std::int64_t t, std::int64_t, std::int64_t run) {
        for (std::int64_t row = n * steps + t; row < n * steps + t + run; ++row) {
          kernels.normalize_backward(x.data + row * width, gain.data, moments.data + 2 * row, dy.data + row * width,
                                     dx ? dx.data + row * width : nullptr, gain_sums, gain_sums + width, width);
        }
      });
    }
  });
  const auto add_up = [&](const View<T, 1>& gradient, std::int64_t place) {
    std::fill_n(gradient.data, width, T(0));
    for (std::int64_t group = 0; group < groups; ++group) {
      kernels.add(sums.data() + (2 * group + place) * width, gradient.data, width);
    }
  };
  if (dgain) add_up(dgain, 0);
  if (dshift) add_up(dshift, 1);
}

template void layer_norm_forward<float>(View<const float, 3>, View<const std::int64_t, 1>, View<const float, 1>,
                                        View<const float, 1>, double, View<float, 3>, View<float, 3>);
template void layer_norm_forward<double>(View<const double, 3>, View<const std::int64_t, 1>, View<const double, 1>,
                                         View<const double, 1>, double, View<double, 3>, View<double, 3>);
template void layer_norm_backward<float>(View<const float, 3>, View<const std::int64_t, 1>, View<const float, 1>,
                                         View<const float, 3>, View<const float, 3>, View<float, 3>, View<float, 1>,
                                         View<float, 1>);
template void layer_norm_backward<double>(View<const double, 3>, View<const std::int64_t, 1>, View<const double, 1>,
                                          View<const double, 3>, View<const double, 3>, View<double, 3>,
                                          View<double, 1>, View<double, 1>);

}  // namespace lstmcore
