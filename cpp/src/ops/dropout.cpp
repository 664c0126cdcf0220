#include <lstmcore/ops.hpp>

#include "../api/check.hpp"
#include "../runtime/isa.hpp"
#include "../sequence/dropout_mask.hpp"
#include "elements.hpp"

namespace lstmcore {

template <class T>
void dropout(View<const T, 1> x, double rate, std::uint64_t seed, View<T, 1> y) {
  const EngineFloats floats;
  require_contiguous("x", x);
  require_array("y", y, x.shape);
  require(rate >= 0 && rate < 1, "rate: expected 0 <= rate < 1, got ", rate);
  const DropoutMask mask(rate);
  const T factor = static_cast<T>(mask.factor);
  const auto& kernels = active_kernels<T>();
  ops::parallel_ranges(x.shape[0], policy::cost::dropped, ops::line_elements<T>,
                       [&](std::int64_t begin, std::int64_t count) {
                         kernels.dropout(x.data + begin, y.data + begin, count, seed, static_cast<std::uint64_t>(begin),
                                         mask.threshold, factor);
                       });
}

template void dropout<float>(View<const float, 1>, double, std::uint64_t, View<float, 1>);
template void dropout<double>(View<const double, 1>, double, std::uint64_t, View<double, 1>);

}  // namespace lstmcore
